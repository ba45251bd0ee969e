import { expect, test } from "vitest";
import { BEGINNING, readPiece, type ServerEvent } from "./sse";

const STREAM =
  'id: a-0\nevent: hello\ndata: {}\n\n: still here\n\nid: a-1\nevent: task\ndata: {"upid":"U"}\n\nid: a-2\n: still here\n\n';

function readAll(pieces: string[]) {
  let reading = BEGINNING;
  const events: ServerEvent[] = [];
  for (const piece of pieces) {
    const step = readPiece(reading, piece);
    reading = step.reading;
    events.push(...step.events);
  }
  return { reading, events };
}

test("events have a name, data and the id they stand at; comments are none", () => {
  const { reading, events } = readAll([STREAM]);
  expect(events).toEqual([
    { name: "hello", data: "{}", id: "a-0" },
    { name: "task", data: '{"upid":"U"}', id: "a-1" },
  ]);
  expect(reading).toEqual({ rest: "", id: "a-2" });
});

test("it does not matter where the stream is cut in pieces", () => {
  const whole = readAll([STREAM]);
  for (let at = 0; at <= STREAM.length; at += 1) {
    expect(readAll([STREAM.slice(0, at), STREAM.slice(at)])).toEqual(whole);
  }
  expect(readAll(Array.from(STREAM))).toEqual(whole);
});

test("carriage returns and several lines of data are read as the standard has it", () => {
  expect(readAll(["data: a\r\nda", "ta:b\r", "\n\r\n"]).events).toEqual([{ name: "message", data: "a\nb", id: "" }]);
});

test("what is not whole yet is no event", () => {
  expect(readAll(["event: task\ndata: {}\n"]).events).toEqual([]);
});
