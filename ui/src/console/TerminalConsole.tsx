/** A terminal by xterm: a guest's serial port, or a node's shell. */

import { useCallback } from "react";
import { useText } from "../i18n/text";
import { Screen } from "./Screen";
import { askConsole, keysFrame, openSocket } from "./socket";
import { useConsole, type Open, type Session } from "./useConsole";

/** Something is said so often, or proxies take the connection for dead. */
const ALIVE_MS = 30_000;
const OK = "OK";

/** `path` is a guest's or a node's; `serial` one of the guest's ports. */
export function TerminalConsole({ path, serial, label }: { path: string; serial?: string; label: string }) {
  const t = useText();
  const open = useCallback<Open<Session>>(
    async (screen, ended, opened) => {
      const [{ Terminal }, { FitAddon }, { opened: openedStrictly, strictDocument }, offer] = await Promise.all([
        import("@xterm/xterm"),
        import("@xterm/addon-fit"),
        import("./styles"),
        askConsole(path, "termproxy", { serial }),
        import("@xterm/xterm/css/xterm.css"),
      ]);
      const terminal = new Terminal({
        documentOverride: strictDocument(),
        fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--kv-mono"),
        fontSize: 14,
        scrollback: 5000,
        theme: { background: "#0b1619", foreground: "#dfe9e8" },
      });
      const fit = new FitAddon();
      terminal.loadAddon(fit);
      openedStrictly(() => terminal.open(screen));
      fit.fit();
      const socket = openSocket(path, offer);
      let taken = false;
      const send = (data: string | Uint8Array<ArrayBuffer>) => {
        if (taken && socket.readyState === WebSocket.OPEN) socket.send(data);
      };
      const size = () => send(`1:${terminal.cols}:${terminal.rows}:`);
      socket.addEventListener("open", () => socket.send(`${offer.user}:${offer.ticket}\n`));
      socket.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) => {
        if (!taken && new TextDecoder().decode(data) === OK) {
          taken = true;
          opened();
          size();
          terminal.focus();
        } else terminal.write(new Uint8Array(data));
      });
      const alive = setInterval(() => send("2"), ALIVE_MS);
      const watch = new ResizeObserver(() => fit.fit());
      watch.observe(screen);
      terminal.onResize(size);
      terminal.onData((keys) => send(keysFrame(keys)));
      socket.addEventListener("close", ({ reason }) => {
        clearInterval(alive);
        ended(reason);
      });
      return {
        close: () => {
          clearInterval(alive);
          watch.disconnect();
          socket.close();
          terminal.dispose();
        },
      };
    },
    [path, serial],
  );
  const { screen, state, again } = useConsole(open);
  return <Screen {...{ screen, state, again }} kind="terminal" label={t.console.terminalOf(label)} />;
}
