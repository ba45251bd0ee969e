/** The drawer at the bottom: what runs, what ran, and one task's log. */

import { Button } from "@patternfly/react-core";
import AngleDownIcon from "@patternfly/react-icons/dist/esm/icons/angle-down-icon";
import AngleUpIcon from "@patternfly/react-icons/dist/esm/icons/angle-up-icon";
import { useTasks } from "../api/live";
import { useText } from "../i18n/text";
import { useTaskFocus } from "./focus";
import { readUpid, sortTasks, taskState, taskTitle } from "./model";
import { TaskList } from "./TaskList";
import { TaskLog } from "./TaskLog";
import { StateMark } from "./StateMark";

export function TaskDrawer() {
  const t = useText();
  const { upid, open, setOpen } = useTaskFocus();
  const tasks = sortTasks(useTasks().data ?? []);
  const running = tasks.filter((task) => taskState(task) === "running").length;
  const latest = tasks[0];
  const shown = upid === undefined ? undefined : (tasks.find((task) => task.upid === upid) ?? readUpid(upid));
  return (
    <section className="kv-tasks" data-open={open} aria-label={t.tasks.title}>
      <header>
        <Button
          variant="plain"
          size="sm"
          aria-expanded={open}
          aria-label={open ? t.tasks.fold : t.tasks.open}
          icon={open ? <AngleDownIcon /> : <AngleUpIcon />}
          onClick={() => setOpen(!open)}
        />
        <h2>{t.tasks.title}</h2>
        {running > 0 && <span className="kv-running">{t.tasks.running(running)}</span>}
        {!open && latest && (
          <span className="kv-latest">
            <StateMark task={latest} /> {taskTitle(latest, t)}
          </span>
        )}
      </header>
      {open && (
        <div className="kv-tasks-body" data-log={shown !== undefined}>
          <div className="kv-tasklist">
            {tasks.length > 0 ? <TaskList tasks={tasks} /> : <p className="kv-quiet">{t.tasks.none}</p>}
          </div>
          {shown && <TaskLog key={shown.upid} task={shown} />}
        </div>
      )}
    </section>
  );
}
