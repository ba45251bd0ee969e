/** The join as it goes, over the seconds in which the node has no answer; in the end the certificate (W9). */

import { useEffect } from "react";
import { Alert, Spinner } from "@patternfly/react-core";
import { useTaskNews } from "../api/taskStream";
import { refreshAll } from "../api/live";
import { useText } from "../i18n/text";
import { Lines } from "../tasks/Lines";
import { endState, outcomeIn } from "../tasks/model";
import { Certificate } from "./Certificate";

export function JoinProgress({ node, upid }: { node: string; upid: string }) {
  const t = useText();
  const { lines, exit } = useTaskNews(node, upid);
  const outcome = exit ?? outcomeIn(lines);
  const state = outcome === undefined ? "running" : endState(outcome);
  const joined = state === "ok" || state === "warnings";
  useEffect(() => {
    if (state !== "running") void refreshAll();
  }, [state]);
  return (
    <div className="kv-progress">
      {state === "running" ? (
        <Alert isInline variant="info" customIcon={<Spinner size="md" aria-hidden="true" />} title={t.join.working}>
          {t.join.patience}
        </Alert>
      ) : joined ? (
        <Alert isInline variant={state === "ok" ? "success" : "warning"} title={state === "ok" ? t.join.done : t.join.doneWarnings} />
      ) : (
        <Alert isInline variant="danger" role="alert" title={t.join.failed}>
          {outcome}
        </Alert>
      )}
      <Lines lines={lines} label={t.join.log} />
      {joined && <Certificate node={node} />}
    </div>
  );
}
