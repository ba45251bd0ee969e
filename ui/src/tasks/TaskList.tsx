/** Tasks in rows; a click shows the log. */

import type { TaskRow } from "../api/types";
import { useLanguage } from "../i18n/text";
import { moment } from "../i18n/units";
import { useTaskFocus } from "./focus";
import { taskTitle } from "./model";
import { StateMark } from "./StateMark";

export function TaskList({ tasks, compact = false }: { tasks: TaskRow[]; compact?: boolean }) {
  const { t, language } = useLanguage();
  const { upid, follow } = useTaskFocus();
  const now = new Date();
  return (
    <table className="kv-table kv-dense">
      <thead>
        <tr>
          <th scope="col">{t.column.task}</th>
          <th scope="col">{t.column.result}</th>
          <th scope="col">{t.column.start}</th>
          {!compact && (
            <th scope="col" className="kv-wide">
              {t.column.end}
            </th>
          )}
          {!compact && (
            <th scope="col" className="kv-wide">
              {t.column.node}
            </th>
          )}
          <th scope="col" className="kv-wide">
            {t.column.user}
          </th>
        </tr>
      </thead>
      <tbody>
        {tasks.map((task) => (
          <tr key={task.upid} aria-selected={task.upid === upid} onClick={() => follow(task.upid)}>
            <th scope="row">
              <button type="button" className="kv-link">
                {taskTitle(task, t)}
              </button>
            </th>
            <td className="kv-result">
              <StateMark task={task} words />
            </td>
            <td>{moment(task.starttime, language, now)}</td>
            {!compact && (
              <td className="kv-wide">{task.endtime && moment(task.endtime, language, now)}</td>
            )}
            {!compact && <td className="kv-wide">{task.node}</td>}
            <td className="kv-wide">{task.user}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
