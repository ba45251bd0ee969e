/** The API's answers, as far as the page reads them. One place: what is not declared here is not used. */

/** Booleans are 0 or 1 on the wire. */
export type Flag = 0 | 1;

export interface Realm {
  realm: string;
  type: string;
  comment?: string;
  default?: Flag;
}

export interface Ticket {
  ticket: string;
  CSRFPreventionToken: string;
  username: string;
  clustername?: string;
  /** the ticket is a challenge: a second factor is asked for */
  NeedTFA?: Flag;
}

/** A second factor, as GET /access/tfa/USER lists them. */
export interface Factor {
  id: string;
  type: string;
  description?: string;
  created?: number;
  enable?: Flag | boolean;
}

/** An API token, as GET /access/users/USER/token lists them. */
export interface ApiToken {
  tokenid: string;
  comment?: string;
  expire?: number;
  privsep?: Flag | boolean;
}

/** GET /version */
export interface Version {
  version: string;
  release: string;
}

/** A row of GET /cluster/status; without a cluster there is one node row with nodeid 0. */
export type ClusterStatusRow =
  | { type: "cluster"; id: string; name: string; version: number; nodes: number; quorate: Flag }
  | {
      type: "node";
      id: string;
      name: string;
      nodeid: number;
      ip?: string;
      online: Flag;
      local?: Flag;
    };

/** A row of GET /cluster/config/nodes. Numbers may come as text. */
export interface ConfiguredNode {
  node: string;
  name?: string;
  nodeid?: number | string;
  quorum_votes?: number | string;
  [ring: `ring${number}_addr`]: string;
}

/** GET /kvorum/quorum: votes as Corosync counts them, the QDevice's among them. */
export interface QuorumAnswer {
  quorate?: Flag | boolean;
  total?: number;
  present?: number;
  needed?: number;
  /** Voters, nodes and the QDevice, that are not here. */
  missing?: string[];
  /** Whether configuration can be changed on this node, and why not. */
  writable?: Flag | boolean;
  reason?: string;
  /** Voters whose failure alone costs quorum; each smallest set whose loss at once does. */
  fatal?: string[];
  losses?: LossChoice[][];
  /** Shapes that fool people. */
  cautions?: Caution[];
  /** Edits of corosync.conf that were refused: the node and why. */
  refused?: Record<string, string>;
}

/** Any `count` of these voters. */
export interface LossChoice {
  count: number;
  of: string[];
}

/** `kind` names it; `sentence` says it in English. */
export interface Caution {
  kind: string;
  sentence: string;
  node?: string;
}

/** GET /kvorum/links: each link as its nodes see it, and how far each clock is ahead of another. */
export interface LinksAnswer {
  links: {
    node: string;
    to: string;
    link: number;
    address: string;
    to_address: string;
    connected: Flag | boolean;
    latency_us: number;
    /** null until there are enough pings to tell */
    loss_percent: number | null;
    downs: number;
  }[];
  clocks: { node: string; to: string; ahead_ms: number; unsure_ms: number; asked: number }[];
  warnings: { kind: string; nodes: string[]; link: number | null; sentence: string }[];
  /** nodes that are here and tell nothing yet */
  silent: string[];
}

/** GET /kvorum/cluster/votes: quorum explained as it would be, and what forbids the change. */
export interface VotesForecast extends QuorumAnswer {
  refusals: string[];
}

/** GET /cluster/config/join */
export interface JoinAnswer {
  nodelist: ({ name: string; pve_addr?: string; pve_fp?: string } & Record<string, unknown>)[];
  preferred_node: string;
  totem: Record<string, unknown>;
  config_digest?: string;
}

/** A row of GET /kvorum/cluster/tokens; times: Unix seconds. */
export interface JoinToken {
  id: string;
  by: string;
  expires: number;
  state: string;
}

/** POST /kvorum/cluster/tokens; the token is told this once. */
export interface NewJoinToken {
  id: string;
  token: string;
  expires: number;
  hostname: string;
}

/** GET /kvorum/cluster/nodes/N/page-certificate */
export interface PageCertificate {
  shows: "custom" | "former" | "cluster";
  fingerprint: string;
  cluster_fingerprint: string;
}

/** A row of GET /nodes/N/network. */
export interface NetworkRow {
  iface: string;
  active?: Flag | boolean;
  address?: string;
  cidr?: string;
  address6?: string;
  cidr6?: string;
}

/** GET /cluster/config/qdevice: the daemon's own labels and values; empty without a QDevice. */
export type DeviceStatus = Record<string, string>;

/** A row of GET /cluster/resources. cpu is a share of maxcpu (0 to 1); sizes are bytes, uptime seconds. */
export interface Resource {
  id: string;
  type: "node" | "qemu" | "lxc" | "storage" | "pool" | "sdn" | "network" | "openvz";
  node?: string;
  vmid?: number;
  name?: string;
  status?: string;
  cpu?: number;
  maxcpu?: number;
  mem?: number;
  maxmem?: number;
  disk?: number;
  maxdisk?: number;
  uptime?: number;
  tags?: string;
  lock?: string;
  template?: Flag;
  hastate?: string;
  /** a storage's own: its name, kind, what it may hold, and whether all its nodes see the same data */
  storage?: string;
  plugintype?: string;
  content?: string;
  shared?: Flag;
}

/** GET /nodes/N/status; sizes are bytes. */
export interface NodeStatus {
  cpu: number;
  uptime?: number;
  loadavg?: string[];
  cpuinfo?: { model?: string; cpus?: number; cores?: number; sockets?: number };
  memory?: { total: number; used: number };
  swap?: { total: number; used: number };
  rootfs?: { total: number; used: number };
  pveversion?: string;
  "current-kernel"?: { sysname?: string; release?: string };
}

/** GET /nodes/N/qemu/ID/status/current */
export interface GuestStatus {
  vmid: number;
  name?: string;
  status: "running" | "stopped";
  qmpstatus?: string;
  cpu?: number;
  cpus?: number;
  mem?: number;
  maxmem?: number;
  maxdisk?: number;
  uptime?: number;
  pid?: number;
  lock?: string;
  tags?: string;
  ha?: { managed?: Flag; state?: string };
  "running-qemu"?: string;
  "running-machine"?: string;
}

/** GET /nodes/N/qemu/ID/config: whatever the file holds, plus its digest. */
export type GuestConfig = Record<string, string | number>;

/** GET /nodes/N/qemu/ID/migrate: what stands in the way. */
export interface MigrationCheck {
  running?: Flag | boolean;
  allowed_nodes?: string[];
  not_allowed_nodes?: Record<string, { unavailable_storages?: string[] } | undefined>;
  local_disks?: { volid: string; size?: number; cdrom?: Flag | boolean }[];
  local_resources?: string[];
}

/** A row of GET /cluster/tasks; without endtime it runs, else status is how it ended. Times: Unix seconds. */
export interface TaskRow {
  upid: string;
  node: string;
  type: string;
  id?: string;
  user: string;
  starttime: number;
  endtime?: number;
  status?: string;
}

/** GET /nodes/N/tasks/UPID/status */
export interface TaskStatus {
  upid: string;
  status: "running" | "stopped";
  exitstatus?: string;
  /** how far it is, 0 to 1, and with what; only while it says so */
  progress?: number;
  doing?: string;
}

/** A line of a task's log; n counts from 1. */
export interface LogLine {
  n: number;
  t: string;
}
