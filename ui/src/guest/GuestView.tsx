/** One guest: how it is, what it is made of, what was done to it, and the buttons that do something. */

import { lazy, Suspense, type ReactNode } from "react";
import { Alert, Spinner } from "@patternfly/react-core";
import { useGuestConfig, useGuestStatus, useTasks, type Live } from "../api/live";
import type { GuestConfig, GuestStatus, TaskRow } from "../api/types";
import { useText } from "../i18n/text";
import { duration } from "../i18n/units";
import { ByteUsage, CpuUsage, Facts, Panel } from "../shell/parts";
import { PlaceTabs } from "../shell/PlaceTabs";
import { hrefOf, type Tab } from "../shell/route";
import { sortTasks } from "../tasks/model";
import { TaskList } from "../tasks/TaskList";
import { TasksPanel } from "../tasks/TasksPanel";
import { GuestIcon, guestState, StateText } from "../tree/icons";
import { stateOf, type Cluster, type Guest } from "../tree/model";
import { Actions } from "./Actions";
import { ConfigTable } from "./ConfigTable";

const RECENT = 6;
const ConsoleTab = lazy(() => import("../console/ConsoleTab"));
const HardwareTab = lazy(() => import("../hardware/HardwareTab"));
const CloudInitTab = lazy(() => import("../cloudinit/CloudInitTab"));
const OptionsTab = lazy(() => import("../options/OptionsTab"));
const SnapshotsTab = lazy(() => import("../snapshots/SnapshotsTab"));

interface Props {
  guest: Guest;
  cluster: Cluster;
  tab?: Tab<"guest"> | undefined;
}

export function GuestView({ guest: listed, cluster, tab = "summary" }: Props) {
  const t = useText();
  const status = useGuestStatus(listed.node, listed.vmid);
  const config = useGuestConfig(listed.node, listed.vmid);
  const guest = withLiveState(listed, status.isPlaceholderData || status.isError ? undefined : status.data);
  const tasks = useTasks();
  const own = sortTasks((tasks.data ?? []).filter((task) => task.id === String(guest.vmid)));
  const refused = cluster.quorate ? undefined : t.quorum.actionRefused;
  const views: Record<Tab<"guest">, () => ReactNode> = {
    summary: () => <Summary guest={guest} status={status.data} config={config} tasks={own.slice(0, RECENT)} />,
    console: () => <ConsoleTab guest={guest} config={config.data} />,
    hardware: () => <HardwareTab guest={guest} refused={refused} />,
    cloudinit: () => <CloudInitTab guest={guest} refused={refused} />,
    options: () => <OptionsTab guest={guest} refused={refused} />,
    snapshots: () => <SnapshotsTab guest={guest} refused={refused} />,
    tasks: () => <TasksPanel tasks={own} none={t.guest.noTasks} />,
  };
  return (
    <>
      <header className="kv-head">
        <h1>
          <GuestIcon guest={guest} /> <span className="kv-vmid">{guest.vmid}</span> {guest.name}
        </h1>
        <StateText state={guest.state} text={guestState(guest, t)} />
        <a href={hrefOf({ view: "node", node: guest.node })}>{t.guest.onNode(guest.node)}</a>
        <Actions guest={guest} cluster={cluster} />
      </header>
      {status.error && <Alert isInline variant="warning" title={status.error.message} />}
      <PlaceTabs route={{ view: "guest", vmid: guest.vmid, tab }} />
      <Suspense fallback={<Spinner aria-label={t.loading} />}>{views[tab]()}</Suspense>
    </>
  );
}

interface SummaryProps {
  guest: Guest;
  status: GuestStatus | undefined;
  config: Live<GuestConfig>;
  tasks: TaskRow[];
}

function Summary({ guest, status, config, tasks }: SummaryProps) {
  const t = useText();
  const notes = config.data?.description;
  return (
    <div className="kv-columns">
      <div className="kv-stack">
        <Panel title={t.guest.status}>
          <StatusFacts guest={guest} status={status} />
        </Panel>
        {notes !== undefined && notes !== "" && (
          <Panel title={t.guest.notes}>
            <p className="kv-notes">{notes}</p>
          </Panel>
        )}
        <Panel title={t.guest.tasks}>
          {tasks.length > 0 ? (
            <TaskList tasks={tasks} compact />
          ) : (
            <p className="kv-quiet">{t.guest.noTasks}</p>
          )}
        </Panel>
      </div>
      <Panel title={t.guest.configuration}>
        {config.data && <ConfigTable config={config.data} />}
        {config.error && <p className="kv-quiet">{config.error.message}</p>}
      </Panel>
    </div>
  );
}

/** The guest with the state its node has just told; the list of all guests may be a moment behind. */
function withLiveState(guest: Guest, status: GuestStatus | undefined): Guest {
  if (status === undefined || guest.state === "template") return guest;
  return { ...guest, state: stateOf(status) };
}

function StatusFacts({ guest, status }: { guest: Guest; status: GuestStatus | undefined }) {
  const t = useText();
  const live = guest.state === "running";
  const now = { ...status, ...guest.resource };
  const odd = status?.qmpstatus !== undefined && status.qmpstatus !== guest.state ? status.qmpstatus : undefined;
  return (
    <Facts
      facts={[
        [t.fact.state, [t.state[guest.state], odd && `(${odd})`].filter(Boolean).join(" ")],
        [t.fact.node, <a href={hrefOf({ view: "node", node: guest.node })}>{guest.node}</a>],
        [t.fact.ha, status?.ha?.managed ? (status.ha.state ?? "-") : undefined],
        [t.fact.lock, guest.lock],
        [
          t.fact.cpu,
          <CpuUsage share={live ? now.cpu : 0} cpus={status?.cpus ?? guest.resource.maxcpu} />,
        ],
        [
          t.fact.memory,
          <ByteUsage name={t.fact.memory} used={live ? (now.mem ?? 0) : 0} total={now.maxmem} />,
        ],
        [t.fact.uptime, live && now.uptime !== undefined ? duration(now.uptime) : undefined],
        [t.fact.machine, [status?.["running-machine"], status?.["running-qemu"]].filter(Boolean).join(", QEMU ")],
        [t.fact.process, status?.pid],
        [t.fact.tags, now.tags?.split(/[;, ]/).join(", ")],
      ]}
    />
  );
}
