/** What concerns the whole page: no answer, no quorum. */

import { Alert } from "@patternfly/react-core";
import { ApiError } from "../api/client";
import { isHeld } from "../api/feed";
import { useConfiguredNodes, useQuorum } from "../api/live";
import { useFeed } from "../api/stream";
import type { ClusterStatusRow } from "../api/types";
import { explain, readQuorum } from "../datacenter/quorum";
import { useText } from "../i18n/text";

export function Banners({ failure, status }: { failure: Error | null; status: ClusterStatusRow[] | undefined }) {
  const t = useText();
  const configured = useConfiguredNodes();
  const answer = useQuorum();
  const quorum = readQuorum(status ?? [], configured.data ?? [], answer.data ?? null);
  const held = useFeed(isHeld);
  const silent = failure instanceof ApiError && failure.status === 0;
  return (
    <div className="kv-banners" aria-live="polite">
      {failure && (
        <Alert isInline variant="warning" title={silent ? t.noAnswer : failure.message} />
      )}
      {held && !failure && (
        <Alert isInline variant="info" title={t.held.title}>
          {t.held.text}
        </Alert>
      )}
      {status && !quorum.quorate && (
        <Alert isInline variant="danger" title={t.quorum.banner}>
          {[t.quorum.bannerWhy, ...explain(quorum, t)].join(" ")}
        </Alert>
      )}
    </div>
  );
}
