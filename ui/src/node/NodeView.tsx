/** One node: how it is, and which guests it has. */

import { lazy, Suspense } from "react";
import { Alert, Spinner } from "@patternfly/react-core";
import { useNodeStatus, useTasks } from "../api/live";
import { nodePath } from "../api/paths";
import type { NodeStatus } from "../api/types";
import { GuestsTable } from "../guest/GuestsTable";
import { useText } from "../i18n/text";
import { duration } from "../i18n/units";
import { ByteUsage, CpuUsage, Facts, Panel } from "../shell/parts";
import { PlaceTabs } from "../shell/PlaceTabs";
import type { Tab } from "../shell/route";
import { TasksPanel } from "../tasks/TasksPanel";
import { NodeIcon, StateText } from "../tree/icons";
import { StoragesTable } from "./StoragesTable";
import type { Node } from "../tree/model";

const NetworkTab = lazy(() => import("../network/NetworkTab"));
const TerminalConsole = lazy(async () => ({ default: (await import("../console/TerminalConsole")).TerminalConsole }));

export function NodeView({ node, tab = "summary" }: { node: Node; tab?: Tab<"node"> }) {
  const t = useText();
  const status = useNodeStatus(node.name);
  const tasks = useTasks().data ?? [];
  const offline = node.state === "offline";
  return (
    <>
      <header className="kv-head">
        <h1>
          <NodeIcon node={node} /> {node.name}
        </h1>
        <StateText state={node.state} text={t.state[node.state]} />
      </header>
      {offline && <Alert isInline variant="warning" title={t.nodeView.offline(node.name)} />}
      {status.error && !offline && <Alert isInline variant="warning" title={status.error.message} />}
      <PlaceTabs route={{ view: "node", node: node.name, tab }} />
      {tab === "shell" ? (
        <Suspense fallback={<Spinner aria-label={t.loading} />}>
          <TerminalConsole path={nodePath(node.name)} label={node.name} />
        </Suspense>
      ) : tab === "network" ? (
        <Suspense fallback={<Spinner aria-label={t.loading} />}>
          <NetworkTab node={node.name} />
        </Suspense>
      ) : tab === "tasks" ? (
        <TasksPanel tasks={tasks.filter((task) => task.node === node.name)} none={t.nodeView.noTasks} />
      ) : (
        <Summary node={node} status={status.data} />
      )}
    </>
  );
}

function Summary({ node, status }: { node: Node; status: NodeStatus | undefined }) {
  const t = useText();
  return (
    <div className="kv-stack">
      <Panel title={t.nodeView.status}>
        <StatusFacts node={node} status={status} />
      </Panel>
      <Panel title={t.guests}>
        {node.guests.length > 0 ? (
          <GuestsTable guests={node.guests} />
        ) : (
          <p className="kv-quiet">{t.nodeView.noGuests}</p>
        )}
      </Panel>
      {node.storages.length > 0 && (
        <Panel title={t.storages}>
          <StoragesTable storages={node.storages} />
        </Panel>
      )}
    </div>
  );
}

function StatusFacts({ node, status }: { node: Node; status: NodeStatus | undefined }) {
  const t = useText();
  const { resource } = node;
  const memory =
    resource?.mem === undefined ? status?.memory : { used: resource.mem, total: resource.maxmem };
  const uptime = resource?.uptime ?? status?.uptime;
  const kernel = status?.["current-kernel"];
  return (
    <Facts
      facts={[
        [
          t.fact.cpu,
          <CpuUsage share={resource?.cpu ?? status?.cpu} cpus={resource?.maxcpu ?? status?.cpuinfo?.cpus} />,
        ],
        [t.fact.memory, <ByteUsage name={t.fact.memory} used={memory?.used} total={memory?.total} />],
        [
          t.fact.disk,
          status?.rootfs && (
            <ByteUsage name={t.fact.disk} used={status.rootfs.used} total={status.rootfs.total} />
          ),
        ],
        [t.fact.load, status?.loadavg?.join("  ")],
        [t.fact.uptime, uptime === undefined ? undefined : duration(uptime)],
        [t.column.address, node.address],
        [t.fact.processor, status?.cpuinfo?.model],
        [t.fact.kernel, [kernel?.sysname, kernel?.release].filter(Boolean).join(" ")],
        [t.fact.version, status?.pveversion],
      ]}
    />
  );
}
