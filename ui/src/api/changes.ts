/** What the stream's events change in what the page knows, and what they make it ask again. Pure. */

import type { ClusterStatusRow, GuestStatus, Resource, TaskRow } from "./types";

/** An event of /api2/events, its data read. */
export type Change =
  | { name: "resource"; data: Resource | Gone }
  | { name: "task"; data: TaskRow }
  | { name: "cluster"; data: Membership }
  | { name: "store"; data: { path: string; gone?: 1 } };

interface Gone {
  id: string;
  gone: 1;
}

export interface Membership {
  name?: string | null;
  quorate: boolean | 0 | 1;
  reason?: string;
  online: string[];
  offline: string[];
}

const NAMES = new Set(["resource", "task", "cluster", "store"]);

/** The event as a change; undefined when it is none of ours or broken. */
export function readChange(name: string, data: string): Change | undefined {
  if (!NAMES.has(name)) return undefined;
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? ({ name, data: value } as Change) : undefined;
  } catch {
    return undefined;
  }
}

/** Rows of /cluster/resources after the changes; the same array when nothing changed. */
export function applyResources(rows: Resource[], changes: readonly Change[]): Resource[] {
  const news = new Map<string, Resource | Gone>();
  for (const change of changes) if (change.name === "resource") news.set(change.data.id, change.data);
  if (news.size === 0) return rows;
  const kept = rows.flatMap((row) => {
    const now = news.get(row.id);
    news.delete(row.id);
    return now === undefined ? [row] : isGone(now) ? [] : [now];
  });
  const added = [...news.values()].filter((now) => !isGone(now)) as Resource[];
  return [...kept, ...added];
}

/** Rows of /cluster/tasks after the changes. */
export function applyTasks(rows: TaskRow[], changes: readonly Change[]): TaskRow[] {
  const news = new Map<string, TaskRow>();
  for (const change of changes) if (change.name === "task") news.set(change.data.upid, change.data);
  if (news.size === 0) return rows;
  const kept = rows.map((row) => {
    const now = news.get(row.upid);
    news.delete(row.upid);
    return now ?? row;
  });
  return [...news.values(), ...kept];
}

/** Rows of /cluster/status after the changes: quorum and who is online. */
export function applyMembership(rows: ClusterStatusRow[], changes: readonly Change[]): ClusterStatusRow[] {
  const last = changes.findLast((change) => change.name === "cluster");
  if (last?.name !== "cluster") return rows;
  const { quorate, online, offline } = last.data;
  return rows.map((row) => {
    if (row.type === "cluster") return { ...row, quorate: quorate ? 1 : 0 };
    if (online.includes(row.name)) return { ...row, online: 1 };
    return offline.includes(row.name) ? { ...row, online: 0 } : row;
  });
}

/** What no event tells whole and has to be asked for, as beginnings of query keys. */
export type Stale = readonly (string | number)[];

const CLUSTER: Stale[] = [["status"], ["quorum"], ["votes"], ["migrate"], ["join"], ["device"], ["forecast"]];
const CERTIFICATE_FILE = /^nodes\/([^/]+)\/[^/]+-ssl\.pem$/;
const GUEST_FILE = /^nodes\/[^/]+\/qemu-server\/(\d+)\.conf$/;

/** What is read from a guest's file. */
const OF_GUEST = ["config", "pending", "snapshots", "guest", "migrate"];

/**
 * What the changes make old; `rows` are the resources before them. A list that was asked for meanwhile may know
 * a change already, so what a guest's node last said of it (`told`) counts too.
 */
export function madeStale(
  rows: readonly Resource[],
  changes: readonly Change[],
  told: (vmid: number) => GuestStatus["status"] | undefined = () => undefined,
): Stale[] {
  const stale = new Map<string, Stale>();
  const add = (...keys: Stale[]) => keys.forEach((key) => stale.set(key.join("/"), key));
  const before = new Map(rows.map((row) => [row.id, row]));
  for (const change of changes) {
    if (change.name === "cluster") add(...CLUSTER);
    else if (change.name === "store") add(...staleByFile(change.data.path));
    else if (change.name === "resource") add(...staleByRow(before.get(change.data.id), change.data, told));
  }
  return [...stale.values()];
}

function staleByFile(path: string): Stale[] {
  const vmid = GUEST_FILE.exec(path)?.[1];
  if (vmid !== undefined) return OF_GUEST.map((what) => [what, Number(vmid)]);
  if (path === "corosync.conf") return CLUSTER;
  const node = CERTIFICATE_FILE.exec(path)?.[1];
  if (node !== undefined) return [["certificate", node], ["join"]];
  return path === "user.cfg" ? [["account"]] : [];
}

function staleByRow(
  before: Resource | undefined,
  now: Resource | Gone,
  told: (vmid: number) => GuestStatus["status"] | undefined,
): Stale[] {
  if (isGone(now)) return [];
  if (now.type === "node") return before?.status === now.status ? [] : [["status"], ["quorum"], ["node", now.node ?? ""]];
  if (now.vmid === undefined) return [];
  const last = told(now.vmid);
  const apart = last !== undefined && (last === "stopped") !== (now.status === "stopped");
  const same = before?.status === now.status && before?.node === now.node && before?.lock === now.lock;
  return same && !apart ? [] : [["guest", now.vmid], ["migrate", now.vmid]];
}

function isGone(row: Resource | Gone): row is Gone {
  return "gone" in row;
}
