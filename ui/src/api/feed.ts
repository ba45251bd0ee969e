/**
 * The page's one stream of events: when to open it, when to let go, when to ask instead. Pure: what happened
 * goes in, what is to be done comes out.
 *
 *     paused ──shown──► opening ──heard──► live
 *        ▲                 ▲  └─ended─► waiting ──► opening
 *        └── hidden ───────┴──────────────┘
 *
 * - A tab that nobody sees lets go after a while: a browser has six connections for a host, for all its tabs.
 *   It goes on later at the id it has seen last; `reset` says that this is not possible.
 * - A stream that says nothing for longer than its server's sign of life is dead, whatever the socket says.
 * - One that opens but says nothing is held back by something between here and the server (`held`): the page
 *   then asks, slowly, and tries the stream again now and then.
 */

/** A stream's first word; the server sends it at once. */
export const HELLO_MS = 6_000;
/** The server says something every 15 s. */
export const SILENT_MS = 40_000;
export const HIDDEN_MS = 20_000;
export const HELD_AGAIN_MS = 30_000;
export const ABSENT_AGAIN_MS = 300_000;
export const LONGEST_PAUSE_MS = 10_000;
const FIRST_PAUSE_MS = 250;
/** So many streams in a row that said nothing are no accident. */
const HELD_AFTER = 2;
const POLL_MS = 2_000;
const HELD_POLL_MS = 5_000;

export interface Feed {
  phase: "paused" | "opening" | "live" | "waiting";
  /** ms: when the phase began, or when a live stream was last heard */
  since: number;
  /** ms: how long to wait */
  pause: number;
  lastId: string;
  /** in a row, since something was heard */
  failures: number;
  /** streams in a row that opened and said nothing */
  mute: number;
  /** ms: since when nobody sees the page */
  hiddenAt: number | undefined;
}

export type Happening =
  | { kind: "shown" }
  | { kind: "hidden" }
  /** bytes came, and the id after them */
  | { kind: "heard"; id: string }
  /** an event about the stream itself */
  | { kind: "told"; name: string }
  /** the stream is over; the HTTP status if it never began, 0 when nobody answered; luck: 0 to 1, spreads many pages */
  | { kind: "ended"; status?: number; luck?: number }
  | { kind: "tick" };

/** `retry`: ask again what could not be answered while there was no stream */
export type Effect = "open" | "close" | "refetch" | "retry" | "renew";

export const NO_FEED: Feed = {
  phase: "paused",
  since: 0,
  pause: 0,
  lastId: "",
  failures: 0,
  mute: 0,
  hiddenAt: undefined,
};

type Step = [Feed, Effect[]];

/** The feed after what happened, and what is to be done now; `now` in ms of any steady clock. */
export function step(feed: Feed, happening: Happening, now: number): Step {
  switch (happening.kind) {
    case "shown":
      return shown({ ...feed, hiddenAt: undefined }, now);
    case "hidden":
      return [{ ...feed, hiddenAt: now }, []];
    case "heard":
      if (feed.phase === "paused") return [feed, []];
      return [
        { ...feed, phase: "live", since: now, failures: 0, mute: 0, lastId: happening.id || feed.lastId },
        feed.failures > 0 ? ["retry"] : [],
      ];
    case "told":
      return [feed, onWord(happening.name)];
    case "ended":
      return ended(feed, happening.status, happening.luck ?? 0.5, now);
    case "tick":
      return tick(feed, now);
  }
}

/** How often the page has to ask, in ms; false when it is told. */
export function pollMs(feed: Feed): number | false {
  if (feed.phase === "live" || feed.phase === "paused" || feed.failures === 0) return false;
  return isHeld(feed) ? HELD_POLL_MS : POLL_MS;
}

/** Whether something between here and the server holds the stream back. */
export function isHeld(feed: Feed): boolean {
  return feed.mute >= HELD_AFTER;
}

function shown(feed: Feed, now: number): Step {
  if (feed.phase === "live" && now - feed.since > HIDDEN_MS) return reopen(feed, now);
  if (feed.phase === "paused" || feed.phase === "waiting") return opening(feed, now, []);
  return [feed, []];
}

function onWord(name: string): Effect[] {
  if (name === "hello" || name === "reset") return ["refetch"];
  return name === "expired" ? ["renew"] : [];
}

function ended(feed: Feed, status: number | undefined, luck: number, now: number): Step {
  if (feed.phase === "paused" || feed.phase === "waiting") return [feed, []];
  const failures = feed.failures + 1;
  const growing = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
  const pause = status !== undefined && ABSENT.has(status) ? ABSENT_AGAIN_MS : growing * (0.5 + luck);
  return [{ ...feed, phase: "waiting", since: now, pause, failures }, status === 401 ? ["renew"] : []];
}

function tick(feed: Feed, now: number): Step {
  if (feed.hiddenAt !== undefined && now - feed.hiddenAt > HIDDEN_MS && feed.phase !== "paused") {
    return [{ ...feed, phase: "paused", since: now }, ["close"]];
  }
  const passed = now - feed.since;
  if (feed.phase === "opening" && passed > HELLO_MS) {
    const mute = { ...feed, mute: feed.mute + 1, failures: feed.failures + 1 };
    if (!isHeld(mute)) return reopen(mute, now);
    return [{ ...mute, phase: "waiting", since: now, pause: HELD_AGAIN_MS }, ["close"]];
  }
  if (feed.phase === "live" && passed > SILENT_MS) return reopen({ ...feed, failures: 1 }, now);
  if (feed.phase === "waiting" && passed >= feed.pause) return opening(feed, now, []);
  return [feed, []];
}

function reopen(feed: Feed, now: number): Step {
  return opening(feed, now, ["close"]);
}

function opening(feed: Feed, now: number, before: Effect[]): Step {
  return [{ ...feed, phase: "opening", since: now }, [...before, "open"]];
}

/** Answers that mean "this server has no stream for you". */
const ABSENT = new Set([403, 404, 501]);
