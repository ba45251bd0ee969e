/** What cloud-init is told of a guest: rows, and the settings behind them. Pure. */

import type { PendingRow } from "../api/guest";
import { printProperties, readProperties } from "../guest/properties";

/** Those that every guest has, in order; addresses follow, one for each network card. */
export const TOLD = ["ciuser", "cipassword", "sshkeys", "searchdomain", "nameserver", "ciupgrade"] as const;
export type Told = (typeof TOLD)[number];

export interface CloudRow {
  key: string;
  value: string | undefined;
  /** what the guest's drive will say once it is made anew; none: as now */
  pending: string | undefined;
  goes: boolean;
}

/** The rows: `settings` are the guest's own, `drive` is what its cloud-init drive says. */
export function rowsOf(settings: Readonly<Record<string, string>>, drive: readonly PendingRow[]): CloudRow[] {
  const cards = Object.keys(settings)
    .filter((key) => /^net\d+$/.test(key))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)));
  const keys = [...TOLD, ...cards.map((key) => `ipconfig${key.slice(3)}`)];
  return keys.map((key) => {
    const row = drive.find((each) => each.key === key);
    const text = (value: string | number | undefined) => (value === undefined ? undefined : String(value));
    return { key, value: text(row?.value) ?? (row ? undefined : settings[key]), pending: text(row?.pending), goes: Boolean(row?.delete) };
  });
}

/** Whether the drive says something else than the settings. */
export function isOld(drive: readonly PendingRow[]): boolean {
  return drive.some((row) => row.pending !== undefined || row.delete);
}

/** Keys of SSH as one reads them: the setting has them percent-encoded. */
export function readKeys(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function printKeys(text: string): string {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return encodeURIComponent(lines.join("\n"));
}

/** The keys by their names, or types: what fits in a row. */
export function keysInWords(text: string): string {
  return readKeys(text)
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => line.split(" ").slice(2).join(" ") || line.split(" ")[0])
    .join(", ");
}

export interface Addresses {
  how4: "none" | "dhcp" | "static";
  ip: string;
  gw: string;
  how6: "none" | "dhcp" | "auto" | "static";
  ip6: string;
  gw6: string;
}

export function readAddresses(text: string): Addresses {
  const { ip = "", gw = "", ip6 = "", gw6 = "" } = readProperties(text, "");
  return {
    how4: ip === "" ? "none" : ip === "dhcp" ? "dhcp" : "static",
    ip: ip === "dhcp" ? "" : ip,
    gw,
    how6: ip6 === "" ? "none" : ip6 === "dhcp" || ip6 === "auto" ? ip6 : "static",
    ip6: ip6 === "dhcp" || ip6 === "auto" ? "" : ip6,
    gw6,
  };
}

export function printAddresses({ how4, ip, gw, how6, ip6, gw6 }: Addresses): string {
  const four = how4 === "static" ? { ip: ip.trim(), gw: gw.trim() } : how4 === "dhcp" ? { ip: "dhcp" } : {};
  const six = how6 === "static" ? { ip6: ip6.trim(), gw6: gw6.trim() } : how6 === "none" ? {} : { ip6: how6 };
  return printProperties({ ...four, ...six }, "");
}
