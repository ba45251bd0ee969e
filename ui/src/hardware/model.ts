/** What a guest is made of, in rows: how each part is, and how it will be after the next start. Pure. */

import type { PendingRow } from "../api/guest";

export type Kind =
  | "memory"
  | "cpu"
  | "bios"
  | "vga"
  | "machine"
  | "scsihw"
  | "cd"
  | "cloudinit"
  | "disk"
  | "nic"
  | "serial"
  | "unused"
  | "other";

/** Settings by key, as texts. */
export type Values = Readonly<Record<string, string>>;

export interface Part {
  kind: Kind;
  /** the setting that names it: `scsi0`, `memory` */
  key: string;
  /** its settings now; none: it comes with the next start */
  now: Values | undefined;
  /** its settings after the next start; none: it goes */
  then: Values | undefined;
  /** the settings that wait for the next start */
  waiting: string[];
}

/** Parts that every guest has, each with the settings that make it. */
export const FIXED: readonly (readonly [kind: Kind, ...keys: string[]])[] = [
  ["memory", "memory", "balloon", "shares"],
  ["cpu", "cores", "sockets", "cpu", "vcpus", "cpulimit", "cpuunits", "affinity", "numa"],
  ["bios", "bios"],
  ["vga", "vga"],
  ["machine", "machine"],
  ["scsihw", "scsihw"],
];

const DRIVE = /^(ide|sata|scsi|virtio)\d+$/;
const CLOUD_INIT = /cloudinit/;
const OTHER = /^(efidisk|tpmstate|usb|hostpci|rng|audio|virtiofs|parallel|numa)\d+$/;
const ORDER: readonly Kind[] = ["cd", "cloudinit", "disk", "nic", "serial", "other", "unused"];

/** The rows, in the order they are shown. */
export function partsOf(rows: readonly PendingRow[]): Part[] {
  const fixed = FIXED.map(([kind, ...keys]) => {
    const own = rows.filter(({ key }) => keys.includes(key));
    return { kind, key: keys[0] ?? "", now: values(own, "now"), then: values(own, "then"), waiting: waiting(own) };
  });
  const devices = rows.flatMap((row): Part[] => {
    const kind = kindOf(row);
    if (kind === undefined) return [];
    const [now, then] = [values([row], "now"), values([row], "then")];
    const here = (found: Values) => (row.key in found ? found : undefined);
    return [{ kind, key: row.key, now: here(now), then: here(then), waiting: waiting([row]) }];
  });
  const rank = ({ kind }: Part) => ORDER.indexOf(kind);
  devices.sort((a, b) => rank(a) - rank(b) || a.key.localeCompare(b.key, "en", { numeric: true }));
  return [...fixed, ...devices];
}

/** All settings as they will be after the next start. */
export function settingsThen(rows: readonly PendingRow[]): Values {
  return values(rows, "then");
}

/** Whether a part will be otherwise after the next start. */
export function waits(part: Part): boolean {
  return part.waiting.length > 0;
}

/** Whether its settings can be changed at all, or only taken away. */
export function hasDialog(kind: Kind): boolean {
  return kind !== "other" && kind !== "cloudinit" && kind !== "serial" && kind !== "unused";
}

/** Whether its volume can go to another storage: disks, and what firmware and TPM keep. */
export function movable(part: Part): boolean {
  return part.kind === "disk" || /^(efidisk|tpmstate)0$/.test(part.key);
}

/** Whether it has a drive that cloud-init reads. */
export function hasCloudInit(rows: readonly PendingRow[]): boolean {
  return rows.some((row) => kindOf(row) === "cloudinit");
}

/** Every key of which there is something, also what only waits. */
export function takenKeys(rows: readonly PendingRow[]): string[] {
  return rows.map(({ key }) => key);
}

function kindOf({ key, value, pending }: PendingRow): Kind | undefined {
  const text = String(pending ?? value ?? "");
  if (DRIVE.test(key)) return CLOUD_INIT.test(text) ? "cloudinit" : text.includes("media=cdrom") ? "cd" : "disk";
  if (/^net\d+$/.test(key)) return "nic";
  if (/^serial\d+$/.test(key)) return "serial";
  if (/^unused\d+$/.test(key)) return "unused";
  return OTHER.test(key) ? "other" : undefined;
}

function values(rows: readonly PendingRow[], when: "now" | "then"): Values {
  const found: Record<string, string> = {};
  for (const row of rows) {
    const value = when === "now" ? row.value : row.delete ? undefined : (row.pending ?? row.value);
    if (value !== undefined) found[row.key] = String(value);
  }
  return found;
}

function waiting(rows: readonly PendingRow[]): string[] {
  return rows.filter((row) => row.delete || row.pending !== undefined).map(({ key }) => key);
}
