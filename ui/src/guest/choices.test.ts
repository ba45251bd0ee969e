import { expect, test } from "vitest";
import type { Cluster, Guest, GuestState } from "../tree/model";
import { choicesFor } from "./choices";

const guest = (state: GuestState, lock?: string): Guest => ({
  vmid: 100,
  name: "web",
  node: "pve",
  state,
  lock,
  resource: { id: "qemu/100", type: "qemu" },
});

const nodes = (count: number): Cluster => ({
  name: "home",
  quorate: true,
  nodes: Array.from({ length: count }, (_, index) => ({
    name: `n${index}`,
    state: "online",
    address: undefined,
    local: false,
    guests: [],
    storages: [],
    resource: undefined,
  })),
  guests: [],
});

test.each([
  ["stopped", 2, "start migrate clone template remove"],
  ["running", 2, "shutdown reboot stop reset migrate hibernate clone"],
  ["paused", 2, "resume shutdown reboot stop reset migrate hibernate clone"],
  ["unknown", 2, "shutdown reboot stop reset migrate hibernate clone"],
  ["template", 2, "migrate clone remove"],
  ["running", 1, "shutdown reboot stop reset hibernate clone"],
] as const)("a guest that is %s, of %i nodes: %s", (state, count, expected) => {
  const fitting = choicesFor(guest(state), nodes(count)).filter(({ fits }) => fits);
  expect(fitting.map(({ action }) => action).join(" ")).toBe(expected);
});

test("a guest that lies on disk is resumed or removed, and nothing else", () => {
  const fitting = choicesFor(guest("stopped", "suspended"), nodes(2)).filter(({ fits }) => fits);
  expect(fitting.map(({ action, primary }) => `${action}${primary ? "!" : ""}`).join(" ")).toBe("resume! remove");
});
