/** The links of a node that creates or joins a cluster: which of its addresses each uses. */

import type { NetworkRow } from "../api/types";

/** How many links Corosync takes. */
export const MOST_LINKS = 8;

/** An address of the node. */
export interface Own {
  address: string;
  /** with the length of its network's prefix */
  cidr: string;
  iface: string;
}

/** A link as it is filled in; without an address it is left out. */
export interface Link {
  number: number;
  address: string;
  priority: string;
}

/** The addresses that links may use, in the order of their interfaces. */
export function ownAddresses(rows: readonly NetworkRow[]): Own[] {
  return rows.flatMap(({ iface, active, address, cidr, address6, cidr6 }) => {
    if (!active) return [];
    const both = [
      [address, cidr],
      [address6, cidr6],
    ];
    return both.flatMap(([own, network]) => (own && network ? [{ address: own, cidr: network, iface }] : []));
  });
}

/** For each of the cluster's links, which `peers` has by number, the own address in the peer's network, each once. */
export function linksTo(peers: ReadonlyMap<number, string>, own: readonly Own[]): Link[] {
  const free = [...own];
  return [...peers].map(([number, peer]) => {
    const index = free.findIndex(({ cidr }) => isWithin(cidr, peer));
    const address = index < 0 ? "" : (free.splice(index, 1)[0]?.address ?? "");
    return { number, address, priority: "" };
  });
}

/** One link more: the lowest free number, with an address that no other link uses. */
export function withOneMore(links: readonly Link[], own: readonly Own[]): Link[] {
  const numbers = new Set(links.map(({ number }) => number));
  const used = new Set(links.map(({ address }) => address));
  const number = Array.from({ length: MOST_LINKS }, (_, each) => each).find((each) => !numbers.has(each));
  if (number === undefined) return [...links];
  const address = own.find((each) => !used.has(each.address))?.address ?? "";
  return [...links, { number, address, priority: "" }].sort((a, b) => a.number - b.number);
}

/** The links as parameters of the API: link0=ADDRESS[,priority=N]. */
export function linkParameters(links: readonly Link[]): Record<string, string> {
  const given = links.filter(({ address }) => address.trim() !== "");
  return Object.fromEntries(
    given.map(({ number, address, priority }) => [
      `link${number}`,
      priority.trim() === "" ? address.trim() : `${address.trim()},priority=${priority.trim()}`,
    ]),
  );
}

/** Whether an address lies in the network of a CIDR, both of one family. */
export function isWithin(cidr: string, address: string): boolean {
  const [network = "", length = ""] = cidr.split("/");
  const [own, other] = [bitsOf(network), bitsOf(address)];
  if (own === undefined || other === undefined || own.length !== other.length) return false;
  return own.slice(0, Number(length)) === other.slice(0, Number(length));
}

/** An address as text of zeros and ones; undefined when it is none. */
function bitsOf(address: string): string | undefined {
  if (/^\d+(\.\d+){3}$/.test(address)) return address.split(".").map((part) => bits(Number(part), 8)).join("");
  if (!address.includes(":")) return undefined;
  const [head = "", tail] = address.toLowerCase().split("::");
  const [left, right] = [head, tail ?? ""].map((part) => part.split(":").filter(Boolean));
  const missing = tail === undefined ? 0 : 8 - (left?.length ?? 0) - (right?.length ?? 0);
  const groups = [...(left ?? []), ...Array<string>(Math.max(0, missing)).fill("0"), ...(right ?? [])];
  if (groups.length !== 8) return undefined;
  return groups.map((group) => bits(Number.parseInt(group, 16), 16)).join("");
}

const bits = (value: number, width: number): string => value.toString(2).padStart(width, "0");
