import { expect, test } from "vitest";
import { consolesOf, hasSpice } from "./consoles";

test.each([
  [{}, ["display"]],
  [{ vga: "virtio,memory=32", serial0: "socket" }, ["display", "serial0"]],
  [{ vga: "none", serial0: "socket", serial1: "/dev/ttyS0" }, ["serial0"]],
  [{ vga: "serial1", serial0: "socket", serial1: "socket" }, ["serial1", "serial0"]],
  [{ vga: "none" }, []],
])("%o", (config, expected) => expect(consolesOf(config)).toEqual(expected));

test.each([
  [{}, false],
  [{ vga: "virtio" }, false],
  [{ vga: "qxl" }, true],
  [{ vga: "type=qxl2,memory=32" }, true],
])("SPICE of %o", (config, expected) => expect(hasSpice(config)).toBe(expected));
