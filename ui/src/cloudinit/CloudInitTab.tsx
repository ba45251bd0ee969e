/** What a guest's cloud-init is told: shown, edited, and written to its drive anew. */

import { useState, type ReactNode } from "react";
import { Alert, Button, FormGroup, TextArea } from "@patternfly/react-core";
import { renewCloudInit, setOptions, useCloudInit, usePending } from "../api/guest";
import { hasCloudInit, settingsThen } from "../hardware/model";
import { useText } from "../i18n/text";
import { Setting, Settings, Waiting } from "../options/Settings";
import { Dialog } from "../shell/Dialog";
import { CheckField, SelectField } from "../shell/fields";
import { Failure, Field, Help, useAttempt } from "../shell/form";
import { Panel } from "../shell/parts";
import type { Guest } from "../tree/model";
import { isOld, keysInWords, printAddresses, printKeys, readAddresses, readKeys, rowsOf, type CloudRow } from "./model";

export default function CloudInitTab({ guest, refused }: { guest: Guest; refused: string | undefined }) {
  const t = useText();
  const pending = usePending(guest.node, guest.vmid);
  const drive = useCloudInit(guest.node, guest.vmid);
  const [edited, setEdited] = useState<string>();
  const { attempt, failure, working } = useAttempt();
  const error = pending.error ?? drive.error;
  if (pending.data === undefined || drive.data === undefined) {
    return error && <Alert isInline variant="warning" title={error.message} />;
  }
  const settings = settingsThen(pending.data);
  const present = hasCloudInit(pending.data);
  const disabled = refused !== undefined || guest.state === "template";
  return (
    <Panel
      title={t.tab.cloudinit}
      aside={
        present && (
          <Button
            size="sm"
            variant="secondary"
            isDisabled={refused !== undefined || working}
            onClick={() => void attempt(() => renewCloudInit(guest.node, guest.vmid))}
          >
            {t.cloudinit.renew}
          </Button>
        )
      }
    >
      <Failure text={failure} />
      {!present && <Alert isInline variant="info" title={t.cloudinit.noDrive} />}
      {present && isOld(drive.data) && <Alert isInline isPlain variant="info" title={t.cloudinit.old} />}
      <Settings>
        {rowsOf(settings, present ? drive.data : []).map((row) => (
          <Setting
            key={row.key}
            name={label(row.key, t)}
            waits={row.pending !== undefined || row.goes}
            isDisabled={disabled}
            onEdit={() => setEdited(row.key)}
          >
            <Value row={row} />
          </Setting>
        ))}
      </Settings>
      {edited && <EditDialog guest={guest} name={edited} settings={settings} onClose={() => setEdited(undefined)} />}
    </Panel>
  );
}

type Dictionary = ReturnType<typeof useText>;

function label(key: string, t: Dictionary): string {
  const card = /^ipconfig(\d+)$/.exec(key)?.[1];
  return card === undefined ? ((t.cloudinit.names as Record<string, string>)[key] ?? key) : t.cloudinit.addressesOf(`net${card}`);
}

function Value({ row }: { row: CloudRow }) {
  const t = useText();
  const word = (value: string | undefined): string => {
    if (row.key === "ciupgrade") return value === "0" ? t.options.no : t.options.yes;
    if (value === undefined || value === "") return "–";
    return row.key === "sshkeys" ? keysInWords(value) : value;
  };
  if (row.pending === undefined && !row.goes) return <span>{word(row.value)}</span>;
  return <Waiting now={word(row.value)} then={word(row.goes ? undefined : row.pending)} />;
}

interface EditProps {
  guest: Guest;
  name: string;
  settings: Readonly<Record<string, string>>;
  onClose: () => void;
}

function EditDialog({ guest, name, settings, onClose }: EditProps) {
  const t = useText();
  const before = settings[name] ?? "";
  const first = name === "sshkeys" ? readKeys(before) : name === "cipassword" ? "" : before;
  const [value, setValue] = useState(first);
  const { errors, attempt, ...state } = useAttempt(name);
  const text = name === "sshkeys" ? printKeys(value) : value;
  const submit = () =>
    attempt(async () => {
      const gone = name in settings ? { delete: name } : {};
      await setOptions(guest.node, guest.vmid, text === "" ? gone : { [name]: text });
      onClose();
    });
  const error = errors[name];
  const title = label(name, t);
  return (
    <Dialog title={t.options.editOf(title)} attempt={state} submit={t.hardware.save} onSubmit={() => void submit()} onClose={onClose}>
      {field({ name, title, value, error, onChange: setValue }, t)}
    </Dialog>
  );
}

interface FieldProps {
  name: string;
  title: string;
  value: string;
  error: string | undefined;
  onChange: (value: string) => void;
}

function field({ name, title, value, error, onChange }: FieldProps, t: Dictionary): ReactNode {
  const hint = (t.cloudinit.hints as Record<string, string>)[name];
  if (name.startsWith("ipconfig")) return <AddressFields value={value} error={error} onChange={onChange} />;
  if (name === "ciupgrade") {
    return <CheckField id={name} label={title} checked={value !== "0"} onChange={(on) => onChange(on ? "1" : "0")} />;
  }
  if (name === "sshkeys") {
    return (
      <FormGroup label={title} fieldId={name}>
        <TextArea id={name} value={value} rows={6} resizeOrientation="vertical" spellCheck={false} onChange={(_, text) => onChange(text)} />
        <Help id={name} hint={hint} error={error} />
      </FormGroup>
    );
  }
  const secret = name === "cipassword" ? { secret: "new-password" as const } : {};
  return <Field id={name} label={title} value={value} onChange={onChange} hint={hint} error={error} {...secret} />;
}

function AddressFields({ value, error, onChange }: Pick<FieldProps, "value" | "error" | "onChange">) {
  const t = useText();
  const [wish, setWish] = useState(readAddresses(value));
  const set = (part: Partial<typeof wish>) => {
    const next = { ...wish, ...part };
    setWish(next);
    onChange(printAddresses(next));
  };
  const { ways } = t.cloudinit;
  const options = (names: readonly (keyof typeof ways)[]) => names.map((way) => ({ value: way, label: ways[way] }));
  return (
    <>
      <SelectField
        id="how4"
        label="IPv4"
        value={wish.how4}
        options={options(["none", "dhcp", "static"])}
        onChange={(how) => set({ how4: how as typeof wish.how4 })}
        error={error}
      />
      {wish.how4 === "static" && (
        <div className="kv-pair">
          <Field id="ip" label={t.network.cidr} value={wish.ip} onChange={(ip) => set({ ip })} hint={t.network.cidrHint} />
          <Field id="gw" label={t.network.gateway} value={wish.gw} onChange={(gw) => set({ gw })} />
        </div>
      )}
      <SelectField
        id="how6"
        label="IPv6"
        value={wish.how6}
        options={options(["none", "dhcp", "auto", "static"])}
        onChange={(how) => set({ how6: how as typeof wish.how6 })}
      />
      {wish.how6 === "static" && (
        <div className="kv-pair">
          <Field id="ip6" label={t.network.cidr6} value={wish.ip6} onChange={(ip6) => set({ ip6 })} />
          <Field id="gw6" label={t.network.gateway6} value={wish.gw6} onChange={(gw6) => set({ gw6 })} />
        </div>
      )}
    </>
  );
}
