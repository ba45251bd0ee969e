/** The websocket of a console: asked for, opened, and why it closed. */

import type { ConsoleOffer } from "../api/guest";
import { call } from "../api/client";

export type Kind = "vncproxy" | "termproxy";

/** Asks for a console of what lies at `path`, a node or a guest. */
export async function askConsole(path: string, kind: Kind, more: Record<string, string | undefined> = {}): Promise<ConsoleOffer> {
  const websocket = kind === "vncproxy" ? 1 : undefined;
  return call<ConsoleOffer>("POST", `${path}/${kind}`, { websocket, ...more });
}

/** Opens it. Browsers send the ticket's cookie along. */
export function openSocket(path: string, offer: ConsoleOffer): WebSocket {
  const query = new URLSearchParams({ port: String(offer.port), vncticket: offer.ticket });
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api2/json${path}/vncwebsocket?${query.toString()}`, ["binary"]);
  socket.binaryType = "arraybuffer";
  return socket;
}

/** A terminal's frame of keys: their length counts bytes. */
export function keysFrame(keys: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(keys);
  const head = new TextEncoder().encode(`0:${bytes.length}:`);
  const frame = new Uint8Array(head.length + bytes.length);
  frame.set(head);
  frame.set(bytes, head.length);
  return frame;
}
