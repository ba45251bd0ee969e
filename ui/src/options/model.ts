/** A guest's options: which there are, of what kind, and what stands in the list. Pure. */

export type OptionKind = "text" | "flag" | "choice" | "boot" | "notes";

export interface OptionRow {
  key: string;
  kind: OptionKind;
  /** of a flag: what it is without a setting */
  standard?: "0" | "1";
  words?: readonly string[];
}

export const OPTIONS = [
  { key: "name", kind: "text" },
  { key: "description", kind: "notes" },
  { key: "tags", kind: "text" },
  { key: "onboot", kind: "flag", standard: "0" },
  { key: "startup", kind: "text" },
  {
    key: "ostype",
    kind: "choice",
    words: ["l26", "l24", "win11", "win10", "win8", "win7", "wvista", "w2k8", "w2k3", "w2k", "wxp", "solaris", "other"],
  },
  { key: "boot", kind: "boot" },
  { key: "agent", kind: "flag", standard: "0" },
  { key: "protection", kind: "flag", standard: "0" },
  { key: "hotplug", kind: "text" },
  { key: "acpi", kind: "flag", standard: "1" },
  { key: "tablet", kind: "flag", standard: "1" },
  { key: "localtime", kind: "flag", standard: "0" },
  { key: "reboot", kind: "flag", standard: "1" },
] as const satisfies readonly OptionRow[];

export type OptionKey = (typeof OPTIONS)[number]["key"];

/** A flag's value; an agent's has options behind it. */
export function isOn(value: string | undefined, standard: string | undefined): boolean {
  const word = (value ?? standard ?? "0").replace(/^enabled=/, "").split(",")[0];
  return word === "1" || word === "on" || word === "yes" || word === "true";
}

/** A flag turned, what stands behind it kept. */
export function turned(value: string | undefined, on: boolean): string {
  const rest = (value ?? "").split(",").slice(1);
  return [on ? "1" : "0", ...rest].join(",");
}

const BOOTABLE = /^(ide|sata|scsi|virtio|net)\d+$/;

/** The devices a guest can boot from, those of its order first, and whether each is in it. */
export function bootDevices(settings: Readonly<Record<string, string>>): { key: string; on: boolean }[] {
  const order = (/(?:^|,)order=([^,]*)/.exec(settings.boot ?? "")?.[1] ?? "").split(";").filter((key) => key in settings);
  const others = Object.keys(settings)
    .filter((key) => BOOTABLE.test(key) && !order.includes(key))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return [...order.map((key) => ({ key, on: true })), ...others.map((key) => ({ key, on: false }))];
}

/** The setting `boot` of an order. */
export function bootOrder(devices: readonly { key: string; on: boolean }[]): string {
  return `order=${devices.filter(({ on }) => on).map(({ key }) => key).join(";")}`;
}
