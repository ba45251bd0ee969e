/** Can the cluster decide, and how are its nodes. */

import { useClusterStatus, useConfiguredNodes, useQuorum } from "../api/live";
import { useText } from "../i18n/text";
import { Panel } from "../shell/parts";
import type { Cluster } from "../tree/model";
import { NodesTable } from "./NodesTable";
import { QuorumCard } from "./QuorumCard";
import { readQuorum } from "./quorum";

export function Summary({ cluster }: { cluster: Cluster }) {
  const t = useText();
  const status = useClusterStatus();
  const configured = useConfiguredNodes();
  const answer = useQuorum();
  const quorum = readQuorum(status.data ?? [], configured.data ?? [], answer.data ?? null);
  const running = cluster.guests.filter((guest) => guest.state === "running").length;
  return (
    <div className="kv-stack">
      <QuorumCard quorum={quorum} />
      <Panel
        title={t.nodes}
        aside={<span className="kv-quiet">{t.guestCount(running, cluster.guests.length - running)}</span>}
      >
        <NodesTable nodes={cluster.nodes} voters={quorum.voters} />
      </Panel>
    </div>
  );
}
