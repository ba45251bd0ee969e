/** One task: its log as it grows, how far it is, and Stop. */

import { useEffect, useRef, useState } from "react";
import { Button } from "@patternfly/react-core";
import TimesIcon from "@patternfly/react-icons/dist/esm/icons/times-icon";
import { stopTask } from "../api/actions";
import { useTaskNews } from "../api/taskStream";
import type { TaskRow } from "../api/types";
import { useText } from "../i18n/text";
import { useTaskFocus } from "./focus";
import { lineTone, outcomeIn, progressOf, taskTitle } from "./model";
import { StateMark } from "./StateMark";

const NEAR_END_PX = 40;

export function TaskLog({ task }: { task: TaskRow }) {
  const t = useText();
  const { leave } = useTaskFocus();
  const news = useTaskNews(task.node, task.upid);
  const { lines, error: failure } = news;
  const outcome = news.exit ?? outcomeIn(lines) ?? (task.endtime === undefined ? undefined : task.status);
  const running = outcome === undefined;
  const [notice, setNotice] = useState<string>();
  const scroll = useFollowEnd(lines.length);
  const said = news.progress === undefined ? progressOf(lines) : Math.round(news.progress * 100);
  const progress = running ? said : undefined;
  const now = running ? {} : { endtime: task.endtime ?? 0, status: outcome };

  const stop = async () => {
    try {
      await stopTask(task.node, task.upid);
      setNotice(t.tasks.stopped);
    } catch (error) {
      setNotice((error as Error).message);
    }
  };
  return (
    <section className="kv-log" aria-label={t.tasks.log}>
      <header>
        <h3>{taskTitle(task, t)}</h3>
        <StateMark task={now} words />
        {progress !== undefined && (
          <>
            <progress max={100} value={progress} aria-label={news.doing ?? t.tasks.progress} />
            <span className="kv-percent">{progress.toFixed(0)} %</span>
          </>
        )}
        {running && news.doing !== undefined && <span className="kv-quiet kv-doing">{news.doing}</span>}
        <span className="kv-grow" />
        {running && (
          <Button size="sm" variant="secondary" onClick={() => void stop()}>
            {t.tasks.stop}
          </Button>
        )}
        <Button size="sm" variant="plain" aria-label={t.tasks.back} icon={<TimesIcon />} onClick={leave} />
      </header>
      {notice && <p role="status">{notice}</p>}
      {failure && <p role="alert">{failure.message}</p>}
      <div className="kv-lines" role="log" tabIndex={0} ref={scroll}>
        {lines.map((line) => (
          <div key={line.n} data-tone={lineTone(line.t)}>
            {line.t}
          </div>
        ))}
        {lines.length === 0 && !failure && <div className="kv-quiet">{t.tasks.emptyLog}</div>}
      </div>
    </section>
  );
}

/** Keeps the end in sight as lines are added, unless the reader has scrolled up. */
function useFollowEnd(count: number) {
  const box = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const onScroll = () => {
      following.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => element.removeEventListener("scroll", onScroll);
  }, []);
  useEffect(() => {
    if (following.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [count]);
  return box;
}
