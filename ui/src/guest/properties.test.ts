import { expect, test } from "vitest";
import { freeKey, printNic, printProperties, readNic, readProperties } from "./properties";

test("a disk's text is read and printed back", () => {
  const text = "local:100/vm-100-disk-0.qcow2,discard=on,size=8G";
  const disk = readProperties(text, "file");
  expect(disk).toEqual({ file: "local:100/vm-100-disk-0.qcow2", discard: "on", size: "8G" });
  expect(printProperties(disk, "file")).toBe(text);
  expect(printProperties({ ...disk, discard: undefined, cache: "" }, "file")).toBe("local:100/vm-100-disk-0.qcow2,size=8G");
});

test.each([
  ["virtio=BC:24:11:00:00:01,bridge=vmbr0,link_down=1", "virtio", "BC:24:11:00:00:01"],
  ["model=e1000,macaddr=BC:24:11:00:00:01,bridge=vmbr0,link_down=1", "e1000", "BC:24:11:00:00:01"],
  ["virtio,bridge=vmbr0,link_down=1", "virtio", ""],
])("a card written %s", (text, model, mac) => {
  expect(readNic(text)).toEqual({ model, mac, options: { bridge: "vmbr0", link_down: "1" } });
});

test("a card is printed with and without an address", () => {
  expect(printNic({ model: "virtio", mac: "", options: { bridge: "vmbr0", tag: undefined } })).toBe("virtio,bridge=vmbr0");
  expect(printNic({ model: "virtio", mac: "BC:24:11:00:00:01", options: { tag: "7" } })).toBe("virtio=BC:24:11:00:00:01,tag=7");
});

test("the first free number is taken", () => {
  expect(freeKey("scsi", ["scsi0", "scsi2", "virtio1"])).toBe("scsi1");
});
