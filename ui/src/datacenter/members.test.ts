import { expect, test } from "vitest";
import type { ClusterStatusRow } from "../api/types";
import { readMembers } from "./members";

const status: ClusterStatusRow[] = [
  { type: "cluster", id: "cluster", name: "home", version: 2, nodes: 2, quorate: 1 },
  { type: "node", id: "node/b", name: "b", nodeid: 2, ip: "10.0.0.2", online: 0 },
  { type: "node", id: "node/a", name: "a", nodeid: 1, ip: "10.0.0.1", online: 1 },
];

test("members by id, with votes and the addresses of all links as configured", () => {
  const configured = [
    { node: "b", nodeid: "2", quorum_votes: "3", ring1_addr: "10.1.0.2", ring0_addr: "10.0.0.2" },
    { node: "a", nodeid: "1", quorum_votes: "1", ring0_addr: "10.0.0.1" },
  ];
  expect(readMembers(status, configured)).toEqual([
    { name: "a", id: 1, votes: 1, addresses: ["10.0.0.1"], state: "online" },
    { name: "b", id: 2, votes: 3, addresses: ["10.0.0.2", "10.1.0.2"], state: "offline" },
  ]);
});

test("who is configured but not in the membership yet is offline; without a configuration the membership counts", () => {
  expect(readMembers([], [{ node: "c", nodeid: 3 }])).toEqual([
    { name: "c", id: 3, votes: 1, addresses: [], state: "offline" },
  ]);
  expect(readMembers(status, []).map((member) => member.addresses)).toEqual([["10.0.0.1"], ["10.0.0.2"]]);
});
