/** The tree of the cluster: datacenter, nodes, guests, as the flat list of rows that is on the screen. */

import type { ClusterStatusRow, Resource } from "../api/types";

export type GuestState = "running" | "stopped" | "paused" | "suspended" | "template" | "unknown";
export type NodeState = "online" | "offline" | "unknown";

export interface Guest {
  vmid: number;
  name: string;
  node: string;
  state: GuestState;
  lock: string | undefined;
  resource: Resource;
}

/** Whether its memory lies on disk, from where a start goes on. */
export function isHibernated(guest: Pick<Guest, "lock" | "state">): boolean {
  return guest.lock === "suspended" && guest.state === "stopped";
}

export interface Node {
  name: string;
  state: NodeState;
  address: string | undefined;
  local: boolean;
  guests: Guest[];
  storages: Storage[];
  resource: Resource | undefined;
}

export interface Storage {
  name: string;
  node: string;
  available: boolean;
  resource: Resource;
}

export interface Cluster {
  /** undefined on a node that is in no cluster */
  name: string | undefined;
  quorate: boolean;
  nodes: Node[];
  guests: Guest[];
}

export type Row =
  | { kind: "datacenter"; key: string; level: 1; expanded: boolean }
  | { kind: "node"; key: string; level: 2; expanded: boolean; node: Node }
  | { kind: "guest"; key: string; level: 3; guest: Guest }
  | { kind: "storage"; key: string; level: 3; storage: Storage };

export const DATACENTER_KEY = "datacenter";

/** Joins membership (who is online) and statistics (what they do) to one picture, in a stable order. */
export function readCluster(status: ClusterStatusRow[], resources: Resource[]): Cluster {
  const header = status.find((row) => row.type === "cluster");
  const nodes = new Map<string, Node>();
  for (const row of status) {
    if (row.type !== "node") continue;
    nodes.set(row.name, {
      name: row.name,
      state: row.online ? "online" : "offline",
      address: row.ip,
      local: Boolean(row.local),
      guests: [],
      storages: [],
      resource: undefined,
    });
  }
  for (const resource of resources) {
    if (resource.type !== "node" || !resource.node) continue;
    const known = nodes.get(resource.node);
    if (known) known.resource = resource;
    else nodes.set(resource.node, unlisted(resource.node, resource));
  }
  const guests = resources.flatMap(readGuest).sort((a, b) => a.vmid - b.vmid);
  for (const guest of guests) {
    const node = nodes.get(guest.node) ?? unlisted(guest.node, undefined);
    nodes.set(guest.node, node);
    node.guests.push(guest);
  }
  for (const storage of resources.flatMap(readStorage).sort((a, b) => a.name.localeCompare(b.name))) {
    nodes.get(storage.node)?.storages.push(storage);
  }
  return {
    name: header?.name,
    quorate: header ? Boolean(header.quorate) : true,
    nodes: [...nodes.values()].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })),
    guests,
  };
}

function unlisted(name: string, resource: Resource | undefined): Node {
  const state = resource?.status === "online" || resource?.status === "offline" ? resource.status : "unknown";
  return { name, state, address: undefined, local: false, guests: [], storages: [], resource };
}

function readGuest(resource: Resource): Guest[] {
  if (resource.type !== "qemu" || resource.vmid === undefined || !resource.node) return [];
  return [
    {
      vmid: resource.vmid,
      name: resource.name ?? `VM ${resource.vmid}`,
      node: resource.node,
      state: guestState(resource),
      lock: resource.lock,
      resource,
    },
  ];
}

/** The state that a guest's own node tells. */
export function stateOf(status: { status: string; qmpstatus?: string | undefined }): GuestState {
  const paused = status.status === "running" && status.qmpstatus === "paused";
  return guestState({ status: paused ? "paused" : status.status });
}

function readStorage(resource: Resource): Storage[] {
  if (resource.type !== "storage" || !resource.storage || !resource.node) return [];
  const available = resource.status === "available";
  return [{ name: resource.storage, node: resource.node, available, resource }];
}

const GUEST_STATES = new Set<string>(["running", "stopped", "paused", "suspended"]);

function guestState(resource: Pick<Resource, "status" | "template">): GuestState {
  if (resource.template) return "template";
  const status = resource.status ?? "unknown";
  return GUEST_STATES.has(status) ? (status as GuestState) : "unknown";
}

/** The rows on the screen when the keys in `folded` are folded. */
export function visibleRows(cluster: Cluster, folded: ReadonlySet<string>): Row[] {
  const expanded = !folded.has(DATACENTER_KEY);
  const rows: Row[] = [{ kind: "datacenter", key: DATACENTER_KEY, level: 1, expanded }];
  if (!expanded) return rows;
  for (const node of cluster.nodes) {
    const key = nodeKey(node.name);
    const open = !folded.has(key);
    rows.push({ kind: "node", key, level: 2, expanded: open, node });
    if (!open) continue;
    for (const guest of node.guests) {
      rows.push({ kind: "guest", key: guestKey(guest.vmid), level: 3, guest });
    }
    for (const storage of node.storages) {
      rows.push({ kind: "storage", key: storageKey(storage.node, storage.name), level: 3, storage });
    }
  }
  return rows;
}

export const nodeKey = (name: string): string => `node/${name}`;
export const guestKey = (vmid: number): string => `guest/${vmid}`;

export const storageKey = (node: string, name: string): string => `storage/${node}/${name}`;

export type Step = { focus: string } | { fold: string } | { unfold: string } | null;

/** What a key does on the row in focus, as the ARIA tree pattern has it; null when nothing. */
export function stepOnKey(rows: Row[], focus: string, pressed: string): Step {
  const index = Math.max(
    0,
    rows.findIndex((row) => row.key === focus),
  );
  const row = rows[index];
  if (!row) return null;
  switch (pressed) {
    case "ArrowDown":
      return focusOn(rows[index + 1]);
    case "ArrowUp":
      return focusOn(rows[index - 1]);
    case "Home":
      return focusOn(rows[0]);
    case "End":
      return focusOn(rows.at(-1));
    case "ArrowRight":
      if (!isBranch(row)) return null;
      return row.expanded ? focusOn(childOf(rows, index)) : { unfold: row.key };
    case "ArrowLeft":
      if (isBranch(row) && row.expanded) return { fold: row.key };
      return focusOn(rows.slice(0, index).findLast((above) => above.level < row.level));
    default:
      return null;
  }
}

/** Whether rows may stand below this one. */
export function isBranch(row: Row): row is Extract<Row, { expanded: boolean }> {
  return "expanded" in row;
}

function childOf(rows: Row[], index: number): Row | undefined {
  const [row, next] = [rows[index], rows[index + 1]];
  return row && next && next.level > row.level ? next : undefined;
}

function focusOn(row: Row | undefined): Step {
  return row ? { focus: row.key } : null;
}

/** Guests whose id, name, node or tags contain every word of the text; ids that begin with it come first. */
export function matchGuests(guests: Guest[], text: string, limit: number): Guest[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const first = words[0] ?? "";
  return guests
    .filter((guest) => {
      const hay = `${guest.vmid} ${guest.name} ${guest.node} ${guest.resource.tags ?? ""}`.toLowerCase();
      return words.every((word) => hay.includes(word));
    })
    .map((guest) => ({ guest, rank: String(guest.vmid).startsWith(first) ? 0 : 1 }))
    .sort((a, b) => a.rank - b.rank || a.guest.vmid - b.guest.vmid)
    .slice(0, limit)
    .map(({ guest }) => guest);
}
