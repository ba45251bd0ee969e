/** A guest's snapshots as a tree in rows, what is now at the place it came from. Pure. */

import type { SnapshotRow } from "../api/guest";

export const NOW = "current";

export interface Branch {
  row: SnapshotRow;
  depth: number;
}

/** Parents before their children, older before younger; whose parent is gone stands at the top. */
export function treeOf(rows: readonly SnapshotRow[]): Branch[] {
  const names = new Set(rows.map(({ name }) => name));
  const below = (parent: string | undefined) =>
    rows
      .filter((row) => (row.parent !== undefined && names.has(row.parent) ? row.parent : undefined) === parent)
      .sort((a, b) => age(a) - age(b));
  const seen = new Set<string>();
  const walk = (parent: string | undefined, depth: number): Branch[] =>
    below(parent).flatMap((row) => {
      if (seen.has(row.name)) return [];
      seen.add(row.name);
      return [{ row, depth }, ...walk(row.name, depth + 1)];
    });
  return walk(undefined, 0);
}

/** Whether a name is one that the server takes: a letter, then letters, digits, `-` and `_`; 40 at most. */
export function isName(name: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_-]{1,39}$/.test(name) && name !== NOW;
}

/** What is now comes last among its siblings. */
function age(row: SnapshotRow): number {
  return row.name === NOW ? Infinity : (row.snaptime ?? 0);
}
