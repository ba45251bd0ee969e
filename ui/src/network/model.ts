/** A node's interfaces: what is shown of each, and what a form sends. Pure. */

import type { Parameters } from "../api/client";
import type { InterfaceRow } from "../api/network";

export const MADE = ["bridge", "vlan", "bond"] as const;
export type Made = (typeof MADE)[number];

export const BOND_MODES = [
  "balance-rr",
  "active-backup",
  "balance-xor",
  "broadcast",
  "802.3ad",
  "balance-tlb",
  "balance-alb",
] as const;
export const HASHES = ["layer2", "layer2+3", "layer3+4"] as const;

/** What the form shows, all as texts. */
export interface Wish {
  iface: string;
  type: string;
  autostart: boolean;
  cidr: string;
  gateway: string;
  cidr6: string;
  gateway6: string;
  bridge_ports: string;
  bridge_vlan_aware: boolean;
  bridge_vids: string;
  slaves: string;
  bond_mode: string;
  "bond-primary": string;
  bond_xmit_hash_policy: string;
  "vlan-id": string;
  "vlan-raw-device": string;
  mtu: string;
  comments: string;
}

const TEXTS = [
  "cidr",
  "gateway",
  "cidr6",
  "gateway6",
  "bridge_vids",
  "bond_mode",
  "bond-primary",
  "bond_xmit_hash_policy",
  "vlan-id",
  "vlan-raw-device",
  "mtu",
  "comments",
] as const;
const LISTS = ["bridge_ports", "slaves"] as const;
/** The settings that only one kind of interface has. */
const OF_KIND: Readonly<Record<string, string>> = {
  bridge_ports: "bridge",
  bridge_vlan_aware: "bridge",
  bridge_vids: "bridge",
  slaves: "bond",
  bond_mode: "bond",
  "bond-primary": "bond",
  bond_xmit_hash_policy: "bond",
  "vlan-id": "vlan",
  "vlan-raw-device": "vlan",
};

/** The form of an interface that is there. */
export function wishOf(row: InterfaceRow): Wish {
  const text = (key: keyof InterfaceRow) => (row[key] === undefined ? "" : String(row[key]).replace(/\n$/, ""));
  const texts = Object.fromEntries([...TEXTS, ...LISTS].map((key) => [key, text(key)]));
  return {
    ...(texts as unknown as Wish),
    iface: row.iface,
    type: row.type,
    // what the kernel says of an interface that has no MTU of its own is no setting
    mtu: row.type === "unknown" || row.mtu === 1500 ? "" : text("mtu"),
    autostart: isOn(row.autostart),
    bridge_vlan_aware: isOn(row.bridge_vlan_aware),
  };
}

/** The form of a new one, with a name that is free. */
export function firstWish(type: Made, rows: readonly InterfaceRow[]): Wish {
  const empty = wishOf({ iface: freeName(type, rows), type });
  return { ...empty, autostart: true, bond_mode: type === "bond" ? "balance-rr" : "" };
}

/** What is sent to make it. */
export function creation(wish: Wish): Parameters {
  return { ...settings(wish), iface: wish.iface };
}

/** What is sent to change `row` to this: what is empty now and was not goes. */
export function edit(wish: Wish, row: InterfaceRow): Parameters {
  const before = wishOf(row);
  const gone = [...TEXTS, ...LISTS].filter((key) => wish[key].trim() === "" && before[key] !== "" && key !== "bridge_ports");
  const flags = (["autostart", "bridge_vlan_aware"] as const).filter((key) => before[key] && !wish[key]);
  const lost = [...gone, ...flags];
  const cut = before.bridge_ports !== "" && wish.bridge_ports.trim() === "" ? { bridge_ports: "" } : {};
  return { ...settings(wish), ...cut, delete: lost.length > 0 ? lost.join(",") : undefined };
}

function settings(wish: Wish): Record<string, string | number> {
  const mine = (key: string) => OF_KIND[key] === undefined || OF_KIND[key] === wish.type;
  const texts = TEXTS.filter((key) => mine(key) && wish[key].trim() !== "").map((key) => [key, wish[key].trim()]);
  const lists = LISTS.filter((key) => mine(key) && wish[key].trim() !== "").map((key) => [key, wish[key].trim().split(/[\s,;]+/).join(" ")]);
  const flags = (["autostart", "bridge_vlan_aware"] as const).filter((key) => mine(key) && wish[key]).map((key) => [key, 1]);
  return { type: wish.type, ...(Object.fromEntries([...texts, ...lists, ...flags]) as Record<string, string | number>) };
}

/** The devices it stands on, and what else tells of it. */
export function madeOf(row: InterfaceRow): string {
  if (row.type === "bond") return [row.slaves, row.bond_mode].filter(Boolean).join(" · ");
  if (row.type === "vlan") {
    const [raw, tag] = row.iface.includes(".") ? row.iface.split(/\.(?=\d+$)/) : [];
    return [row["vlan-raw-device"] ?? raw, row["vlan-id"] ?? tag].filter(Boolean).join(" · ");
  }
  return row.bridge_ports ?? "";
}

/** Its addresses; how it gets them where that is not by hand. */
export function addressesOf(row: InterfaceRow): string[] {
  const four = row.cidr ?? (row.method && !["manual", "static"].includes(row.method) ? row.method : undefined);
  const six = row.cidr6 ?? (row.method6 && !["manual", "static"].includes(row.method6) ? `IPv6 ${row.method6}` : undefined);
  return [four, six].filter((text): text is string => Boolean(text));
}

export type Tone = "added" | "gone" | "place" | "same";

/** The lines of a diff, each with what it tells; the two names of the files are left out. */
export function diffLines(changes: string): { text: string; tone: Tone }[] {
  return changes
    .split("\n")
    .filter((line) => line !== "" && !/^(---|\+\+\+) /.test(line))
    .map((text) => ({
      text,
      tone: text.startsWith("+") ? "added" : text.startsWith("-") ? "gone" : text.startsWith("@@") ? "place" : "same",
    }));
}

export function isOn(flag: unknown): boolean {
  return flag === true || flag === 1 || flag === "1";
}

function freeName(type: Made, rows: readonly InterfaceRow[]): string {
  const head = { bridge: "vmbr", bond: "bond", vlan: "" }[type];
  if (head === "") return "";
  const taken = new Set(rows.map(({ iface }) => iface));
  let number = 0;
  while (taken.has(`${head}${number}`)) number += 1;
  return `${head}${number}`;
}
