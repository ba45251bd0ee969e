import { describe, expect, test } from "vitest";
import {
  ABSENT_AGAIN_MS,
  HELD_AGAIN_MS,
  HELLO_MS,
  HIDDEN_MS,
  isHeld,
  LONGEST_PAUSE_MS,
  NO_FEED,
  pollMs,
  SILENT_MS,
  step,
  type Effect,
  type Feed,
  type Happening,
} from "./feed";

/** Plays what happens, each a number of ms after the one before; the feed and all effects in order. */
function play(...happenings: [after: number, Happening][]): { feed: Feed; did: Effect[]; now: number } {
  let feed = NO_FEED;
  let now = 1000;
  const did: Effect[] = [];
  for (const [after, happening] of happenings) {
    now += after;
    const [next, effects] = step(feed, happening, now);
    feed = next;
    did.push(...effects);
  }
  return { feed, did, now };
}

const shown: Happening = { kind: "shown" };
const hidden: Happening = { kind: "hidden" };
const tick: Happening = { kind: "tick" };
const heard = (id: string): Happening => ({ kind: "heard", id });
const told = (name: string): Happening => ({ kind: "told", name });
const ended = (status?: number): Happening => ({ kind: "ended", status, luck: 0.5 });

test("a page that is seen opens one stream, asks once when it is greeted, and then asks no more", () => {
  const { feed, did } = play([0, shown], [50, heard("a-1")], [0, told("hello")], [14_000, heard("a-9")], [1000, tick]);
  expect(did).toEqual(["open", "refetch"]);
  expect(feed).toMatchObject({ phase: "live", lastId: "a-9" });
  expect(pollMs(feed)).toBe(false);
});

describe("a stream that ends", () => {
  test("is opened again soon, where it ended, and the page asks meanwhile", () => {
    const { feed } = play([0, shown], [0, heard("a-1")], [9, ended()]);
    expect(pollMs(feed)).toBe(2000);
    const again = play([0, shown], [0, heard("a-1")], [9, ended()], [300, tick]);
    expect(again.did).toEqual(["open", "open"]);
    expect(again.feed.lastId).toBe("a-1");
  });
  test("has the page ask once more for what was not answered meanwhile", () => {
    const { did } = play([0, shown], [0, heard("a-1")], [9, ended()], [300, tick], [5, heard("a-2")], [5, heard("a-3")]);
    expect(did).toEqual(["open", "open", "retry"]);
  });
  test("waits longer each time it fails, but never longer than its bound", () => {
    const failing = Array.from({ length: 20 }, (): [number, Happening][] => [
      [LONGEST_PAUSE_MS * 2, tick],
      [1, ended(0)],
    ]).flat();
    const { feed } = play([0, shown], ...failing);
    expect(feed.pause).toBe(LONGEST_PAUSE_MS);
    expect(play([0, shown], [1, ended(0)], [999, tick], [1, ended(0)]).feed.pause).toBe(500);
  });
  test("is refused where the server has none, and tried again much later", () => {
    const { feed } = play([0, shown], [1, ended(501)]);
    expect(feed.pause).toBe(ABSENT_AGAIN_MS);
    expect(isHeld(feed)).toBe(false);
  });
  test.each([401])("by %d has the ticket renewed", (status) => {
    expect(play([0, shown], [1, ended(status)]).did).toEqual(["open", "renew"]);
  });
});

test("reset makes the page ask for everything, expired makes it renew, cut only ends", () => {
  expect(play([0, shown], [1, heard("")], [0, told("reset")]).did).toEqual(["open", "refetch"]);
  expect(play([0, shown], [1, heard("")], [0, told("expired")]).did).toEqual(["open", "renew"]);
  expect(play([0, shown], [1, heard("")], [0, told("cut")], [0, ended()]).did).toEqual(["open"]);
});

test("a live stream that is silent for too long is dead: it is closed and opened again", () => {
  const { feed, did } = play([0, shown], [1, heard("a-5")], [SILENT_MS + 1, tick]);
  expect(did).toEqual(["open", "close", "open"]);
  expect(feed).toMatchObject({ phase: "opening", lastId: "a-5" });
});

describe("a tab that nobody sees", () => {
  test("lets its connection go after a while and goes on where it was", () => {
    const { feed, did } = play([0, shown], [1, heard("a-5")], [1, hidden], [HIDDEN_MS + 1, tick], [9, shown]);
    expect(did).toEqual(["open", "close", "open"]);
    expect(feed.lastId).toBe("a-5");
  });
  test("keeps it over a short look elsewhere", () => {
    expect(play([0, shown], [1, heard("a-5")], [1, hidden], [500, tick], [1, shown]).did).toEqual(["open"]);
  });
  test("neither asks nor opens while it is paused, and late words of the old stream change nothing", () => {
    const { feed, did } = play([0, shown], [1, hidden], [HIDDEN_MS + 1, tick], [5, heard("a-9")], [5, ended()], [99_999, tick]);
    expect(did).toEqual(["open", "close"]);
    expect(feed.phase).toBe("paused");
    expect(pollMs(feed)).toBe(false);
  });
  test("after a sleep does not trust the connection it had", () => {
    expect(play([0, shown], [1, heard("a-5")], [3_600_000, shown]).did).toEqual(["open", "close", "open"]);
  });
});

describe("a stream that something holds back", () => {
  const once: [number, Happening][] = [[0, shown], [HELLO_MS + 1, tick]];
  test("is tried twice, then said to be held; the page asks slowly", () => {
    expect(isHeld(play(...once).feed)).toBe(false);
    const { feed, did } = play(...once, [HELLO_MS + 1, tick]);
    expect(did).toEqual(["open", "close", "open", "close"]);
    expect(isHeld(feed)).toBe(true);
    expect(pollMs(feed)).toBe(5000);
  });
  test("is tried again later, and one word ends it", () => {
    const { feed } = play(...once, [HELLO_MS + 1, tick], [HELD_AGAIN_MS, tick], [1, heard("a-1")]);
    expect(isHeld(feed)).toBe(false);
    expect(pollMs(feed)).toBe(false);
  });
});
