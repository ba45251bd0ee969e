import { expect, test } from "vitest";
import { keysFrame } from "./socket";

const text = (keys: string) => new TextDecoder().decode(keysFrame(keys));

test("a frame's length counts bytes, not characters", () => {
  expect(text("ls\r")).toBe("0:3:ls\r");
  expect(text("ä€")).toBe("0:5:ä€");
});
