import { expect, test } from "vitest";
import { challengeIn, ticketInCookie, userOf } from "./session";

const TICKET = "PVE:root@pam:5F000000::c2ln/+==";

test("the ticket is found among other cookies, percent-encoded or raw", () => {
  expect(ticketInCookie(`a=b; PVEAuthCookie=${encodeURIComponent(TICKET)}`)).toBe(TICKET);
  expect(ticketInCookie(`PVEAuthCookie=${TICKET}`)).toBe(TICKET);
});

test("no cookie, an empty one or a broken one is no ticket", () => {
  expect(ticketInCookie("")).toBeUndefined();
  expect(ticketInCookie("PVEAuthCookie=")).toBeUndefined();
  expect(ticketInCookie("PVEAuthCookie=%")).toBeUndefined();
});

test("a ticket names its user", () => {
  expect(userOf(TICKET)).toBe("root@pam");
});

test.each([
  ['{"totp":true}', true, false],
  ['{"totp":false,"recovery":"available"}', false, true],
  ['{"totp":true,"recovery":"low"}', true, "low"],
  ['{"totp":true,"recovery":"unavailable"}', true, false],
  ["no JSON", true, true],
])("the challenge %s asks for a password of the generator: %s, or a recovery key: %s", (asked, totp, recovery) => {
  const ticket = `PVE:!tfa!${encodeURIComponent(asked)}:5F000000::c2ln`;
  expect(challengeIn("anna@pve", ticket)).toEqual({ user: "anna@pve", ticket, totp, recovery });
});
