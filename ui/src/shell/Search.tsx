/** Finds a guest by id, name, node or tag; "/" jumps here from anywhere. */

import { useEffect, useRef, useState } from "react";
import SearchIcon from "@patternfly/react-icons/dist/esm/icons/search-icon";
import { useText } from "../i18n/text";
import { GuestIcon } from "../tree/icons";
import { matchGuests, type Guest } from "../tree/model";
import { goTo } from "./route";

const SHOWN = 12;

export function Search({ guests }: { guests: Guest[] }) {
  const t = useText();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const [open, setOpen] = useState(false);
  const found = matchGuests(guests, text, SHOWN);
  const at = Math.min(chosen, Math.max(0, found.length - 1));
  useSlashKey(() => input.current?.focus());

  const go = (guest: Guest | undefined) => {
    if (!guest) return;
    goTo({ view: "guest", vmid: guest.vmid });
    setText("");
    setOpen(false);
    input.current?.blur();
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === "ArrowDown") setChosen(Math.min(at + 1, found.length - 1));
    else if (event.key === "ArrowUp") setChosen(Math.max(at - 1, 0));
    else if (event.key === "Enter") go(found[at]);
    else if (event.key === "Escape") setOpen(false);
    else return;
    event.preventDefault();
  };
  const showing = open && text.trim() !== "";
  return (
    <div className="kv-search" role="search">
      <SearchIcon className="kv-search-icon" />
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label={t.shell.search}
        aria-expanded={showing}
        aria-controls="found"
        aria-activedescendant={showing && found.length > 0 ? `found-${at}` : undefined}
        autoComplete="off"
        spellCheck={false}
        placeholder={t.shell.searchHint}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setChosen(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
      />
      <ul className="kv-found" id="found" role="listbox" aria-label={t.guests} hidden={!showing}>
        {showing &&
          found.map((guest, index) => (
            <li
              key={guest.vmid}
              id={`found-${index}`}
              role="option"
              aria-selected={index === at}
              onMouseDown={(event) => {
                event.preventDefault();
                go(guest);
              }}
            >
              <GuestIcon guest={guest} />
              <span className="kv-vmid">{guest.vmid}</span> {guest.name}
              <span className="kv-quiet"> {t.guest.onNode(guest.node)}</span>
            </li>
          ))}
        {showing && found.length === 0 && <li className="kv-quiet">{t.shell.noMatch(text.trim())}</li>}
      </ul>
    </div>
  );
}

function useSlashKey(act: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
}
