import { expect, test } from "vitest";
import { base32, grouped, otpauth } from "./generator";

// RFC 4648, section 10, without the padding.
test.each([
  ["", ""],
  ["f", "MY"],
  ["fo", "MZXQ"],
  ["foo", "MZXW6"],
  ["foob", "MZXW6YQ"],
  ["fooba", "MZXW6YTB"],
  ["foobar", "MZXW6YTBOI"],
])("%j in base32", (text, encoded) => {
  expect(base32(new TextEncoder().encode(text))).toBe(encoded);
});

test("all bits of high bytes are kept", () => {
  expect(base32(new Uint8Array(20).fill(255))).toBe("7".repeat(32));
});

test("the address names issuer and user, escaped", () => {
  expect(otpauth("anna@pve", "MZXW6YTB", "my home")).toBe(
    "otpauth://totp/my%20home:anna%40pve?secret=MZXW6YTB&issuer=my%20home&algorithm=SHA1&digits=6&period=30",
  );
});

test("a secret is typed in groups", () => {
  expect(grouped("MZXW6YTBOI")).toBe("MZXW 6YTB OI");
});
