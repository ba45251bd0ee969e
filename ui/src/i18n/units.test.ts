import { expect, test } from "vitest";
import { bytes, duration, percent } from "./units";

test.each([
  [0, "0 B"],
  [1023, "1,023 B"],
  [1536, "1.5 KiB"],
  [2 * 1024 ** 3, "2 GiB"],
  [123.4 * 1024 ** 2, "123 MiB"],
])("%d bytes", (count, text) => expect(bytes(count, "en")).toBe(text));

test("German commas", () => {
  expect(bytes(1536, "de")).toBe("1,5 KiB");
  expect(percent(0.034, "de")).toBe("3,4 %");
});

test.each([
  [6, "6s"],
  [306, "5m 06s"],
  [14_700, "4h 05m"],
  [273_600, "3d 4h"],
  [-1, "0s"],
])("%d seconds", (seconds, text) => expect(duration(seconds)).toBe(text));
