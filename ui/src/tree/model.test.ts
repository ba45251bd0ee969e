import { describe, expect, test } from "vitest";
import type { ClusterStatusRow, Resource } from "../api/types";
import { DATACENTER_KEY, matchGuests, readCluster, stepOnKey, visibleRows } from "./model";

const status: ClusterStatusRow[] = [
  { type: "cluster", id: "cluster", name: "home", version: 2, nodes: 2, quorate: 1 },
  { type: "node", id: "node/n10", name: "n10", nodeid: 2, online: 0 },
  { type: "node", id: "node/n2", name: "n2", nodeid: 1, online: 1, local: 1 },
];
const vm = (vmid: number, node: string, more: Partial<Resource> = {}): Resource => ({
  id: `qemu/${vmid}`,
  type: "qemu",
  vmid,
  node,
  name: `vm${vmid}`,
  status: "running",
  ...more,
});
const cluster = readCluster(status, [
  vm(1000, "n2"),
  vm(100, "n2", { tags: "web;prod" }),
  vm(101, "n10", { status: "stopped", template: 1 }),
  { id: "storage/n2/local", type: "storage", node: "n2", storage: "local", status: "available" },
  { id: "storage/n99/local", type: "storage", node: "n99", storage: "local" },
]);
const keys = (folded: string[] = []) => visibleRows(cluster, new Set(folded)).map((row) => row.key);

describe("the picture", () => {
  test("nodes in natural order, guests by id, then storages, under the node that has them", () => {
    expect(keys()).toEqual([
      DATACENTER_KEY,
      "node/n2",
      "guest/100",
      "guest/1000",
      "storage/n2/local",
      "node/n10",
      "guest/101",
    ]);
  });
  test("membership says who is online, not the statistics", () => {
    const late = readCluster(status, [{ id: "node/n10", type: "node", node: "n10", status: "online" }]);
    expect(late.nodes.find((node) => node.name === "n10")?.state).toBe("offline");
  });
  test("a state nobody knows is unknown, a template is a template", () => {
    expect(cluster.guests.find((guest) => guest.vmid === 101)?.state).toBe("template");
    expect(readCluster(status, [vm(5, "n2", { status: "odd" })]).guests[0]?.state).toBe("unknown");
  });
  test("a guest on a node that is not listed still shows", () => {
    expect(readCluster([], [vm(100, "gone")]).nodes[0]?.guests).toHaveLength(1);
  });
  test("what is folded hides what is below", () => {
    expect(keys(["node/n2"])).toEqual([DATACENTER_KEY, "node/n2", "node/n10", "guest/101"]);
    expect(keys([DATACENTER_KEY])).toEqual([DATACENTER_KEY]);
  });
});

describe("arrow keys", () => {
  const rows = visibleRows(cluster, new Set(["node/n10"]));
  test.each([
    ["node/n2", "ArrowDown", { focus: "guest/100" }],
    [DATACENTER_KEY, "ArrowUp", null],
    ["node/n10", "ArrowDown", null],
    ["node/n10", "ArrowRight", { unfold: "node/n10" }],
    ["node/n2", "ArrowRight", { focus: "guest/100" }],
    ["node/n2", "ArrowLeft", { fold: "node/n2" }],
    ["guest/1000", "ArrowLeft", { focus: "node/n2" }],
    ["node/n10", "ArrowLeft", { focus: DATACENTER_KEY }],
    ["guest/100", "End", { focus: "node/n10" }],
    ["guest/100", "a", null],
  ])("%s %s", (focus, key, step) => {
    expect(stepOnKey(rows, focus, key)).toEqual(step);
  });
});

describe("search", () => {
  const found = (text: string, limit = 9) => matchGuests(cluster.guests, text, limit).map((g) => g.vmid);
  test("by id, name, node, tag; all words must match", () => {
    expect(found("100")).toEqual([100, 1000]);
    expect(found("PROD")).toEqual([100]);
    expect(found("vm n10")).toEqual([101]);
    expect(found("vm nowhere")).toEqual([]);
  });
  test("nothing typed finds nothing, and the list is cut", () => {
    expect(found("  ")).toEqual([]);
    expect(found("vm", 1)).toEqual([100]);
  });
});
