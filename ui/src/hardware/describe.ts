/** A part of a guest in words. Pure. */

import { readNic, readProperties } from "../guest/properties";
import type { Dictionary } from "../i18n/en";
import type { Kind, Part, Values } from "./model";

/** How a part is, as the list shows it; `settings` are its own. */
export function describe(kind: Kind, key: string, settings: Values, t: Dictionary): string {
  const value = settings[key] ?? "";
  switch (kind) {
    case "memory":
      return memory(settings, t);
    case "cpu":
      return processors(settings, t);
    case "bios":
      return value === "ovmf" ? "OVMF (UEFI)" : `SeaBIOS${standard(value, t)}`;
    case "vga":
      return value === "" ? `std${standard(value, t)}` : value;
    case "machine":
      return value === "" ? `pc${standard(value, t)}` : value;
    case "scsihw":
      return value === "" ? `lsi${standard(value, t)}` : value;
    case "cd":
    case "cloudinit":
      return drive(value) === "none" ? t.hardware.emptyDrive : drive(value);
    case "disk":
      return disk(value);
    case "nic":
      return card(value, t);
    default:
      return value;
  }
}

/** What a part is called, without its number. */
export function nameOf({ kind, key }: Pick<Part, "kind" | "key">, t: Dictionary): string {
  const others = t.hardware.others as Readonly<Record<string, string>>;
  return (kind === "other" && others[key.replace(/\d+$/, "")]) || t.hardware.kinds[kind];
}

/** The file of a drive: a volume's name, `none`. */
export function drive(value: string): string {
  return readProperties(value, "file").file ?? value;
}

function standard(value: string, t: Dictionary): string {
  return value === "" ? ` (${t.hardware.standard})` : "";
}

function memory(settings: Values, t: Dictionary): string {
  const whole = mib(readProperties(settings.memory ?? "512", "current").current ?? "512");
  if (settings.balloon === "0") return `${whole}, ${t.hardware.noBalloon}`;
  return settings.balloon === undefined ? whole : t.hardware.from(mib(settings.balloon), whole);
}

function mib(text: string): string {
  const number = Number(text);
  return number >= 1024 && number % 256 === 0 ? `${number / 1024} GiB` : `${text} MiB`;
}

function processors(settings: Values, t: Dictionary): string {
  const [cores, sockets] = [Number(settings.cores ?? 1), Number(settings.sockets ?? 1)];
  const model = readProperties(settings.cpu ?? "", "cputype").cputype;
  const more = ["vcpus", "cpulimit", "cpuunits", "affinity"].flatMap((key) => {
    const value = settings[key];
    return value === undefined ? [] : [`${key} ${value}`];
  });
  return [t.hardware.cpus(cores * sockets, sockets, cores), model, ...more].filter(Boolean).join(", ");
}

function disk(value: string): string {
  const { file = "", size, ...options } = readProperties(value, "file");
  const rest = Object.entries(options).filter(([key]) => key !== "media").map(([key, each]) => (each === "1" || each === "on" ? key : `${key} ${each}`));
  return [file, size && sizeInWords(size), ...rest].filter(Boolean).join(", ");
}

/** `8G` as `8 GiB`. */
function sizeInWords(size: string): string {
  const parts = /^([\d.]+)([KMGT]?)$/.exec(size);
  return parts ? `${parts[1] ?? ""} ${parts[2] ?? ""}${parts[2] ? "iB" : "B"}` : size;
}

function card(value: string, t: Dictionary): string {
  const { model, mac, options } = readNic(value);
  const { bridge, link_down, tag, rate, ...rest } = options;
  return [
    model,
    mac,
    bridge === undefined ? t.hardware.nat : t.hardware.onBridge(bridge),
    tag && `VLAN ${tag}`,
    rate && `${rate} MB/s`,
    ...Object.entries(rest).map(([key, each]) => `${key} ${each}`),
    link_down === "1" && t.hardware.unplugged,
  ]
    .filter(Boolean)
    .join(", ");
}
