/** A guest's settings as a table: each with its name, what it is, and a button that edits it. */

import type { ReactNode } from "react";
import { Button } from "@patternfly/react-core";
import { useText } from "../i18n/text";

/** Names, values and actions; its heads are for who can't see the table. */
export function Settings({ children }: { children: ReactNode }) {
  const t = useText();
  return (
    <table className="kv-table kv-parts">
      <thead className="kv-sr">
        <tr>
          <th scope="col">{t.column.key}</th>
          <th scope="col">{t.column.value}</th>
          <th scope="col">{t.guest.actions}</th>
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

interface SettingProps {
  name: string;
  waits?: boolean;
  isDisabled: boolean;
  onEdit: () => void;
  /** its value */
  children: ReactNode;
}

export function Setting({ name, waits, isDisabled, onEdit, children }: SettingProps) {
  const t = useText();
  return (
    <tr data-waits={waits}>
      <th scope="row">{name}</th>
      <td>{children}</td>
      <td className="kv-acts">
        <Button variant="link" isInline isDisabled={isDisabled} aria-label={t.options.editOf(name)} onClick={onEdit}>
          {t.hardware.edit}
        </Button>
      </td>
    </tr>
  );
}

/** What a setting is, and beside it what it will be. */
export function Waiting({ now, then }: { now: string; then: string }) {
  return (
    <>
      <span className="kv-before">{now}</span>
      <span className="kv-after">{then}</span>
    </>
  );
}
