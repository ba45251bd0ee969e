/** Where a guest may go, and what stands in the way. */

import type { MigrationCheck } from "../api/types";
import type { Dictionary } from "../i18n/en";
import type { Guest, Node } from "../tree/model";

export interface Target {
  name: string;
  /** why not; undefined when the guest may go there */
  obstacle: string | undefined;
  freeMemory: number | undefined;
}

/** Every other node, the possible ones first, those with most free memory before others. */
export function targetsFor(
  guest: Guest,
  nodes: Node[],
  check: MigrationCheck | null | undefined,
  t: Dictionary,
): Target[] {
  return nodes
    .filter((node) => node.name !== guest.node)
    .map((node) => ({
      name: node.name,
      obstacle: obstacleAt(node, check, t),
      freeMemory: freeMemory(node),
    }))
    .sort(
      (a, b) =>
        Number(a.obstacle !== undefined) - Number(b.obstacle !== undefined) ||
        (b.freeMemory ?? 0) - (a.freeMemory ?? 0) ||
        a.name.localeCompare(b.name),
    );
}

function obstacleAt(
  node: Node,
  check: MigrationCheck | null | undefined,
  t: Dictionary,
): string | undefined {
  if (node.state !== "online") return t.migrate.isOffline;
  const refused = check?.not_allowed_nodes?.[node.name];
  if (refused) {
    const storages = refused.unavailable_storages ?? [];
    return storages.length > 0 ? t.migrate.lacksStorage(storages.join(", ")) : t.migrate.notAllowed;
  }
  const allowed = check?.allowed_nodes;
  return allowed && !allowed.includes(node.name) ? t.migrate.notAllowed : undefined;
}

function freeMemory(node: Node): number | undefined {
  const { mem, maxmem } = node.resource ?? {};
  return mem === undefined || maxmem === undefined ? undefined : Math.max(0, maxmem - mem);
}

/** The local disks that would move along. */
export function localDisks(check: MigrationCheck | null | undefined): string[] {
  return (check?.local_disks ?? []).filter((disk) => !disk.cdrom).map((disk) => disk.volid);
}
