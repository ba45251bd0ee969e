/** Tasks: how one stands, what it is called, how far it is. */

import type { LogLine, TaskRow } from "../api/types";
import type { Dictionary } from "../i18n/en";

export type TaskState = "running" | "ok" | "warnings" | "failed" | "unknown";

/** How a row of the task list stands: without an end it runs, else its status is how it ended. */
export function taskState(task: Pick<TaskRow, "endtime" | "status">): TaskState {
  if (task.endtime === undefined) return task.status === undefined ? "running" : endState(task.status);
  return endState(task.status);
}

/** What an exit text means: OK, WARNINGS: n, or an error. */
export function endState(exit: string | undefined): TaskState {
  if (exit === undefined || exit === "") return "unknown";
  if (exit === "running" || exit === "RUNNING") return "running";
  if (exit === "OK") return "ok";
  return exit.startsWith("WARNINGS") ? "warnings" : "failed";
}

/** Running ones first, then the newest. */
export function sortTasks(tasks: TaskRow[]): TaskRow[] {
  const rank = (task: TaskRow) => (taskState(task) === "running" ? 0 : 1);
  return [...tasks].sort(
    (a, b) => rank(a) - rank(b) || b.starttime - a.starttime || a.upid.localeCompare(b.upid),
  );
}

/** "Migrate VM 100"; an unknown type is shown as it is. */
export function taskTitle(task: Pick<TaskRow, "type" | "id">, t: Dictionary): string {
  const known = t.tasks.types as Readonly<Record<string, string>>;
  const name = Object.hasOwn(known, task.type) ? known[task.type] : task.type;
  return [name, task.id].filter(Boolean).join(" ");
}

/** What a UPID says about its task: `UPID:node:pid:pstart:starttime:type:id:user:`; undefined if it is none. */
export function readUpid(upid: string): TaskRow | undefined {
  const fields = upid.split(":");
  if (fields.length !== 9 || fields[0] !== "UPID") return undefined;
  const [, node = "", , , start = "", type = "", id = "", user = ""] = fields;
  const starttime = Number.parseInt(start, 16);
  if (!node || !type || Number.isNaN(starttime)) return undefined;
  return { upid, node, type, id: unescape(id), user: unescape(user), starttime };
}

function unescape(text: string): string {
  return text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

const PERCENT = /(?<![\w.])(\d{1,3}(?:\.\d+)?) ?%/g;
const TAIL_LINES = 5;

/** How far a task is (0 to 100), by the last percentage near its log's end; undefined when it says none. */
export function progressOf(log: LogLine[]): number | undefined {
  for (const line of log.slice(-TAIL_LINES).reverse()) {
    const last = [...line.t.matchAll(PERCENT)].at(-1)?.[1];
    if (last !== undefined && Number(last) <= 100) return Number(last);
  }
  return undefined;
}

/** How a task ended, by its log's last line, as its exit status says it; undefined while it has not. */
export function outcomeIn(log: LogLine[] | undefined): string | undefined {
  const [, outcome] = /^TASK (OK|WARNINGS: \d+|ERROR: .*)$/.exec(log?.at(-1)?.t ?? "") ?? [];
  return outcome?.replace(/^ERROR: /, "");
}

export type LineTone = "error" | "warning" | "good" | "plain";

/** How a line of a log is to be coloured. */
export function lineTone(text: string): LineTone {
  if (text.startsWith("TASK ERROR") || /^(error|ERROR)\b/.test(text)) return "error";
  if (text.startsWith("TASK WARNINGS") || /^(WARN|warning|WARNING)\b/.test(text)) return "warning";
  return text === "TASK OK" ? "good" : "plain";
}
