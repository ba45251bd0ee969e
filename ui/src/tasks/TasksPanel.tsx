/** The tasks of one node or guest. */

import type { TaskRow } from "../api/types";
import { useText } from "../i18n/text";
import { Panel } from "../shell/parts";
import { sortTasks } from "./model";
import { TaskList } from "./TaskList";

export function TasksPanel({ tasks, none }: { tasks: TaskRow[]; none: string }) {
  const t = useText();
  return (
    <Panel title={t.tasks.title}>
      {tasks.length > 0 ? (
        <div className="kv-scroll">
          <TaskList tasks={sortTasks(tasks)} />
        </div>
      ) : (
        <p className="kv-quiet">{none}</p>
      )}
    </Panel>
  );
}
