/** What is known of each member's links and clock, from what all nodes tell. Pure. */

import type { LinksAnswer } from "../api/types";

/** From here on, loss is worth a word; the server warns of it, too. */
const LOSS_PERCENT = 5;

export interface LinkState {
  /** the nodes that a link does not connect this one to */
  down: string[];
  /** the worst of all connections, there and back, in milliseconds */
  latencyMs: number | undefined;
  /** the worst of all connections, where it is worth a word, in percent */
  lossPercent: number | undefined;
}

/** One node's link, by its own word and the others'; undefined while nobody tells. */
export function linkState(answer: LinksAnswer | null, node: string, link: number): LinkState | undefined {
  const rows = (answer?.links ?? []).filter(
    (row) => row.link === link && (row.node === node || row.to === node),
  );
  if (rows.length === 0) return undefined;
  const down = rows.filter((row) => !row.connected).map((row) => (row.node === node ? row.to : row.node));
  const up = rows.filter((row) => row.connected);
  const loss = Math.max(0, ...up.map((row) => row.loss_percent ?? 0));
  return {
    down: [...new Set(down)].sort(),
    latencyMs: up.length > 0 ? Math.max(...up.map((row) => row.latency_us)) / 1000 : undefined,
    lossPercent: loss >= LOSS_PERCENT ? loss : undefined,
  };
}

/** How far a node's clock is ahead of the local one's, in milliseconds: the measurement with the least doubt. */
export function clockAhead(answer: LinksAnswer | null, local: string, node: string): number | undefined {
  const rows = (answer?.clocks ?? [])
    .filter((row) => (row.node === local && row.to === node) || (row.node === node && row.to === local))
    .sort((a, b) => a.unsure_ms - b.unsure_ms);
  const best = rows[0];
  if (best === undefined) return undefined;
  return best.node === local ? best.ahead_ms : -best.ahead_ms;
}
