/** Holds the page's one stream open: carries out what `feed.ts` decides, and hands on what comes. */

import { useSyncExternalStore } from "react";
import { NO_FEED, step, type Effect, type Feed, type Happening } from "./feed";
import { renewSession } from "./session";
import { BEGINNING, readPiece, type ServerEvent } from "./sse";

export const EVENTS = "/api2/events";
const TICK_MS = 1000;
/** Events that come within this time are handed on together. */
const GATHER_MS = 100;

let feed: Feed = NO_FEED;
let open: AbortController | undefined;
const listeners = new Set<() => void>();

export interface Hearer {
  /** What has happened, in order. */
  events: (events: ServerEvent[]) => void;
  /** Something may have been missed. */
  refetch: () => void;
  /** There is a stream again: what could not be answered meanwhile may be now. */
  retry: () => void;
}

/** What is asked of the feed as it is now, for components; they are drawn again when the answer changes. */
export function useFeed<T extends string | number | boolean>(ask: (feed: Feed) => T): T {
  return useSyncExternalStore(subscribe, () => ask(feed));
}

/** The feed at this moment. */
export function currentFeed(): Feed {
  return feed;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Listens until the returned function is called. One at a time. */
export function listen(hearer: Hearer): () => void {
  let gathered: ServerEvent[] = [];
  let flushing: ReturnType<typeof setTimeout> | undefined;
  let refusal: string | undefined;
  const flush = () => {
    flushing = undefined;
    const events = gathered;
    gathered = [];
    hearer.events(events);
  };
  const happen = (happening: Happening) => {
    const [next, effects] = step(feed, happening, performance.now());
    become(next);
    effects.forEach(carryOut);
  };
  const carryOut = (effect: Effect) => {
    if (effect === "close") open?.abort();
    else if (effect === "refetch") hearer.refetch();
    else if (effect === "retry") hearer.retry();
    else if (effect === "renew") void renewSession(refusal);
    else read();
  };
  const read = () => {
    const own = new AbortController();
    open = own;
    const say = (happening: Happening) => open === own && !own.signal.aborted && happen(happening);
    void readStream(EVENTS, feed.lastId, own.signal, (events, id) => {
      say({ kind: "heard", id });
      refusal = messageIn(events.find((event) => event.name === "expired"));
      for (const event of events) say({ kind: "told", name: event.name });
      gathered.push(...events);
      if (events.length > 0) flushing ??= setTimeout(flush, GATHER_MS);
    }).then((status) => say({ kind: "ended", status, luck: Math.random() }));
  };
  const onVisibility = () => happen({ kind: document.hidden ? "hidden" : "shown" });
  const onOnline = () => happen({ kind: "shown" });
  const ticking = setInterval(() => happen({ kind: "tick" }), TICK_MS);
  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("online", onOnline);
  if (!document.hidden) happen({ kind: "shown" });
  return () => {
    clearInterval(ticking);
    clearTimeout(flushing);
    document.removeEventListener("visibilitychange", onVisibility);
    window.removeEventListener("online", onOnline);
    open?.abort();
    become(NO_FEED);
  };
}

type OnPiece = (events: ServerEvent[], id: string) => void;

/**
 * Reads a stream of events to its end; `onPiece` hears every sign of life. Returns the HTTP status when it never
 * began (0: nobody answered), undefined when it did and is over now. Never throws.
 */
export async function readStream(
  path: string,
  lastId: string,
  signal: AbortSignal,
  onPiece: OnPiece,
): Promise<number | undefined> {
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (lastId !== "") headers["Last-Event-ID"] = lastId;
  let began = false;
  try {
    const answer = await fetch(path, { headers, credentials: "same-origin", cache: "no-store", signal });
    if (!answer.ok || !answer.body) return answer.status;
    began = true;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let reading = { ...BEGINNING, id: lastId };
    for (;;) {
      const { value, done } = await reader.read();
      if (done || signal.aborted) return undefined;
      const next = readPiece(reading, value);
      reading = next.reading;
      onPiece(next.events, reading.id);
    }
  } catch {
    return began ? undefined : 0;
  }
}

function messageIn(event: ServerEvent | undefined): string | undefined {
  const said = /"message": ?"([^"\\]+)"/.exec(event?.data ?? "");
  return said?.[1];
}

function become(next: Feed): void {
  if (next === feed) return;
  feed = next;
  for (const listener of listeners) listener();
}
