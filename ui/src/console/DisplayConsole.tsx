/** A guest's display by noVNC: the server scales nothing, the page fits it into the screen. */

import { useCallback, useRef } from "react";
import { Button, DropdownItem } from "@patternfly/react-core";
import type RFB from "@novnc/novnc";
import { guestPath } from "../api/paths";
import { useText } from "../i18n/text";
import { Menu } from "../shell/Menu";
import { KEYS, keysymOf } from "./keys";
import { Screen } from "./Screen";
import { SpiceFile } from "./SpiceFile";
import { askConsole, openSocket } from "./socket";
import { useConsole, type Open, type Session } from "./useConsole";

interface Display extends Session {
  rfb: RFB;
}

interface Props {
  node: string;
  vmid: number;
  name: string;
  /** whether it is had by SPICE too */
  spice: boolean;
}

export function DisplayConsole({ node, vmid, name, spice }: Props) {
  const t = useText();
  const typed = useRef<HTMLInputElement>(null);
  const path = guestPath(node, vmid);
  const open = useCallback<Open<Display>>(
    async (screen, ended, opened) => {
      const [{ default: Client }, offer] = await Promise.all([import("@novnc/novnc"), askConsole(path, "vncproxy")]);
      const socket = openSocket(path, offer);
      let why = "";
      let over = false;
      socket.addEventListener("close", (event) => (why = event.reason));
      const rfb = new Client(screen, socket, { shared: true, credentials: { password: offer.ticket } });
      rfb.scaleViewport = true;
      rfb.background = "transparent";
      rfb.addEventListener("connect", () => {
        opened();
        rfb.focus();
      });
      rfb.addEventListener("disconnect", () => {
        over = true;
        ended(why);
      });
      return {
        rfb,
        close: () => {
          if (!over) rfb.disconnect();
        },
      };
    },
    [path],
  );
  const { session, ...console } = useConsole(open);
  const press = (keys: readonly string[]) => {
    const rfb = session.current?.rfb;
    for (const key of keys) rfb?.sendKey(keysymOf(key), null, true);
    for (const key of [...keys].reverse()) rfb?.sendKey(keysymOf(key), null, false);
    rfb?.focus();
  };
  /** What a phone's keyboard gives: no keys, but text. */
  const type = (text: string) => {
    for (const character of text) session.current?.rfb.sendKey(keysymOf(character), null);
  };
  return (
    <Screen {...console} kind="display" label={t.console.displayOf(name)}>
      <input
        className="kv-sr"
        ref={typed}
        tabIndex={-1}
        aria-label={t.console.keyboard}
        autoCapitalize="off"
        autoComplete="off"
        onInput={(event) => {
          type(event.currentTarget.value);
          event.currentTarget.value = "";
        }}
        onKeyDown={(event) => {
          if (event.key.length > 1 && event.key in KEYS) press([event.key]);
        }}
      />
      <Button className="kv-touch" size="sm" variant="secondary" onClick={() => typed.current?.focus()}>
        {t.console.keyboard}
      </Button>
      <Button size="sm" variant="secondary" isDisabled={console.state.kind !== "open"} onClick={() => press(COMBINATIONS[0])}>
        Ctrl-Alt-Del
      </Button>
      <MoreKeys disabled={console.state.kind !== "open"} onPress={press} />
      {spice && <SpiceFile path={path} vmid={vmid} />}
      <Button
        component="a"
        size="sm"
        variant="secondary"
        href={`/api2/png/kvorum${path}/screenshot`}
        download={`vm-${vmid}.png`}
      >
        {t.console.screenshot}
      </Button>
    </Screen>
  );
}

const COMBINATIONS: readonly [readonly string[], ...(readonly string[])[]] = [
  ["Control", "Alt", "Delete"],
  ["Control", "Alt", "Backspace"],
  ["Control", "Alt", "F1"],
  ["Control", "Alt", "F2"],
  ["Control", "Alt", "F7"],
  ["Alt", "Tab"],
  ["Alt", "F4"],
  ["Meta"],
  ["Escape"],
  ["Tab"],
];
const WORDS: Readonly<Record<string, string>> = { Control: "Ctrl", Delete: "Del", Escape: "Esc" };

function MoreKeys({ disabled, onPress }: { disabled: boolean; onPress: (keys: readonly string[]) => void }) {
  const t = useText();
  return (
    <Menu label={t.console.keys} isDisabled={disabled} isInline>
      {COMBINATIONS.slice(1).map((keys) => (
        <DropdownItem key={keys.join("-")} onClick={() => onPress(keys)}>
          {keys.map((key) => WORDS[key] ?? key).join("-")}
        </DropdownItem>
      ))}
    </Menu>
  );
}
