import { expect, test } from "vitest";
import { informationText, readInvitation } from "./invitation";

const FINGERPRINT = Array<string>(32).fill("AB").join(":");
const ANSWER = {
  preferred_node: "pve",
  config_digest: "0",
  totem: { cluster_name: "home", version: "2", interface: { "0": { linknumber: "0" } } },
  nodelist: [
    { name: "pve2", pve_addr: "10.0.0.2", pve_fp: "", ring0_addr: "10.0.0.2" },
    { name: "pve", pve_addr: "10.0.0.1", pve_fp: FINGERPRINT, ring1_addr: "10.1.0.1", ring0_addr: "10.0.0.1" },
  ],
};
/** Made by kvorum.cluster.join_token.Ticket. */
const TOKEN =
  "kvorum-join-lQGrMTk4LjE4LjEwLjHEIKurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urggCrMTk4LjE4LjEwLjEBqzE5OC4xOC4xMS4xxBAAESIzRFVmd4iZqrvM3e7_";

test("what is copied is the known base64 of JSON about the preferred node", () => {
  expect(JSON.parse(atob(informationText(ANSWER)))).toEqual({
    ipAddress: "10.0.0.1",
    fingerprint: FINGERPRINT,
    peerLinks: { 0: "10.0.0.1", 1: "10.1.0.1" },
    ring_addr: ["10.0.0.1", "10.1.0.1"],
    totem: ANSWER.totem,
  });
});

test("what is copied here is read there, line breaks and all", () => {
  const pasted = informationText(ANSWER).replace(/.{40}/g, "$&\n ");
  expect(readInvitation(pasted)).toEqual({
    address: "10.0.0.1",
    fingerprint: FINGERPRINT,
    links: new Map([
      [0, "10.0.0.1"],
      [1, "10.1.0.1"],
    ]),
    cluster: "home",
    token: undefined,
  });
});

test("information of before there were numbered links has a list of rings", () => {
  const old = { ipAddress: "10.0.0.1", fingerprint: FINGERPRINT, ring_addr: ["10.0.0.1"], totem: {} };
  expect(readInvitation(btoa(JSON.stringify(old)))?.links).toEqual(new Map([[0, "10.0.0.1"]]));
});

test("a join token tells the peer, its fingerprint and its links", () => {
  expect(readInvitation(`${TOKEN}\n`)).toEqual({
    address: "198.18.10.1",
    fingerprint: FINGERPRINT,
    links: new Map([
      [0, "198.18.10.1"],
      [1, "198.18.11.1"],
    ]),
    cluster: undefined,
    token: TOKEN,
  });
});

test.each([
  "",
  "hello",
  btoa("[]"),
  btoa('{"ipAddress":"10.0.0.1"}'),
  btoa('{"ipAddress":"10.0.0.1","fingerprint":"AB:CD"}'),
  TOKEN.slice(0, -8),
  `${TOKEN}AAAA`,
  "kvorum-join-",
])("%j is neither, or not all of it", (text) => {
  expect(readInvitation(text)).toBeUndefined();
});
