/** A new guest as the wizard's steps make it: where it begins, its settings, and which step a parameter is of. Pure. */

import type { Settings } from "../api/guest";
import { printNic, type Nic } from "../guest/properties";
import type { CdWish, DiskWish } from "../hardware/drives";
import type { CpuWish } from "../hardware/fields";

export const STEPS = ["general", "system", "disks", "cpu", "memory", "network", "confirm"] as const;
export type Step = (typeof STEPS)[number];

export interface Draft {
  node: string;
  vmid: string;
  name: string;
  onboot: boolean;
  ostype: string;
  cd: CdWish;
  agent: boolean;
  serial: boolean;
  disks: DiskWish[];
  cpu: CpuWish;
  memory: string;
  balloon: string;
  nic: Nic | undefined;
}

/** What is created: the API's parameters. */
export function settingsOf(draft: Draft, printDisk: (disk: DiskWish) => string, printCd: (cd: CdWish) => string): Settings {
  const disks = Object.fromEntries(draft.disks.map((disk, number) => [`scsi${number}`, printDisk(disk)]));
  const boot = [
    ...draft.disks.map((_, number) => `scsi${number}`),
    ...(draft.cd.volume === "" ? [] : ["ide2"]),
    ...(draft.nic ? ["net0"] : []),
  ];
  return {
    vmid: draft.vmid,
    name: draft.name === "" ? undefined : draft.name,
    onboot: draft.onboot ? 1 : undefined,
    ostype: draft.ostype,
    agent: draft.agent ? 1 : undefined,
    serial0: draft.serial ? "socket" : undefined,
    scsihw: "virtio-scsi-single",
    ide2: draft.cd.volume === "" ? undefined : printCd(draft.cd),
    ...disks,
    sockets: draft.cpu.sockets,
    cores: draft.cpu.cores,
    cpu: draft.cpu.type === "" ? undefined : draft.cpu.type,
    cpulimit: draft.cpu.limit === "" ? undefined : draft.cpu.limit,
    memory: draft.memory,
    balloon: draft.balloon === "" ? undefined : draft.balloon,
    net0: draft.nic && printNic(draft.nic),
    boot: boot.length > 0 ? `order=${boot.join(";")}` : undefined,
  };
}

/** The step whose fields show what is said of a parameter. */
export function stepOf(parameter: string): Step {
  if (/^(vmid|name|onboot|node)$/.test(parameter)) return "general";
  if (/^(ostype|ide2|agent|serial0)$/.test(parameter)) return "system";
  if (/^scsi/.test(parameter)) return "disks";
  if (/^(sockets|cores|cpu|cpulimit)$/.test(parameter)) return "cpu";
  if (/^(memory|balloon)$/.test(parameter)) return "memory";
  return /^net\d/.test(parameter) ? "network" : "confirm";
}

/** What is missing before a step can be left; undefined when nothing is. */
export function lacks(step: Step, draft: Draft): "vmid" | "storage" | "image" | "memory" | "cpu" | undefined {
  if (step === "general" && !/^\d+$/.test(draft.vmid)) return "vmid";
  if (step === "system" && draft.cd.storage !== "" && draft.cd.volume === "") return "image";
  if (step === "disks" && draft.disks.some(({ storage, gib }) => storage === "" || !(Number(gib) > 0))) return "storage";
  if (step === "memory" && !/^\d+$/.test(draft.memory)) return "memory";
  if (step === "cpu" && !(Number(draft.cpu.cores) > 0 && Number(draft.cpu.sockets) > 0)) return "cpu";
  return undefined;
}
