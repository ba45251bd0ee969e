/** A guest's consoles: its display and its serial ports, one at a time, while it runs. */

import { useState } from "react";
import { Button, ToggleGroup, ToggleGroupItem } from "@patternfly/react-core";
import type { GuestConfig } from "../api/types";
import { guestPath } from "../api/paths";
import { useDoing } from "../guest/doing";
import { useText } from "../i18n/text";
import type { Guest } from "../tree/model";
import { consolesOf, hasSpice } from "./consoles";
import { DisplayConsole } from "./DisplayConsole";
import { TerminalConsole } from "./TerminalConsole";

export default function ConsoleTab({ guest, config }: { guest: Guest; config: GuestConfig | undefined }) {
  const t = useText();
  const { begin } = useDoing();
  const [picked, setPicked] = useState<string>();
  if (guest.state === "stopped" || guest.state === "template") {
    return (
      <div className="kv-empty">
        <p>{guest.state === "template" ? t.guest.isTemplate : t.console.off}</p>
        {guest.state === "stopped" && <Button onClick={() => begin(guest, "start")}>{t.guest.start}</Button>}
      </div>
    );
  }
  if (config === undefined) return null;
  const consoles = consolesOf(config);
  const shown = consoles.find((name) => name === picked) ?? consoles[0];
  if (shown === undefined) return <p className="kv-quiet">{t.console.none}</p>;
  const name = `${guest.vmid} ${guest.name}`;
  return (
    <>
      {consoles.length > 1 && (
        <ToggleGroup className="kv-consoles" aria-label={t.console.which} isCompact>
          {consoles.map((each) => (
            <ToggleGroupItem
              key={each}
              text={each === "display" ? t.console.display : t.console.serial(each)}
              isSelected={each === shown}
              onChange={() => setPicked(each)}
            />
          ))}
        </ToggleGroup>
      )}
      {shown === "display" ? (
        <DisplayConsole key={guest.node} node={guest.node} vmid={guest.vmid} name={name} spice={hasSpice(config)} />
      ) : (
        <TerminalConsole key={`${guest.node} ${shown}`} path={guestPath(guest.node, guest.vmid)} serial={shown} label={name} />
      )}
    </>
  );
}
