import { describe, expect, test } from "vitest";
import { applyMembership, applyResources, applyTasks, madeStale, readChange, type Change } from "./changes";
import type { ClusterStatusRow, Resource, TaskRow } from "./types";

const vm = (vmid: number, more: Partial<Resource> = {}): Resource => ({
  id: `qemu/${vmid}`,
  type: "qemu",
  vmid,
  node: "n1",
  status: "stopped",
  ...more,
});
const resource = (data: Resource): Change => ({ name: "resource", data });
const gone = (id: string): Change => ({ name: "resource", data: { id, gone: 1 } });
const rows = [vm(100), vm(101)];

describe("rows of resources", () => {
  test("are replaced, added and taken away; the last word on a row counts", () => {
    const changes = [resource(vm(100, { status: "paused" })), resource(vm(100, { status: "running" })), gone("qemu/101"), resource(vm(102))];
    expect(applyResources(rows, changes)).toEqual([vm(100, { status: "running" }), vm(102)]);
  });
  test("stay the same array when nothing is said of them, so nothing is drawn again", () => {
    expect(applyResources(rows, [{ name: "store", data: { path: "storage.cfg" } }])).toBe(rows);
  });
  test("a row that came and went leaves nothing, and applying twice is applying once", () => {
    expect(applyResources(rows, [resource(vm(103)), gone("qemu/103")])).toEqual(rows);
    const changes = [resource(vm(104)), gone("qemu/100")];
    expect(applyResources(applyResources(rows, changes), changes)).toEqual(applyResources(rows, changes));
  });
});

test("a task that is told again is one row, a new one comes first", () => {
  const task = (upid: string, status?: string): TaskRow => ({ upid, node: "n1", type: "qmstart", user: "root@pam", starttime: 1, status });
  const now = applyTasks([task("a")], [{ name: "task", data: task("b") }, { name: "task", data: task("a", "OK") }]);
  expect(now.map((row) => [row.upid, row.status])).toEqual([["b", undefined], ["a", "OK"]]);
});

test("the membership says who is online and whether there is quorum; who is not named stays", () => {
  const status: ClusterStatusRow[] = [
    { type: "cluster", id: "cluster", name: "home", version: 2, nodes: 2, quorate: 1 },
    { type: "node", id: "node/a", name: "a", nodeid: 1, online: 1 },
    { type: "node", id: "node/b", name: "b", nodeid: 2, online: 1 },
  ];
  const now = applyMembership(status, [{ name: "cluster", data: { quorate: false, online: ["a"], offline: ["b"] } }]);
  expect(now).toMatchObject([{ quorate: 0 }, { online: 1 }, { online: 0 }]);
});

const CLUSTER = [["status"], ["quorum"], ["votes"], ["migrate"], ["join"], ["device"], ["forecast"]];

describe("what has to be asked again", () => {
  test.each<[string, Change, unknown]>([
    ["load alone: nothing", resource(vm(100, { cpu: 0.5, mem: 9 })), []],
    ["a new state", resource(vm(100, { status: "running" })), [["guest", 100], ["migrate", 100]]],
    ["a new node", resource(vm(100, { node: "n2" })), [["guest", 100], ["migrate", 100]]],
    ["a guest's file", { name: "store", data: { path: "nodes/n2/qemu-server/100.conf" } }, [["config", 100], ["pending", 100], ["snapshots", 100], ["guest", 100], ["migrate", 100]]],
    ["the cluster's file", { name: "store", data: { path: "corosync.conf" } }, CLUSTER],
    ["a page's certificate", { name: "store", data: { path: "nodes/n2/former-ssl.pem" } }, [["certificate", "n2"], ["join"]]],
    ["any other file: nothing", { name: "store", data: { path: "vzdump.cron" } }, []],
    ["the membership", { name: "cluster", data: { quorate: true, online: [], offline: [] } }, CLUSTER],
  ])("%s", (_, change, stale) => {
    expect(madeStale(rows, [change])).toEqual(stale);
  });
  test("is a guest's status also where a list has brought the change before the event", () => {
    const stopped = resource(vm(100));
    expect(madeStale(rows, [stopped], () => "stopped")).toEqual([]);
    expect(madeStale(rows, [stopped], () => "running")).toEqual([["guest", 100], ["migrate", 100]]);
  });
  test("is said once, however often it was made old", () => {
    const change: Change = { name: "store", data: { path: "corosync.conf" } };
    expect(madeStale(rows, [change, change])).toHaveLength(7);
  });
});

test("an event that is none of ours or broken is no change", () => {
  expect(readChange("resource", '{"id":"node/a","gone":1}')).toEqual(gone("node/a"));
  expect(readChange("hello", "{}")).toBeUndefined();
  expect(readChange("task", "{")).toBeUndefined();
  expect(readChange("task", "null")).toBeUndefined();
});
