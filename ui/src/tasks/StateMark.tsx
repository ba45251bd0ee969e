/** How a task stands, as a mark with its word. */

import CheckCircleIcon from "@patternfly/react-icons/dist/esm/icons/check-circle-icon";
import ExclamationCircleIcon from "@patternfly/react-icons/dist/esm/icons/exclamation-circle-icon";
import ExclamationTriangleIcon from "@patternfly/react-icons/dist/esm/icons/exclamation-triangle-icon";
import { Spinner } from "@patternfly/react-core";
import type { TaskRow } from "../api/types";
import { useText } from "../i18n/text";
import { taskState, type TaskState } from "./model";

const ICONS: Record<TaskState, React.ReactNode> = {
  running: <Spinner isInline aria-hidden="true" />,
  ok: <CheckCircleIcon />,
  warnings: <ExclamationTriangleIcon />,
  failed: <ExclamationCircleIcon />,
  unknown: <ExclamationTriangleIcon />,
};

export function StateMark({ task, words = false }: { task: Pick<TaskRow, "endtime" | "status">; words?: boolean }) {
  const t = useText();
  const state = taskState(task);
  const said = state === "failed" || state === "warnings" ? task.status : t.tasks.states[state];
  return (
    <span className="kv-mark" data-state={state} title={said}>
      {ICONS[state]} <span className={words ? undefined : "kv-sr"}>{said}</span>
    </span>
  );
}
