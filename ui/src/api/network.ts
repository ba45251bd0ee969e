/** A node's network: what is configured and what waits, and everything that changes it. */

import { call, readWhole, type Body, type Parameters } from "./client";
import { useQuery } from "@tanstack/react-query";
import { refreshAll, type Live } from "./live";
import { nodePath, taskPath } from "./paths";
import type { Flag } from "./types";

/** A row of GET /nodes/N/network. */
export interface InterfaceRow {
  iface: string;
  type: string;
  active?: Flag | boolean;
  exists?: Flag | boolean;
  autostart?: Flag | boolean;
  cidr?: string;
  gateway?: string;
  cidr6?: string;
  gateway6?: string;
  method?: string;
  method6?: string;
  bridge_ports?: string;
  bridge_vlan_aware?: Flag | boolean;
  bridge_vids?: string;
  slaves?: string;
  bond_mode?: string;
  "bond-primary"?: string;
  bond_xmit_hash_policy?: string;
  "vlan-id"?: number | string;
  "vlan-raw-device"?: string;
  mtu?: number | string;
  comments?: string;
}

export interface NetworkAnswer extends Body {
  data: InterfaceRow[];
  /** What waits to be applied, as a diff; none: nothing does. */
  changes?: string;
}

const pathOf = (node: string) => `${nodePath(node)}/network`;

/** No event tells of a node's network: it is asked for anew after each change of ours, and now and then. */
export const useInterfaces = (node: string): Live<NetworkAnswer> =>
  useQuery({
    queryKey: ["interfaces", node],
    queryFn: () => readWhole<NetworkAnswer>(pathOf(node)),
    refetchInterval: 15_000,
  });

export async function makeInterface(node: string, settings: Parameters): Promise<void> {
  await change("POST", pathOf(node), settings);
}

export async function changeInterface(node: string, iface: string, settings: Parameters): Promise<void> {
  await change("PUT", `${pathOf(node)}/${encodeURIComponent(iface)}`, settings);
}

export async function removeInterface(node: string, iface: string): Promise<void> {
  await change("DELETE", `${pathOf(node)}/${encodeURIComponent(iface)}`);
}

/** Takes back what waits. */
export async function revertNetwork(node: string): Promise<void> {
  await change("DELETE", pathOf(node));
}

/** Applies what waits; the task's UPID. Without `confirmNetwork` the old configuration returns. */
export async function applyNetwork(node: string): Promise<string> {
  return call<string>("PUT", pathOf(node));
}

const CONFIRM_EACH_MS = 2_000;
/** Longer than a node waits before it takes the old configuration back, and loads that. */
const GIVE_UP_MS = 200_000;

/**
 * Tells the node that it is reachable, again and again until the task has ended; how it ended.
 *
 * That the node does not answer for a while is what this is about, and no failure.
 */
export async function confirmNetwork(node: string, upid: string): Promise<string> {
  const until = Date.now() + GIVE_UP_MS;
  while (Date.now() < until) {
    try {
      const task = await call<{ status: string; exitstatus?: string }>("GET", `${taskPath(node, upid)}/status`);
      if (task.status === "stopped") {
        void refreshAll();
        return task.exitstatus ?? "";
      }
      await call<null>("POST", `/kvorum${pathOf(node)}/confirm`);
    } catch {
      // not reachable just now, or already kept
    }
    await new Promise((resolve) => setTimeout(resolve, CONFIRM_EACH_MS));
  }
  throw new Error("");
}

async function change(verb: "POST" | "PUT" | "DELETE", path: string, settings: Parameters = {}): Promise<void> {
  await call<null>(verb, path, settings);
  void refreshAll();
}
