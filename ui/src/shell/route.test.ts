import { expect, test } from "vitest";
import { hrefOf, parseRoute, type Route } from "./route";

test.each<Route>([{ view: "datacenter" }, { view: "node", node: "n1" }, { view: "storage", node: "n1", storage: "local" }, { view: "guest", vmid: 100 }])(
  "%j survives its address",
  (route) => {
    expect(parseRoute(hrefOf(route))).toEqual(route);
  },
);

test.each(["", "#/x", "#/guest/abc", "#/node/", "#/storage/n1", "#/guest"])("%j is the datacenter", (hash) => {
  expect(parseRoute(hash)).toEqual({ view: "datacenter" });
});
