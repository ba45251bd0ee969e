import { describe, expect, it } from "vitest";
import { isOld, keysInWords, printAddresses, printKeys, readAddresses, readKeys, rowsOf } from "./model";

const KEY = "ssh-ed25519 AAAAC3Nz anna@laptop";

describe("rows", () => {
  it("are those of every guest and the addresses of each card", () => {
    const rows = rowsOf({ net1: "virtio", net0: "virtio", ciuser: "anna" }, []);
    expect(rows.map(({ key }) => key).slice(-2)).toEqual(["ipconfig0", "ipconfig1"]);
    expect(rows[0]).toEqual({ key: "ciuser", value: "anna", pending: undefined, goes: false });
  });

  it("say what the drive has and what it will have", () => {
    const drive = [{ key: "ciuser", value: "anna", pending: "bob" }, { key: "nameserver", value: "192.0.2.1", delete: 1 as const }];
    const rows = rowsOf({ ciuser: "bob" }, drive);
    expect(rows.find(({ key }) => key === "ciuser")).toMatchObject({ value: "anna", pending: "bob" });
    expect(rows.find(({ key }) => key === "nameserver")).toMatchObject({ value: "192.0.2.1", goes: true });
    expect([isOld(drive), isOld([{ key: "ciuser", value: "bob" }])]).toEqual([true, false]);
  });
});

it("keys are encoded as the setting wants them", () => {
  const encoded = printKeys(`${KEY}\n\n  ssh-rsa AAAAB3 \n`);
  expect(encoded).toBe("ssh-ed25519%20AAAAC3Nz%20anna%40laptop%0Assh-rsa%20AAAAB3");
  expect(readKeys(encoded)).toBe(`${KEY}\nssh-rsa AAAAB3`);
  expect(keysInWords(encoded)).toBe("anna@laptop, ssh-rsa");
});

it.each(["ip=dhcp,ip6=auto", "ip=192.0.2.5/24,gw=192.0.2.1", "ip6=2001:db8::5/64,gw6=2001:db8::1", ""])(
  "addresses come out as they went in: %s",
  (text) => {
    expect(printAddresses(readAddresses(text))).toBe(text);
  },
);
