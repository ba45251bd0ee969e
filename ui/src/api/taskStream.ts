/** Follows one task: by its stream while it runs and the task is on the screen, else by asking. */

import { useEffect, useState } from "react";
import { call } from "./client";
import { isHeld, SILENT_MS } from "./feed";
import { taskPath } from "./paths";
import { currentFeed, EVENTS, readStream } from "./stream";
import { NO_NEWS, withEvents, withLines, withStatus, type TaskNews } from "./taskNews";
import type { LogLine, TaskStatus } from "./types";

const LINES_A_CALL = 500;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

export interface Followed extends TaskNews {
  /** why nothing can be said at the moment */
  error: Error | undefined;
}

/** A task's news, from the first line on; begins anew with another task. */
export function useTaskNews(node: string, upid: string): Followed {
  const [followed, setFollowed] = useState<Followed>({ ...NO_NEWS, error: undefined });
  useEffect(() => {
    const ending = new AbortController();
    void follow(node, upid, ending.signal, (news, error) => {
      if (!ending.signal.aborted) setFollowed({ ...news, error });
    });
    return () => ending.abort();
  }, [node, upid]);
  return followed;
}

type Tell = (news: TaskNews, error?: Error) => void;

/** Tells of the task until it has ended or nobody listens; each gap in its stream is filled by asking. */
async function follow(node: string, upid: string, signal: AbortSignal, tell: Tell): Promise<void> {
  let news = NO_NEWS;
  let pause = FIRST_PAUSE_MS;
  let streams = true;
  const become = (next: TaskNews) => {
    if (next === news) return;
    news = next;
    tell(news);
  };
  while (!signal.aborted) {
    try {
      become(await ask(node, upid, news));
      pause = FIRST_PAUSE_MS;
    } catch (error) {
      tell(news, error as Error);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
    if (news.exit !== undefined) return;
    if (streams && pause === FIRST_PAUSE_MS && !isHeld(currentFeed())) {
      const status = await stream(upid, news, signal, (events) => become(withEvents(news, events)));
      streams = status !== 501 && status !== 404;
    }
    await sleep(pause, signal);
  }
}

async function ask(node: string, upid: string, known: TaskNews): Promise<TaskNews> {
  const status = await call<TaskStatus>("GET", `${taskPath(node, upid)}/status`);
  let news = known;
  for (;;) {
    const more = await call<LogLine[]>("GET", `${taskPath(node, upid)}/log`, {
      start: news.lines.length,
      limit: LINES_A_CALL,
    });
    const before = news.lines.length;
    news = withLines(news, more);
    if (news.lines.length - before < LINES_A_CALL) return withStatus(news, status);
  }
}

/** Reads the task's stream to its end, or until it has been silent for too long. */
async function stream(
  upid: string,
  from: TaskNews,
  signal: AbortSignal,
  hear: (events: Parameters<typeof withEvents>[1]) => void,
): Promise<number | undefined> {
  const dead = new AbortController();
  let timer = setTimeout(() => dead.abort(), SILENT_MS);
  try {
    const path = `${EVENTS}?task=${encodeURIComponent(upid)}`;
    return await readStream(path, String(from.lines.length), AbortSignal.any([signal, dead.signal]), (events) => {
      clearTimeout(timer);
      timer = setTimeout(() => dead.abort(), SILENT_MS);
      hear(events);
    });
  } finally {
    clearTimeout(timer);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
