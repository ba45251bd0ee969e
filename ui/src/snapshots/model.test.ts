import { expect, test } from "vitest";
import { isName, treeOf } from "./model";

const shown = (rows: Parameters<typeof treeOf>[0]) => treeOf(rows).map(({ row, depth }) => `${depth} ${row.name}`);

test("a tree with what is now where it came from", () => {
  const rows = [
    { name: "b", parent: "a", snaptime: 20 },
    { name: "a", snaptime: 10 },
    { name: "c", parent: "a", snaptime: 15 },
    { name: "current", parent: "c" },
  ];
  expect(shown(rows)).toEqual(["0 a", "1 c", "2 current", "1 b"]);
});

test("whose parent is gone stands at the top; a circle hides itself, not the others", () => {
  expect(shown([{ name: "a", parent: "gone", snaptime: 1 }, { name: "current" }])).toEqual(["0 a", "0 current"]);
  expect(shown([{ name: "a", parent: "b" }, { name: "b", parent: "a" }, { name: "current" }])).toEqual(["0 current"]);
});

test.each([["before-update", true], ["a", false], ["1st", false], ["current", false], ["with blank", false], ["x".repeat(41), false]])(
  "%s: %s",
  (name, good) => expect(isName(name)).toBe(good),
);
