import { expect, test } from "vitest";
import { isWithin, linkParameters, linksTo, ownAddresses, withOneMore } from "./links";

const OWN = ownAddresses([
  { iface: "eno1", active: 1, address: "10.0.0.2", cidr: "10.0.0.2/24", address6: "fd00::2", cidr6: "fd00::2/64" },
  { iface: "eno2", active: 1, address: "10.1.0.2", cidr: "10.1.0.2/24" },
  { iface: "eno3", active: 0, address: "10.2.0.2", cidr: "10.2.0.2/24" },
  { iface: "vmbr1", active: 1 },
]);

test("an interface that is down, or has no address, is none to choose", () => {
  expect(OWN.map(({ address, iface }) => `${iface} ${address}`)).toEqual([
    "eno1 10.0.0.2",
    "eno1 fd00::2",
    "eno2 10.1.0.2",
  ]);
});

test("each of the cluster's links gets the address in the peer's network, one for one", () => {
  const peers = new Map([
    [0, "10.1.0.1"],
    [1, "10.0.0.1"],
    [3, "192.0.2.1"],
  ]);
  expect(linksTo(peers, OWN).map(({ number, address }) => [number, address])).toEqual([
    [0, "10.1.0.2"],
    [1, "10.0.0.2"],
    [3, ""],
  ]);
  expect(linksTo(new Map([[0, "10.0.0.1"], [1, "10.0.0.9"]]), OWN)[1]?.address).toBe("");
});

test("one link more takes the lowest free number and an unused address, eight at most", () => {
  let links = withOneMore([], OWN);
  links = withOneMore(links, OWN);
  expect(links.map(({ number, address }) => [number, address])).toEqual([
    [0, "10.0.0.2"],
    [1, "fd00::2"],
  ]);
  links = withOneMore(links.filter(({ number }) => number !== 0), OWN);
  expect(links.map(({ number }) => number)).toEqual([0, 1]);
  for (let round = 0; round < 9; round++) links = withOneMore(links, OWN);
  expect(links.length).toBe(8);
});

test("parameters have the priority where one is given, and no empty link", () => {
  const links = [
    { number: 0, address: " 10.0.0.2", priority: "20" },
    { number: 1, address: "", priority: "5" },
    { number: 2, address: "10.1.0.2", priority: "" },
  ];
  expect(linkParameters(links)).toEqual({ link0: "10.0.0.2,priority=20", link2: "10.1.0.2" });
});

test.each([
  ["10.0.0.2/24", "10.0.0.255", true],
  ["10.0.0.2/24", "10.0.1.2", false],
  ["10.0.0.130/25", "10.0.0.1", false],
  ["10.0.0.2/24", "host.example", false],
  ["10.0.0.2/24", "fd00::1", false],
  ["fd00::2/64", "fd00:0:0:0:1::", true],
  ["fd00::2/64", "fd01::1", false],
])("%s contains %s: %s", (cidr, address, within) => {
  expect(isWithin(cidr, address)).toBe(within);
});
