/** The whole cluster: its summary, the cluster's making, all guests. */

import { lazy, Suspense } from "react";
import { Spinner } from "@patternfly/react-core";
import { GuestsTable } from "../guest/GuestsTable";
import { useText } from "../i18n/text";
import { Panel } from "../shell/parts";
import { PlaceTabs } from "../shell/PlaceTabs";
import type { Tab } from "../shell/route";
import type { Cluster } from "../tree/model";
import { Summary } from "./Summary";

/** Fetched when it is first opened: its dialogs are many, and few visits need them. */
const ClusterTab = lazy(async () => ({ default: (await import("../cluster/ClusterTab")).ClusterTab }));

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
      {tab === "cluster" && (
        <Suspense fallback={<Spinner aria-label={t.loading} />}>
          <ClusterTab cluster={cluster} />
        </Suspense>
      )}
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
