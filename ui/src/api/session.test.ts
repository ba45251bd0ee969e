import { expect, test } from "vitest";
import { ticketInCookie, userOf } from "./session";

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
