/**
 * What is carried from a member to the node that shall join: the known join information (base64 of JSON), or a
 * join token, which stands for the password too.
 */

import type { JoinAnswer } from "../api/types";

export interface Invitation {
  address: string;
  fingerprint: string;
  /** the addresses of the peer, by link */
  links: ReadonlyMap<number, string>;
  /** the cluster's name, where it is told */
  cluster: string | undefined;
  /** the token's whole text, where it is one */
  token: string | undefined;
}

const TOKEN = "kvorum-join-";
const RING = /^ring(\d)_addr$/;
const FINGERPRINT = /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/i;

/** The text that is copied: the way to the preferred node of the answer. */
export function informationText(answer: JoinAnswer): string {
  const node = answer.nodelist.find(({ name }) => name === answer.preferred_node);
  const links = linksOf(node ?? {});
  const { interface: interfaces, ...totem } = answer.totem;
  const told = {
    ipAddress: node?.pve_addr,
    fingerprint: node?.pve_fp,
    peerLinks: Object.fromEntries(links),
    ring_addr: [...links.values()],
    totem: { ...totem, interface: interfaces },
  };
  return btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(told))));
}

/** The addresses of a node, by link. */
export function linksOf(node: Readonly<Record<string, unknown>>): Map<number, string> {
  const links = new Map<number, string>();
  for (const [key, value] of Object.entries(node)) {
    const number = RING.exec(key)?.[1];
    if (number !== undefined && typeof value === "string") links.set(Number(number), value);
  }
  return new Map([...links].sort(([a], [b]) => a - b));
}

/** Reads what was pasted; undefined when it is neither, or not all of it. */
export function readInvitation(text: string): Invitation | undefined {
  const coded = text.replace(/\s+/g, "");
  try {
    return coded.startsWith(TOKEN) ? readToken(coded) : readInformation(coded);
  } catch {
    return undefined;
  }
}

function readInformation(coded: string): Invitation | undefined {
  const told: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytesIn(coded)));
  if (!isRecord(told)) return undefined;
  const { ipAddress: address, fingerprint, peerLinks, ring_addr: rings, totem } = told;
  if (typeof address !== "string" || typeof fingerprint !== "string" || !FINGERPRINT.test(fingerprint)) return undefined;
  const listed = isRecord(peerLinks) ? Object.entries(peerLinks) : Array.isArray(rings) ? Object.entries(rings) : [];
  const links = new Map<number, string>();
  for (const [number, value] of listed) if (/^[0-7]$/.test(number)) links.set(Number(number), String(value));
  const cluster = isRecord(totem) && typeof totem.cluster_name === "string" ? totem.cluster_name : undefined;
  return { address, fingerprint: fingerprint.toUpperCase(), links, cluster, token: undefined };
}

/** A token is MessagePack of [1, address, digest of the certificate, {link: address}, secret]. */
function readToken(coded: string): Invitation | undefined {
  const reader = new Reader(bytesIn(coded.slice(TOKEN.length).replaceAll("-", "+").replaceAll("_", "/")));
  const [version, address, digest, links, secret] = reader.list();
  if (version !== 1 || typeof address !== "string" || !(links instanceof Map)) return undefined;
  if (!(digest instanceof Uint8Array) || digest.length !== 32) return undefined;
  if (!(secret instanceof Uint8Array) || secret.length !== 16) return undefined;
  const fingerprint = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join(":").toUpperCase();
  const told = new Map<number, string>();
  for (const [number, value] of links) {
    if (typeof number === "number" && typeof value === "string") told.set(number, value);
  }
  return { address, fingerprint, links: told, cluster: undefined, token: coded };
}

type Packed = number | string | Uint8Array | Map<Packed, Packed> | Packed[];

/** As much of MessagePack as tokens use; throws on anything else. */
class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  list(): Packed[] {
    const value = this.value();
    if (!Array.isArray(value) || this.at !== this.bytes.length) throw new Error("no list, or more than one");
    return value;
  }

  private value(): Packed {
    const kind = this.byte();
    if (kind < 0x80) return kind;
    if (kind < 0x90) return new Map(Array.from({ length: kind & 15 }, () => [this.value(), this.value()] as const));
    if (kind < 0xa0) return Array.from({ length: kind & 15 }, () => this.value());
    if (kind < 0xc0) return this.text(kind & 31);
    if (kind === 0xc4) return this.take(this.byte());
    if (kind === 0xd9) return this.text(this.byte());
    throw new Error(`kind ${kind} is not expected`);
  }

  private byte(): number {
    const [byte] = this.take(1);
    return byte ?? 0;
  }

  private text(length: number): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.take(length));
  }

  private take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw new Error("cut off");
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }
}

function bytesIn(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
