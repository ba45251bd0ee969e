import { expect, test } from "vitest";
import { en } from "../i18n/en";
import { readCluster } from "../tree/model";
import { localDisks, targetsFor } from "./migration";

const GIB = 1024 ** 3;
const node = (name: string, online: 0 | 1) =>
  ({ type: "node", id: `node/${name}`, name, nodeid: 1, online }) as const;
const load = (name: string, mem: number) =>
  ({ id: `node/${name}`, type: "node", node: name, mem: mem * GIB, maxmem: 32 * GIB }) as const;
const cluster = readCluster(
  [node("a", 1), node("b", 1), node("c", 0), node("d", 1)],
  [load("b", 30), load("d", 2), { id: "qemu/100", type: "qemu", vmid: 100, node: "a", status: "running" }],
);
const guest = cluster.guests[0];
if (!guest) throw new Error("the test's cluster has a guest");

test("every other node is a target, the one with most free memory first, offline ones last", () => {
  const targets = targetsFor(guest, cluster.nodes, null, en);
  expect(targets.map(({ name, obstacle }) => [name, obstacle])).toEqual([
    ["d", undefined],
    ["b", undefined],
    ["c", "offline"],
  ]);
});

test("what the server refuses is refused, with its reason", () => {
  const check = { allowed_nodes: ["b"], not_allowed_nodes: { d: { unavailable_storages: ["tank", "ssd"] } } };
  const targets = targetsFor(guest, cluster.nodes, check, en);
  expect(targets.map(({ name, obstacle }) => [name, obstacle])).toEqual([
    ["b", undefined],
    ["d", "lacks storage tank, ssd"],
    ["c", "offline"],
  ]);
});

test("a CD drive is no disk that moves", () => {
  expect(localDisks({ local_disks: [{ volid: "local:1" }, { volid: "none", cdrom: 1 }] })).toEqual(["local:1"]);
});
