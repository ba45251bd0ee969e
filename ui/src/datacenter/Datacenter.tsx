/** The whole cluster: its summary, the cluster's making, all guests. */

import { GuestsTable } from "../guest/GuestsTable";
import { useText } from "../i18n/text";
import { Panel } from "../shell/parts";
import { PlaceTabs } from "../shell/PlaceTabs";
import type { Tab } from "../shell/route";
import type { Cluster } from "../tree/model";
import { ClusterTab } from "./ClusterTab";
import { Summary } from "./Summary";

export function Datacenter({ cluster, tab = "summary" }: { cluster: Cluster; tab?: Tab<"datacenter"> }) {
  const t = useText();
  return (
    <>
      <header className="kv-head">
        <h1>{t.datacenter}</h1>
        <span className="kv-quiet">{cluster.name ?? t.standalone}</span>
      </header>
      <PlaceTabs route={{ view: "datacenter", tab }} />
      {tab === "summary" && <Summary cluster={cluster} />}
      {tab === "cluster" && <ClusterTab />}
      {tab === "guests" && (
        <Panel title={t.guests}>
          {cluster.guests.length > 0 ? (
            <GuestsTable guests={cluster.guests} placed />
          ) : (
            <p className="kv-quiet">{t.noGuests}</p>
          )}
        </Panel>
      )}
    </>
  );
}
