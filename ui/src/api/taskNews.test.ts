import { expect, test } from "vitest";
import { NO_NEWS, withEvents, withLines, withStatus } from "./taskNews";

const event = (name: string, data: unknown) => ({ name, data: JSON.stringify(data), id: "" });
const log = (n: number) => event("log", { n, t: `line ${n}` });

test("lines come once and in order, also when a stream begins before where another ended", () => {
  const news = withEvents(withEvents(NO_NEWS, [log(1), log(2)]), [log(1), log(2), log(3)]);
  expect(news.lines.map((line) => line.n)).toEqual([1, 2, 3]);
  expect(withLines(news, news.lines)).toBe(news);
});

test("progress stands until the next, and the end takes it away", () => {
  const news = withEvents(NO_NEWS, [event("progress", { progress: 0.5, doing: "copying" }), log(1)]);
  expect(news).toMatchObject({ progress: 0.5, doing: "copying", exit: undefined });
  expect(withEvents(news, [event("end", { exitstatus: "OK", endtime: 9 })])).toMatchObject({ progress: undefined, exit: "OK" });
});

test("asking says the same as the stream", () => {
  const upid = "UPID:";
  expect(withStatus(NO_NEWS, { upid, status: "running", progress: 0.2, doing: "x" })).toMatchObject({ progress: 0.2, doing: "x" });
  expect(withStatus(NO_NEWS, { upid, status: "stopped", exitstatus: "no quorum" }).exit).toBe("no quorum");
});

test("a broken event changes nothing", () => {
  expect(withEvents(NO_NEWS, [{ name: "log", data: "{", id: "" }])).toEqual(NO_NEWS);
});
