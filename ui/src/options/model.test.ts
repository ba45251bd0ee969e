import { expect, test } from "vitest";
import { bootDevices, bootOrder, isOn, turned } from "./model";

test.each([
  ["1,fstrim_cloned_disks=1", "0", true],
  ["enabled=1,type=isa", "0", true],
  ["0", "1", false],
  [undefined, "1", true],
  [undefined, undefined, false],
])("the flag %s", (value, standard, on) => expect(isOn(value, standard)).toBe(on));

test("turning a flag keeps what stands behind it", () => {
  expect(turned("1,fstrim_cloned_disks=1", false)).toBe("0,fstrim_cloned_disks=1");
  expect(turned(undefined, true)).toBe("1");
});

test("the boot order first, then what else there is to boot from", () => {
  const devices = bootDevices({ boot: "order=net0;scsi0;gone0", scsi0: "", net0: "", scsi10: "", scsi2: "", memory: "" });
  expect(devices).toEqual([
    { key: "net0", on: true },
    { key: "scsi0", on: true },
    { key: "scsi2", on: false },
    { key: "scsi10", on: false },
  ]);
  expect(bootOrder(devices)).toBe("order=net0;scsi0");
});
