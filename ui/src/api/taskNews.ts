/** A task's log, progress and end, as they come by its stream of events or by asking. Pure. */

import type { ServerEvent } from "./sse";
import type { LogLine, TaskStatus } from "./types";

export interface TaskNews {
  lines: LogLine[];
  /** 0 to 1, and with what; while the task says so */
  progress: number | undefined;
  doing: string | undefined;
  /** how it ended; undefined while it runs */
  exit: string | undefined;
}

export const NO_NEWS: TaskNews = { lines: [], progress: undefined, doing: undefined, exit: undefined };

/** The news with lines that came; those that are here already are left out. */
export function withLines(news: TaskNews, lines: LogLine[]): TaskNews {
  const fresh = lines.filter((line) => line.n > news.lines.length);
  return fresh.length === 0 ? news : { ...news, lines: [...news.lines, ...fresh] };
}

/** The news with what the task's status says. */
export function withStatus(news: TaskNews, status: TaskStatus): TaskNews {
  if (status.status === "stopped") return ended(news, status.exitstatus);
  return { ...news, progress: status.progress ?? news.progress, doing: status.doing ?? news.doing };
}

/** The news after events `log`, `progress` and `end` of the task's stream. */
export function withEvents(news: TaskNews, events: readonly ServerEvent[]): TaskNews {
  const lines: LogLine[] = [];
  let now = news;
  for (const event of events) {
    const data = read(event.data);
    if (event.name === "log") lines.push(data as unknown as LogLine);
    else if (event.name === "progress") now = { ...now, ...(data as Pick<TaskNews, "progress" | "doing">) };
    else if (event.name === "end") now = ended(now, data["exitstatus"] as string | undefined);
  }
  return withLines(now, lines);
}

function ended(news: TaskNews, exit: string | undefined): TaskNews {
  return { ...news, progress: undefined, doing: undefined, exit: exit ?? "" };
}

function read(data: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
