import { expect, test } from "vitest";
import { keysymOf } from "./keys";

test.each([["a", 0x61], ["ü", 0xfc], ["€", 0x010020ac], ["F1", 0xffbe], ["F12", 0xffc9], ["Delete", 0xffff], ["😀", 0x0101f600]])(
  "%s",
  (key, number) => expect(keysymOf(key)).toBe(number),
);
