/** Reads a stream of server-sent events (WHATWG HTML, 9.2) as it comes in pieces. Pure. */

export interface ServerEvent {
  name: string;
  data: string;
  /** what to say in Last-Event-ID from here on; "" when the stream has said none */
  id: string;
}

export interface Reading {
  /** what has come of a block that is not whole yet */
  rest: string;
  id: string;
}

export const BEGINNING: Reading = { rest: "", id: "" };

/** Takes the next piece; returns the events that are whole now. A block without data only sets the id. */
export function readPiece(reading: Reading, piece: string): { reading: Reading; events: ServerEvent[] } {
  const blocks = (reading.rest + piece.replaceAll("\r", "")).split("\n\n");
  const rest = blocks.pop() ?? "";
  const events: ServerEvent[] = [];
  let id = reading.id;
  for (const block of blocks) {
    let name = "message";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === "id") id = value;
      else if (field === "event") name = value;
      else if (field === "data") data.push(value);
    }
    if (data.length > 0) events.push({ name, data: data.join("\n"), id });
  }
  return { reading: { rest, id }, events };
}
