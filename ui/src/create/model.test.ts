import { expect, test } from "vitest";
import { lacks, settingsOf, stepOf, type Draft } from "./model";

const DRAFT: Draft = {
  node: "pve",
  vmid: "103",
  name: "",
  onboot: false,
  ostype: "l26",
  cd: { storage: "", volume: "" },
  agent: true,
  serial: false,
  disks: [{ file: "", storage: "local", gib: "8", format: "", options: { ssd: "1" } }],
  cpu: { sockets: "1", cores: "2", type: "", limit: "" },
  memory: "2048",
  balloon: "",
  nic: { model: "virtio", mac: "", options: { bridge: "vmbr0" } },
};
const made = (draft: Partial<Draft>) =>
  Object.fromEntries(
    Object.entries(settingsOf({ ...DRAFT, ...draft }, ({ storage, gib }) => `${storage}:${gib}`, ({ volume }) => `${volume},media=cdrom`)).filter(
      ([, value]) => value !== undefined,
    ),
  );

test("what a draft becomes", () => {
  expect(made({})).toEqual({
    vmid: "103",
    ostype: "l26",
    agent: 1,
    scsihw: "virtio-scsi-single",
    scsi0: "local:8",
    sockets: "1",
    cores: "2",
    memory: "2048",
    net0: "virtio,bridge=vmbr0",
    boot: "order=scsi0;net0",
  });
});

test("an image is booted from after the disks; without anything there is no order", () => {
  expect(made({ cd: { storage: "local", volume: "local:iso/x.iso" } })).toMatchObject({
    ide2: "local:iso/x.iso,media=cdrom",
    boot: "order=scsi0;ide2;net0",
  });
  expect("boot" in made({ disks: [], nic: undefined })).toBe(false);
});

test.each([["vmid", "general"], ["ide2", "system"], ["scsi1", "disks"], ["scsihw", "disks"], ["cores", "cpu"], ["balloon", "memory"], ["net0", "network"], ["args", "confirm"]])(
  "%s is of the step %s",
  (parameter, step) => expect(stepOf(parameter)).toBe(step),
);

test("what is missing is named", () => {
  expect(lacks("general", { ...DRAFT, vmid: "" })).toBe("vmid");
  expect(lacks("disks", { ...DRAFT, disks: [{ file: "", storage: "", gib: "8", format: "", options: {} }] })).toBe("storage");
  expect(lacks("system", { ...DRAFT, cd: { storage: "local", volume: "" } })).toBe("image");
  expect(lacks("memory", { ...DRAFT, memory: "much" })).toBe("memory");
  expect(lacks("confirm", DRAFT)).toBeUndefined();
});
