/** What a node or a guest looks like in one glance; the state is also there as text. */

import DesktopIcon from "@patternfly/react-icons/dist/esm/icons/desktop-icon";
import LockIcon from "@patternfly/react-icons/dist/esm/icons/lock-icon";
import DatabaseIcon from "@patternfly/react-icons/dist/esm/icons/database-icon";
import ServerIcon from "@patternfly/react-icons/dist/esm/icons/server-icon";
import type { Dictionary } from "../i18n/en";
import { useText } from "../i18n/text";
import { isHibernated, type Guest, type Node, type Storage } from "./model";

export function NodeIcon({ node }: { node: Node }) {
  const t = useText();
  return (
    <span className="kv-icon" data-state={node.state} title={t.state[node.state]}>
      <ServerIcon />
      <span className="kv-dot" />
      <span className="kv-sr">{t.state[node.state]}</span>
    </span>
  );
}

export function GuestIcon({ guest }: { guest: Guest }) {
  const t = useText();
  const text = guestState(guest, t);
  return (
    <span className="kv-icon" data-state={guest.state} title={text}>
      <DesktopIcon />
      {guest.lock ? <LockIcon className="kv-lock" /> : <span className="kv-dot" />}
      <span className="kv-sr">{text}</span>
    </span>
  );
}

export function StorageIcon({ storage }: { storage: Storage }) {
  const t = useText();
  const text = storage.available ? t.state.available : t.state.unknown;
  return (
    <span className="kv-icon" data-state={storage.available ? "available" : "unknown"} title={text}>
      <DatabaseIcon />
      {!storage.available && <span className="kv-dot" />}
      <span className="kv-sr">{text}</span>
    </span>
  );
}

/** How a guest is, in words; what holds it comes first. */
export function guestState(guest: Guest, t: Dictionary): string {
  if (isHibernated(guest)) return t.state.hibernated;
  return guest.lock ? t.state.locked(guest.lock) : t.state[guest.state];
}

/** A state as a coloured word. */
export function StateText({ state, text }: { state: string; text: string }) {
  return (
    <span className="kv-state" data-state={state}>
      {text}
    </span>
  );
}
