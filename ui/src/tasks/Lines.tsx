/** The lines of a task's log, the end in sight as they come. */

import { useEffect, useRef } from "react";
import type { LogLine } from "../api/types";
import { useText } from "../i18n/text";
import { lineTone } from "./model";

export function Lines({ lines, label }: { lines: readonly LogLine[]; label: string }) {
  const t = useText();
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "nearest" });
  }, [lines.length]);
  return (
    <div className="kv-lines" role="log" aria-label={label} tabIndex={0}>
      {lines.map((line) => (
        <div key={line.n} data-tone={lineTone(line.t)}>
          {line.t}
        </div>
      ))}
      {lines.length === 0 && <div className="kv-quiet">{t.tasks.emptyLog}</div>}
      <div ref={end} />
    </div>
  );
}
