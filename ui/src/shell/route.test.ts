import { expect, test } from "vitest";
import { hrefOf, parseRoute, type Route } from "./route";

test.each<Route>([
  { view: "datacenter" },
  { view: "datacenter", tab: "cluster" },
  { view: "node", node: "n1" },
  { view: "node", node: "n1", tab: "tasks" },
  { view: "storage", node: "n1", storage: "local" },
  { view: "guest", vmid: 100 },
  { view: "guest", vmid: 100, tab: "tasks" },
])("%j survives its address", (route) => {
  expect(parseRoute(hrefOf(route))).toEqual(route);
});

test.each(["", "#/x", "#/guest/abc", "#/node/", "#/storage/n1", "#/guest", "#/datacenter", "#/x/cluster"])(
  "%j is the datacenter",
  (hash) => {
    expect(parseRoute(hash)).toEqual({ view: "datacenter" });
  },
);

test("a tab that the place does not have is its first one", () => {
  expect(parseRoute("#/guest/100/cluster")).toEqual({ view: "guest", vmid: 100 });
  expect(parseRoute("#/node/n1/summary")).toEqual({ view: "node", node: "n1" });
});
