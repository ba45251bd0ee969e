/** The frame: masthead above, tree at the left, the place in the middle, tasks at the bottom. */

import { useEffect, useMemo, useState } from "react";
import { Spinner } from "@patternfly/react-core";
import { keepFresh, useClusterStatus, useResources } from "../api/live";
import { Datacenter } from "../datacenter/Datacenter";
import { DoingProvider, useDoing } from "../guest/doing";
import { GuestView } from "../guest/GuestView";
import { useText } from "../i18n/text";
import { NodeView } from "../node/NodeView";
import { StorageView } from "../node/StorageView";
import { TaskDrawer } from "../tasks/TaskDrawer";
import { TaskFocusProvider } from "../tasks/focus";
import { readCluster, type Cluster } from "../tree/model";
import { Tree } from "../tree/Tree";
import { Banners } from "./Banners";
import { Masthead } from "./Masthead";
import { useRoute, type Route } from "./route";

export function Console({ user }: { user: string }) {
  const t = useText();
  const route = useRoute();
  useEffect(keepFresh, []);
  const [treeOpen, setTreeOpen] = useState(false);
  const status = useClusterStatus();
  const resources = useResources();
  const cluster = useMemo(
    () => readCluster(status.data ?? [], resources.data ?? []),
    [status.data, resources.data],
  );
  const known = status.data !== undefined && resources.data !== undefined;
  const failure = status.error ?? resources.error;
  return (
    <TaskFocusProvider>
      <DoingProvider cluster={cluster}>
        <div className="kv-console" data-tree={treeOpen ? "open" : "closed"}>
          <a className="kv-skip" href="#main" onClick={skipToContent}>
            {t.shell.skip}
          </a>
          <Masthead
            user={user}
            cluster={cluster}
            treeOpen={treeOpen}
            onToggleTree={() => setTreeOpen(!treeOpen)}
          />
          <nav className="kv-side" id="tree" aria-label={t.tree.label}>
            <Tree cluster={cluster} route={route} onChosen={() => setTreeOpen(false)} />
          </nav>
          <div className="kv-shade" onClick={() => setTreeOpen(false)} aria-hidden="true" />
          <main className="kv-main" id="main" tabIndex={-1}>
            <Banners failure={failure} status={status.data} />
            <Refusal />
            {known ? <Place route={route} cluster={cluster} /> : !failure && <Spinner aria-label={t.loading} />}
          </main>
          <TaskDrawer />
        </div>
      </DoingProvider>
    </TaskFocusProvider>
  );
}

function Refusal() {
  return useDoing().refusal;
}

function Place({ route, cluster }: { route: Route; cluster: Cluster }) {
  const t = useText();
  if (route.view === "datacenter") return <Datacenter cluster={cluster} tab={route.tab} />;
  if (route.view === "node") {
    const node = cluster.nodes.find(({ name }) => name === route.node);
    return node ? <NodeView key={node.name} node={node} tab={route.tab} /> : <p>{t.gone.node(route.node)}</p>;
  }
  if (route.view === "storage") {
    const node = cluster.nodes.find(({ name }) => name === route.node);
    const storage = node?.storages.find(({ name }) => name === route.storage);
    if (!storage) return <p>{t.gone.storage(route.storage, route.node)}</p>;
    return <StorageView storage={storage} nodes={cluster.nodes} />;
  }
  const guest = cluster.guests.find(({ vmid }) => vmid === route.vmid);
  return guest ? (
    <GuestView key={guest.vmid} guest={guest} cluster={cluster} tab={route.tab} />
  ) : (
    <p>{t.gone.guest(route.vmid)}</p>
  );
}

/** The address's hash is the route, so the skip link moves the focus itself. */
function skipToContent(event: React.MouseEvent): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
