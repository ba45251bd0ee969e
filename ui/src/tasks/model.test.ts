import { describe, expect, test } from "vitest";
import type { TaskRow } from "../api/types";
import { de } from "../i18n/de";
import { en } from "../i18n/en";
import { lineTone, outcomeIn, progressOf, readUpid, sortTasks, taskState, taskTitle } from "./model";

const task = (upid: string, starttime: number, end?: string): TaskRow => ({
  upid,
  node: "n",
  type: "qmstart",
  id: "100",
  user: "root@pam",
  starttime,
  ...(end === undefined ? {} : { endtime: starttime + 1, status: end }),
});
const log = (...lines: string[]) => lines.map((t, index) => ({ n: index + 1, t }));

test.each([
  [undefined, undefined, "running"],
  [undefined, "running", "running"],
  [5, "OK", "ok"],
  [5, "WARNINGS: 2", "warnings"],
  [5, "no quorum", "failed"],
  [5, undefined, "unknown"],
] as const)("end %s with status %s is %s", (endtime, status, state) => {
  expect(taskState({ endtime, status })).toBe(state);
});

test("running tasks come first, then the newest", () => {
  const sorted = sortTasks([task("a", 1, "OK"), task("b", 9, "OK"), task("c", 2)]);
  expect(sorted.map((each) => each.upid)).toEqual(["c", "b", "a"]);
});

test("titles: known types by name, others as they are, in both languages", () => {
  expect(taskTitle({ type: "qmigrate", id: "100" }, en)).toBe("Migrate VM 100");
  expect(taskTitle({ type: "qmigrate", id: "100" }, de)).toBe("VM migrieren 100");
  expect(taskTitle({ type: "toString" }, en)).toBe("toString");
});

describe("a UPID", () => {
  test("is read, escapes undone", () => {
    const upid = "UPID:pve:0000ABCD:0001:65000000:imgdel:local\\x3aiso:root@pam!ci:";
    expect(readUpid(upid)).toEqual({
      upid,
      node: "pve",
      type: "imgdel",
      id: "local:iso",
      user: "root@pam!ci",
      starttime: 0x65000000,
    });
  });
  test.each(["", "UPID:a:b", "UPID::1:1:1:t:i:u:", "UPID:n:1:1:zz:t:i:u:"])("%j is none", (text) => {
    expect(readUpid(text)).toBeUndefined();
  });
});

describe("progress", () => {
  test("is the last percentage near the end", () => {
    expect(progressOf(log("10 %", "transferred 1 GiB (37.5%), 12.5 MiB/s"))).toBe(37.5);
    expect(progressOf(log("drive 20%, ram 30 %"))).toBe(30);
  });
  test("is not a number of something else, nor one from long ago", () => {
    expect(progressOf(log("400 %", "v1.20%"))).toBeUndefined();
    expect(progressOf(log("50 %", "a", "b", "c", "d", "e"))).toBeUndefined();
    expect(progressOf([])).toBeUndefined();
  });
});

test("the last line says how a task ended, in the words of its exit status", () => {
  expect(outcomeIn(log("a", "TASK OK"))).toBe("OK");
  expect(outcomeIn(log("TASK ERROR: no quorum"))).toBe("no quorum");
  expect(outcomeIn(log("TASK WARNINGS: 2"))).toBe("WARNINGS: 2");
  expect(outcomeIn(log("TASK OK", "more"))).toBeUndefined();
  expect(outcomeIn(undefined)).toBeUndefined();
});

test("lines have the tone of what they say", () => {
  expect(lineTone("TASK OK")).toBe("good");
  expect(lineTone("TASK ERROR: no quorum")).toBe("error");
  expect(lineTone("WARN: slow")).toBe("warning");
  expect(lineTone("errorless")).toBe("plain");
});
