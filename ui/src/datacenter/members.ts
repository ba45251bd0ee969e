/** The cluster's members: what the configuration says of each, and whether it is here. */

import type { ClusterStatusRow, ConfiguredNode } from "../api/types";

export interface Member {
  name: string;
  id: number | undefined;
  votes: number;
  /** one for each link, the first link first */
  addresses: string[];
  state: "online" | "offline";
}

const RING = /^ring(\d)_addr$/;

/** Every node of the membership or the configuration, by id. */
export function readMembers(status: ClusterStatusRow[], configured: ConfiguredNode[]): Member[] {
  const members = new Map<string, Member>();
  for (const row of status) {
    if (row.type !== "node") continue;
    const { name, nodeid: id, ip } = row;
    const state = row.online ? "online" : "offline";
    members.set(name, { name, id, votes: 1, addresses: ip === undefined ? [] : [ip], state });
  }
  for (const node of configured) {
    const name = node.name ?? node.node;
    const known = members.get(name);
    const links = ringsOf(node);
    members.set(name, {
      name,
      id: node.nodeid === undefined ? known?.id : Number(node.nodeid),
      votes: Number(node.quorum_votes ?? 1),
      addresses: links.length > 0 ? links : (known?.addresses ?? []),
      state: known?.state ?? "offline",
    });
  }
  return [...members.values()].sort((a, b) => (a.id ?? 0) - (b.id ?? 0) || a.name.localeCompare(b.name));
}

function ringsOf(node: ConfiguredNode): string[] {
  return Object.entries(node)
    .filter(([key, value]) => RING.test(key) && typeof value === "string")
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([, value]) => String(value));
}
