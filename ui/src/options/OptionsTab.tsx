/** A guest's options, each with its own small dialog; what waits for the next start is shown beside. */

import { useState, type ReactNode } from "react";
import { Alert, Button, Checkbox, FormGroup, TextArea } from "@patternfly/react-core";
import { setOptions, usePending, type PendingRow } from "../api/guest";
import { settingsThen } from "../hardware/model";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField, plain, SelectField } from "../shell/fields";
import { Field, Help, useAttempt } from "../shell/form";
import { Panel } from "../shell/parts";
import type { Guest } from "../tree/model";
import { bootDevices, bootOrder, isOn, OPTIONS, turned, type OptionKey, type OptionRow } from "./model";
import { Setting, Settings, Waiting } from "./Settings";

export default function OptionsTab({ guest, refused }: { guest: Guest; refused: string | undefined }) {
  const t = useText();
  const pending = usePending(guest.node, guest.vmid);
  const [edited, setEdited] = useState<OptionKey>();
  if (pending.data === undefined) return pending.error && <Alert isInline variant="warning" title={pending.error.message} />;
  const rows = new Map(pending.data.map((row) => [row.key, row]));
  const then = settingsThen(pending.data);
  return (
    <Panel title={t.tab.options}>
      <Settings>
        {OPTIONS.map((option) => (
          <Setting
            key={option.key}
            name={t.options.names[option.key]}
            isDisabled={refused !== undefined}
            onEdit={() => setEdited(option.key)}
          >
            <Value option={option} row={rows.get(option.key)} />
          </Setting>
        ))}
      </Settings>
      {edited && <OptionDialog guest={guest} name={edited} settings={then} onClose={() => setEdited(undefined)} />}
    </Panel>
  );
}

function Value({ option, row }: { option: OptionRow; row: PendingRow | undefined }) {
  const t = useText();
  const word = (value: string | number | undefined): string => {
    const text = value === undefined ? undefined : String(value);
    if (option.kind === "flag") return isOn(text, option.standard) ? t.options.yes : t.options.no;
    if (option.kind === "boot") return (text ?? "").replace(/^order=/, "").split(";").filter(Boolean).join(", ") || "–";
    return text === undefined || text.trim() === "" ? "–" : text.trim();
  };
  if (row?.pending === undefined && !row?.delete) return <span className="kv-notes">{word(row?.value)}</span>;
  return <Waiting now={word(row.value)} then={word(row.delete ? undefined : row.pending)} />;
}

interface DialogProps {
  guest: Guest;
  name: OptionKey;
  settings: Readonly<Record<string, string>>;
  onClose: () => void;
}

function OptionDialog({ guest, name, settings, onClose }: DialogProps) {
  const t = useText();
  const option: OptionRow = OPTIONS.find(({ key }) => key === name) ?? { key: name, kind: "text" };
  const label = t.options.names[name];
  const before = settings[name];
  const [value, setValue] = useState(before ?? "");
  const { errors, attempt, ...state } = useAttempt(name);
  const submit = () =>
    attempt(async () => {
      const gone = value === "" && name in settings ? { delete: name } : {};
      await setOptions(guest.node, guest.vmid, value === "" ? gone : { [name]: value });
      onClose();
    });
  const error = errors[name];
  const fields: Record<OptionRow["kind"], () => ReactNode> = {
    text: () => <Field id={name} label={label} value={value} onChange={setValue} hint={hintOf(name, t.options.hints)} error={error} />,
    notes: () => (
      <FormGroup label={label} fieldId={name}>
        <TextArea id={name} value={value} rows={8} resizeOrientation="vertical" onChange={(_, text) => setValue(text)} />
        <Help id={name} error={error} />
      </FormGroup>
    ),
    flag: () => (
      <CheckField id={name} label={label} checked={isOn(value || undefined, option.standard)} onChange={(on) => setValue(turned(before, on))} />
    ),
    choice: () => (
      <SelectField
        id={name}
        label={label}
        value={value}
        options={[{ value: "", label: t.hardware.standard }, ...plain(option.words ?? [])]}
        onChange={setValue}
        error={error}
      />
    ),
    boot: () => <BootOrder value={value} settings={settings} onChange={setValue} />,
  };
  return (
    <Dialog title={t.options.editOf(label)} attempt={state} submit={t.hardware.save} onSubmit={() => void submit()} onClose={onClose}>
      {fields[option.kind]()}
      {option.kind === "flag" || option.kind === "boot" ? <Help id={`${name}-said`} error={error} /> : null}
    </Dialog>
  );
}

function hintOf(name: string, hints: Readonly<Record<string, string>>): string | undefined {
  return hints[name];
}

interface BootProps {
  value: string;
  settings: Readonly<Record<string, string>>;
  onChange: (value: string) => void;
}

function BootOrder({ value, settings, onChange }: BootProps) {
  const t = useText();
  const [devices, setDevices] = useState(() => bootDevices({ ...settings, boot: value }));
  const change = (next: typeof devices) => {
    setDevices(next);
    onChange(bootOrder(next));
  };
  const move = (index: number, by: number) => {
    const next = [...devices];
    const [moved] = next.splice(index, 1);
    if (moved) next.splice(index + by, 0, moved);
    change(next);
  };
  return (
    <ol className="kv-boot" aria-label={t.options.names.boot}>
      {devices.map(({ key, on }, index) => (
        <li key={key}>
          <Checkbox
            id={`boot-${key}`}
            label={key}
            isChecked={on}
            onChange={(_, next) => change(devices.map((each) => (each.key === key ? { key, on: next } : each)))}
          />
          <span className="kv-quiet kv-mono">{settings[key]?.split(",")[0]}</span>
          <Button size="sm" variant="plain" aria-label={t.options.up(key)} isDisabled={index === 0} onClick={() => move(index, -1)}>
            ↑
          </Button>
          <Button
            size="sm"
            variant="plain"
            aria-label={t.options.down(key)}
            isDisabled={index === devices.length - 1}
            onClick={() => move(index, 1)}
          >
            ↓
          </Button>
        </li>
      ))}
    </ol>
  );
}
