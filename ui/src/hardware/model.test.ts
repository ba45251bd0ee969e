import { expect, test } from "vitest";
import { en } from "../i18n/en";
import { describe, nameOf } from "./describe";
import { hasDialog, partsOf, settingsThen, waits } from "./model";

const ROWS = [
  { key: "boot", value: "order=scsi0" },
  { key: "cores", value: 2, pending: 4 },
  { key: "memory", value: "2048" },
  { key: "net0", value: "virtio=BC:24:11:00:00:01,bridge=vmbr0", delete: 1 as const },
  { key: "scsi10", value: "local:100/b.qcow2,size=1G" },
  { key: "scsi2", pending: "local:100/a.qcow2,size=1G" },
  { key: "ide2", value: "none,media=cdrom" },
  { key: "unused0", value: "local:100/c.qcow2" },
];

test("the parts come in a fixed order, numbers as numbers", () => {
  const parts = partsOf(ROWS);
  expect(parts.map(({ key }) => key)).toEqual(
    ["memory", "cores", "bios", "vga", "machine", "scsihw", "ide2", "scsi2", "scsi10", "net0", "unused0"],
  );
  expect(parts.map(({ kind }) => kind).slice(6)).toEqual(["cd", "disk", "disk", "nic", "unused"]);
});

test("what waits for the next start is told from what is", () => {
  const by = Object.fromEntries(partsOf(ROWS).map((part) => [part.key, part]));
  expect(by.cores).toMatchObject({ now: { cores: "2" }, then: { cores: "4" }, waiting: ["cores"] });
  expect(by.net0).toMatchObject({ then: undefined, waiting: ["net0"] });
  expect(by.scsi2).toMatchObject({ now: undefined, then: { scsi2: "local:100/a.qcow2,size=1G" } });
  expect(by.memory && waits(by.memory)).toBe(false);
  expect(by.vga).toMatchObject({ now: {}, then: {}, waiting: [] });
});

test("the settings after the next start", () => {
  const then = settingsThen(ROWS);
  expect(then.cores).toBe("4");
  expect("net0" in then).toBe(false);
});

test("what has no kind of its own is called what it is", () => {
  const rows = [
    { key: "ide0", value: "local:100/vm-100-cloudinit.qcow2,media=cdrom,size=4M" },
    { key: "efidisk0", value: "local:100/d.qcow2,efitype=4m" },
    { key: "usb1", value: "host=1-2" },
    { key: "parallel0", value: "/dev/parport0" },
  ];
  const made = partsOf(rows).slice(6);
  expect(made.map((part) => `${nameOf(part, en)} ${part.key}`)).toEqual([
    "Cloud-init drive ide0", "EFI disk efidisk0", "Device parallel0", "USB device usb1",
  ]);
  const drive = made[0];
  expect(drive && describe(drive.kind, drive.key, drive.now ?? {}, en)).toBe("local:100/vm-100-cloudinit.qcow2");
  expect(drive && hasDialog(drive.kind)).toBe(false);
});
