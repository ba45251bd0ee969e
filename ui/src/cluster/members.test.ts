import { expect, test } from "vitest";
import type { ClusterStatusRow, ConfiguredNode } from "../api/types";
import { linkNumbers, readMembers } from "./members";

const status: ClusterStatusRow[] = [
  { type: "cluster", id: "cluster", name: "home", version: 2, nodes: 2, quorate: 1 },
  { type: "node", id: "node/b", name: "b", nodeid: 2, ip: "10.0.0.2", online: 0 },
  { type: "node", id: "node/a", name: "a", nodeid: 1, ip: "10.0.0.1", online: 1, local: 1 },
];

test("members by id, with votes and the addresses of all links as configured", () => {
  const configured: ConfiguredNode[] = [
    { node: "b", nodeid: "2", quorum_votes: "3", ring1_addr: "10.1.0.2", ring0_addr: "10.0.0.2" },
    { node: "a", nodeid: "1", quorum_votes: "1", ring0_addr: "10.0.0.1" },
  ];
  const members = readMembers(status, configured);
  expect(members.map(({ name, id, votes, state, local }) => [name, id, votes, state, local])).toEqual([
    ["a", 1, 1, "online", true],
    ["b", 2, 3, "offline", false],
  ]);
  expect(members.map(({ addresses }) => [...addresses])).toEqual([
    [[0, "10.0.0.1"]],
    [
      [0, "10.0.0.2"],
      [1, "10.1.0.2"],
    ],
  ]);
  expect(linkNumbers(members)).toEqual([0, 1]);
});

test("who is configured but not in the membership yet is offline; without a configuration the membership counts", () => {
  const [listed] = readMembers([], [{ node: "c", nodeid: 3 }]);
  expect(listed).toMatchObject({ name: "c", id: 3, votes: 1, state: "offline", local: false });
  expect(readMembers(status, []).map(({ addresses }) => addresses.get(0))).toEqual(["10.0.0.1", "10.0.0.2"]);
});
