import { describe, expect, it } from "vitest";
import type { InterfaceRow } from "../api/network";
import { addressesOf, creation, diffLines, edit, firstWish, madeOf, wishOf } from "./model";

const BRIDGE: InterfaceRow = {
  iface: "vmbr0",
  type: "bridge",
  autostart: 1,
  cidr: "192.0.2.5/24",
  gateway: "192.0.2.1",
  bridge_ports: "eno1",
  mtu: 1500,
  comments: "lab\n",
};

describe("a new interface", () => {
  it("has a free name and starts with the node", () => {
    const wish = firstWish("bridge", [BRIDGE]);
    expect([wish.iface, wish.autostart]).toEqual(["vmbr1", true]);
    expect(creation({ ...wish, cidr: " 192.0.2.9/24 ", bridge_ports: "eno2, eno3" })).toEqual({
      iface: "vmbr1",
      type: "bridge",
      autostart: 1,
      cidr: "192.0.2.9/24",
      bridge_ports: "eno2 eno3",
    });
  });

  it("sends nothing that its kind does not have", () => {
    const vlan = { ...firstWish("vlan", []), iface: "vmbr0.5", bridge_ports: "eno1", slaves: "eno2" };
    expect(creation(vlan)).toEqual({ iface: "vmbr0.5", type: "vlan", autostart: 1 });
    expect(creation({ ...firstWish("bond", []), slaves: "eno1 eno2" })).toEqual({
      iface: "bond0",
      type: "bond",
      autostart: 1,
      bond_mode: "balance-rr",
      slaves: "eno1 eno2",
    });
  });
});

describe("a change", () => {
  it("takes out what was emptied", () => {
    const wish = { ...wishOf(BRIDGE), cidr: "", gateway: "", autostart: false, mtu: "9000" };
    expect(edit(wish, BRIDGE)).toEqual({
      type: "bridge",
      bridge_ports: "eno1",
      comments: "lab",
      mtu: "9000",
      delete: "cidr,gateway,autostart",
    });
  });

  it("can leave a bridge without ports", () => {
    expect(edit({ ...wishOf(BRIDGE), bridge_ports: " " }, BRIDGE)).toMatchObject({ bridge_ports: "", delete: undefined });
  });
});

it("what an interface is made of and its addresses are told", () => {
  expect(madeOf({ iface: "vmbr0.5", type: "vlan" })).toBe("vmbr0 · 5");
  expect(madeOf({ iface: "store", type: "vlan", "vlan-id": 7, "vlan-raw-device": "eno1" })).toBe("eno1 · 7");
  expect(madeOf({ iface: "bond0", type: "bond", slaves: "eno1 eno2", bond_mode: "802.3ad" })).toBe("eno1 eno2 · 802.3ad");
  expect(addressesOf({ ...BRIDGE, method6: "auto" })).toEqual(["192.0.2.5/24", "IPv6 auto"]);
  expect(addressesOf({ iface: "eno1", type: "eth", method: "dhcp" })).toEqual(["dhcp"]);
});

it("a diff's lines say whether they come or go", () => {
  const text = "--- /etc/network/interfaces\n+++ new\n@@ -1 +1 @@\n auto lo\n-\taddress 1\n+\taddress 2\n";
  expect(diffLines(text).map(({ tone }) => tone)).toEqual(["place", "same", "gone", "added"]);
});
