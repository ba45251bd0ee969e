/** The cluster's members: what the configuration says of each, and whether it is here. */

import type { ClusterStatusRow, ConfiguredNode } from "../api/types";
import { linksOf } from "./invitation";

export interface Member {
  name: string;
  id: number | undefined;
  votes: number;
  /** by link, the first link first */
  addresses: ReadonlyMap<number, string>;
  state: "online" | "offline";
  /** it serves this page */
  local: boolean;
}

/** Every node of the membership or the configuration, by id. */
export function readMembers(status: ClusterStatusRow[], configured: ConfiguredNode[]): Member[] {
  const members = new Map<string, Member>();
  for (const row of status) {
    if (row.type !== "node") continue;
    const { name, nodeid: id, ip } = row;
    const state = row.online ? "online" : "offline";
    const addresses = new Map(ip === undefined ? [] : [[0, ip] as const]);
    members.set(name, { name, id, votes: 1, addresses, state, local: Boolean(row.local) });
  }
  for (const node of configured) {
    const name = node.name ?? node.node;
    const known = members.get(name);
    const links = linksOf({ ...node });
    members.set(name, {
      name,
      id: node.nodeid === undefined ? known?.id : Number(node.nodeid),
      votes: Number(node.quorum_votes ?? 1),
      addresses: links.size > 0 ? links : (known?.addresses ?? links),
      state: known?.state ?? "offline",
      local: known?.local ?? false,
    });
  }
  return [...members.values()].sort((a, b) => (a.id ?? 0) - (b.id ?? 0) || a.name.localeCompare(b.name));
}

/** The numbers of the links that any node has, in order. */
export function linkNumbers(members: readonly Member[]): number[] {
  return [...new Set(members.flatMap(({ addresses }) => [...addresses.keys()]))].sort((a, b) => a - b);
}
