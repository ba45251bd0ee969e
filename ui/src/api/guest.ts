/** What a guest's tabs and the wizard ask and change: devices, options, snapshots, consoles, new guests. */

import { call, type Parameters } from "./client";
import { refreshAll, useGuest, useLive } from "./live";
import { guestPath, nodePath } from "./paths";
import type { Flag, NetworkRow } from "./types";

/** A row of GET …/pending: what is, what will be at the next start, or 1 (2: with its volume) for what goes. */
export interface PendingRow {
  key: string;
  value?: string | number;
  pending?: string | number;
  delete?: Flag | 2;
}

/** A row of GET /nodes/N/storage; sizes are bytes. */
export interface StorageRow {
  storage: string;
  type: string;
  content: string;
  avail?: number;
  active?: Flag | boolean;
}

/** A row of GET /nodes/N/storage/S/content. */
export interface VolumeRow {
  volid: string;
  format?: string;
  size?: number;
}

/** A row of GET …/snapshot; the last one, `current`, is what is now. */
export interface SnapshotRow {
  name: string;
  description?: string;
  parent?: string;
  snaptime?: number;
  vmstate?: Flag | boolean;
}

/** POST …/vncproxy and …/termproxy. */
export interface ConsoleOffer {
  port: number | string;
  ticket: string;
  user: string;
}

/** Settings and `delete`, `revert`, `digest`. */
export type Settings = Record<string, string | number | undefined>;

export const usePending = (node: string, vmid: number) => useGuest<PendingRow[]>("pending", node, vmid, "pending");

export const useSnapshots = (node: string, vmid: number) =>
  useLive<SnapshotRow[] | null>(["snapshots", vmid, node], `${guestPath(node, vmid)}/snapshot`, { missing: null });

export const useStorages = (node: string) => useLive<StorageRow[]>(["storages", node], `${nodePath(node)}/storage`);

export const useVolumes = (node: string, storage: string, content: string) =>
  useLive<VolumeRow[]>(
    ["volumes", node, storage, content],
    `${nodePath(node)}/storage/${encodeURIComponent(storage)}/content?content=${content}`,
    { missing: [] },
  );

export const useBridges = (node: string) =>
  useLive<(NetworkRow & { type?: string })[]>(["bridges", node], `${nodePath(node)}/network`, { missing: [] });

export const useCpuModels = (node: string) =>
  useLive<{ name: string }[]>(["cpus", node], `${nodePath(node)}/capabilities/qemu/cpu`, { missing: [] });

export const useMachines = (node: string) =>
  useLive<{ id: string; type?: string }[]>(["machines", node], `${nodePath(node)}/capabilities/qemu/machines`, {
    missing: [],
  });

/** An id that no guest has. */
export async function nextId(): Promise<string> {
  return String(await call<string | number>("GET", "/cluster/nextid"));
}

/** Changes settings at once. */
export async function setOptions(node: string, vmid: number, settings: Settings): Promise<void> {
  await call<null>("PUT", `${guestPath(node, vmid)}/config`, settings);
  void refreshAll();
}

/** Changes settings in a task, for what makes or removes volumes; its UPID. */
export async function setDevices(node: string, vmid: number, settings: Settings): Promise<string> {
  return changed("POST", `${guestPath(node, vmid)}/config`, settings);
}

/** Makes a disk larger, by `+SIZE`. */
export async function growDisk(node: string, vmid: number, disk: string, size: string): Promise<string> {
  return changed("PUT", `${guestPath(node, vmid)}/resize`, { disk, size });
}

/** Copies a disk to another storage, also while the guest runs; `delete`: the old volume goes. */
export async function moveDisk(node: string, vmid: number, disk: string, wish: Settings): Promise<string> {
  return changed("POST", `${guestPath(node, vmid)}/move_disk`, { disk, ...wish });
}

/** What cloud-init is told: as its drive says now, and what waits for the drive to be made anew. */
export const useCloudInit = (node: string, vmid: number) => useGuest<PendingRow[]>("cloudinit", node, vmid, "cloudinit");

/** Makes the guest's cloud-init drive anew. */
export async function renewCloudInit(node: string, vmid: number): Promise<void> {
  await call<null>("PUT", `${guestPath(node, vmid)}/cloudinit`);
  void refreshAll();
}

export async function createGuest(node: string, settings: Settings): Promise<string> {
  return changed("POST", `${nodePath(node)}/qemu`, settings);
}

export async function destroyGuest(node: string, vmid: number): Promise<string> {
  return changed("DELETE", guestPath(node, vmid));
}

export async function cloneGuest(node: string, vmid: number, wish: Settings): Promise<string> {
  return changed("POST", `${guestPath(node, vmid)}/clone`, wish);
}

export async function makeTemplate(node: string, vmid: number): Promise<string> {
  return changed("POST", `${guestPath(node, vmid)}/template`);
}

export async function takeSnapshot(node: string, vmid: number, wish: Settings): Promise<string> {
  return changed("POST", `${guestPath(node, vmid)}/snapshot`, wish);
}

export async function rollBack(node: string, vmid: number, name: string, start: boolean): Promise<string> {
  return changed("POST", `${snapshotPath(node, vmid, name)}/rollback`, { start: start ? 1 : undefined });
}

export async function deleteSnapshot(node: string, vmid: number, name: string): Promise<string> {
  return changed("DELETE", snapshotPath(node, vmid, name));
}

export async function describeSnapshot(node: string, vmid: number, name: string, text: string): Promise<void> {
  await call<null>("PUT", `${snapshotPath(node, vmid, name)}/config`, { description: text });
  void refreshAll();
}

function snapshotPath(node: string, vmid: number, name: string): string {
  return `${guestPath(node, vmid)}/snapshot/${encodeURIComponent(name)}`;
}

async function changed(verb: "POST" | "PUT" | "DELETE", path: string, parameters: Parameters = {}): Promise<string> {
  const upid = await call<string>(verb, path, parameters);
  void refreshAll();
  return upid;
}
