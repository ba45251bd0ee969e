/** Property strings, `local:100/disk.qcow2,size=8G,ssd=1`, as values and back. Pure. */

export type Properties = Readonly<Record<string, string>>;

/** The properties in a text; a word without `=` is the value of `first`. */
export function readProperties(text: string, first: string): Properties {
  const found: Record<string, string> = {};
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    if (at > 0) found[part.slice(0, at)] = part.slice(at + 1);
    else if (part !== "") found[first] = part;
  }
  return found;
}

/** The text of properties, `first` in front and unnamed; what is undefined or empty is left out. */
export function printProperties(properties: Readonly<Record<string, string | undefined>>, first: string): string {
  const rest = Object.entries(properties).filter(([key, value]) => key !== first && value !== undefined && value !== "");
  const head = properties[first];
  return [...(head === undefined ? [] : [head]), ...rest.map(([key, value]) => `${key}=${value ?? ""}`)].join(",");
}

export interface Nic {
  model: string;
  mac: string;
  options: Properties;
}

const NIC_OPTIONS = new Set(["bridge", "firewall", "link_down", "mtu", "queues", "rate", "tag", "trunks"]);

/** A network card's `MODEL=MAC,bridge=…`, also written `model=MODEL,macaddr=MAC,…`. */
export function readNic(text: string): Nic {
  const { model, macaddr, ...rest } = readProperties(text, "model");
  const named = Object.keys(rest).find((key) => !NIC_OPTIONS.has(key));
  const options = Object.fromEntries(Object.entries(rest).filter(([key]) => NIC_OPTIONS.has(key)));
  return { model: named ?? model ?? "", mac: macaddr ?? (named === undefined ? "" : (rest[named] ?? "")), options };
}

export function printNic({ model, mac, options }: { model: string; mac: string; options: Record<string, string | undefined> }): string {
  return printProperties({ model: mac === "" ? model : `${model}=${mac}`, ...options }, "model");
}

/** The first number of a family that no key has: `scsi1` where there is `scsi0`. */
export function freeKey(family: string, taken: Iterable<string>): string {
  const used = new Set(taken);
  let number = 0;
  while (used.has(`${family}${number}`)) number += 1;
  return `${family}${number}`;
}
