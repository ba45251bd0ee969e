import { expect, test } from "vitest";
import type { LinksAnswer } from "../api/types";
import { clockAhead, linkState } from "./linkStates";

const row = { address: "", to_address: "", downs: 0, loss_percent: 0 };
const answer: LinksAnswer = {
  links: [
    { ...row, node: "a", to: "b", link: 0, connected: true, latency_us: 300 },
    { ...row, node: "b", to: "a", link: 0, connected: true, latency_us: 450, loss_percent: 12.5 },
    { ...row, node: "a", to: "b", link: 1, connected: false, latency_us: 0 },
    { ...row, node: "b", to: "a", link: 1, connected: 0, latency_us: 0 },
    { ...row, node: "b", to: "c", link: 1, connected: 1, latency_us: 2000, loss_percent: null },
  ],
  clocks: [
    { node: "a", to: "b", ahead_ms: 40, unsure_ms: 9, asked: 1 },
    { node: "b", to: "a", ahead_ms: -42, unsure_ms: 1, asked: 1 },
  ],
  warnings: [],
  silent: [],
};

test("a link is as bad as the worst of its two ends sees it", () => {
  expect(linkState(answer, "a", 0)).toEqual({ down: [], latencyMs: 0.45, lossPercent: 12.5 });
});

test("whom a link does not reach is named once, and what it reaches still counts", () => {
  expect(linkState(answer, "a", 1)).toEqual({ down: ["b"], latencyMs: undefined, lossPercent: undefined });
  expect(linkState(answer, "b", 1)).toEqual({ down: ["a"], latencyMs: 2, lossPercent: undefined });
});

test("what nobody tells is not known", () => {
  expect(linkState(answer, "a", 2)).toBeUndefined();
  expect(linkState(null, "a", 0)).toBeUndefined();
  expect(clockAhead(null, "a", "b")).toBeUndefined();
});

test("of two measurements of a clock the one with the least doubt counts, from either side", () => {
  expect(clockAhead(answer, "a", "b")).toBe(42);
  expect(clockAhead(answer, "b", "a")).toBe(-42);
});
