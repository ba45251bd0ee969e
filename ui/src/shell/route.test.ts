import { expect, test } from "vitest";
import { hrefOf, parseRoute, type Route } from "./route";

test.each<Route>([{ view: "datacenter" }, { view: "node", node: "n1" }, { view: "guest", vmid: 100 }])(
  "%j survives its address",
  (route) => {
    expect(parseRoute(hrefOf(route))).toEqual(route);
  },
);

test.each(["", "#/x", "#/guest/abc", "#/node/", "#/guest"])("%j is the datacenter", (hash) => {
  expect(parseRoute(hash)).toEqual({ view: "datacenter" });
});
