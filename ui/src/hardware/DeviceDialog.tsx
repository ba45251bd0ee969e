/** The dialogs of a guest's parts: one for each kind, and those that grow, attach and take away. */

import { useState, type ReactNode } from "react";
import { growDisk, setDevices, setOptions, type PendingRow, type Settings } from "../api/guest";
import { freeKey } from "../guest/properties";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { plain, SelectField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";
import { drive } from "./describe";
import { BUSES, CdFields, cdValue, DiskFields, diskValue, firstCd, firstDisk, readDisk } from "./drives";
import { CpuFields, cpuSettings, MemoryFields, memorySettings, NicFields, NO_NIC, SimpleField } from "./fields";
import { printNic, readNic } from "../guest/properties";
import { settingsThen, takenKeys, type Kind, type Part, type Values } from "./model";

/** What is asked for: of a part that is there, or a new one. */
export type Wanted = { does: "add"; kind: Kind } | { does: "edit" | "grow" | "attach" | "remove"; kind: Kind; part: Part };

interface Props {
  guest: Guest;
  rows: readonly PendingRow[];
  wanted: Wanted;
  onClose: () => void;
}

export function DeviceDialog({ guest, rows, wanted, onClose }: Props) {
  const { kind } = wanted;
  const then = settingsThen(rows);
  const taken = takenKeys(rows);
  const common = { guest, onClose };
  if (wanted.does === "remove") return <Remove {...common} part={wanted.part} />;
  if (wanted.does === "grow") return <Grow {...common} disk={wanted.part.key} />;
  if (wanted.does === "attach") return <Attach {...common} part={wanted.part} taken={taken} />;
  const part = wanted.does === "edit" ? wanted.part : undefined;
  if (kind === "disk") return <Disk {...common} part={part} taken={taken} />;
  if (kind === "cd") return <Cd {...common} part={part} taken={taken} />;
  if (kind === "nic") return <Card {...common} part={part} taken={taken} />;
  if (kind === "serial") return <Serial {...common} taken={taken} />;
  if (kind === "memory") return <Memory {...common} settings={then} />;
  if (kind === "cpu") return <Cpu {...common} settings={then} />;
  return <Simple {...common} name={wanted.kind} settings={then} />;
}

interface OfGuest {
  guest: Guest;
  onClose: () => void;
}

/** A dialog that changes settings; `task`: what makes volumes, so that its log is shown. */
interface FormProps extends OfGuest {
  title: string;
  settings: () => Settings;
  task?: boolean;
  ready?: boolean;
  fields: string[];
  children: (errors: Readonly<Record<string, string>>) => ReactNode;
}

function SettingsDialog({ guest, onClose, title, settings, task = false, ready = true, fields, children }: FormProps) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { errors, attempt, ...state } = useAttempt(...fields);
  const submit = () =>
    attempt(async () => {
      const wish = settings();
      if (task) follow(await setDevices(guest.node, guest.vmid, wish));
      else if (Object.values(wish).some((value) => value !== undefined)) await setOptions(guest.node, guest.vmid, wish);
      onClose();
    });
  return (
    <Dialog title={title} attempt={state} submit={t.hardware.save} ready={ready} onSubmit={() => void submit()} onClose={onClose}>
      {children(errors)}
    </Dialog>
  );
}

function Disk({ guest, onClose, part, taken }: OfGuest & { part: Part | undefined; taken: string[] }) {
  const t = useText();
  const text = part?.then?.[part.key];
  const [bus, setBus] = useState("scsi");
  const [disk, setDisk] = useState(text === undefined ? firstDisk : readDisk(text));
  const key = part?.key ?? freeKey(bus, taken);
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={part ? t.hardware.editOf(key) : t.hardware.addOf(t.hardware.kinds.disk)}
      settings={() => ({ [key]: diskValue(disk) })}
      task={part === undefined}
      ready={part !== undefined || (disk.storage !== "" && disk.gib !== "")}
      fields={[key]}
    >
      {(errors) => (
        <>
          {part === undefined && (
            <SelectField id="bus" label={t.hardware.bus} value={bus} options={BUSES} onChange={setBus} hint={key} />
          )}
          <DiskFields node={guest.node} disk={disk} onChange={setDisk} isNew={part === undefined} error={errors[key]} />
        </>
      )}
    </SettingsDialog>
  );
}

function Cd({ guest, onClose, part, taken }: OfGuest & { part: Part | undefined; taken: string[] }) {
  const t = useText();
  const key = part?.key ?? (taken.includes("ide2") ? freeKey("ide", taken) : "ide2");
  const [cd, setCd] = useState(firstCd(drive(part?.then?.[key] ?? "none")));
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={part ? t.hardware.editOf(key) : t.hardware.addOf(t.hardware.kinds.cd)}
      settings={() => ({ [key]: cdValue(cd) })}
      fields={[key]}
    >
      {(errors) => <CdFields node={guest.node} cd={cd} onChange={setCd} error={errors[key]} />}
    </SettingsDialog>
  );
}

function Card({ guest, onClose, part, taken }: OfGuest & { part: Part | undefined; taken: string[] }) {
  const t = useText();
  const key = part?.key ?? freeKey("net", taken);
  const text = part?.then?.[key];
  const [nic, setNic] = useState(text === undefined ? NO_NIC : readNic(text));
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={part ? t.hardware.editOf(key) : t.hardware.addOf(t.hardware.kinds.nic)}
      settings={() => ({ [key]: printNic(nic) })}
      fields={[key]}
    >
      {(errors) => <NicFields node={guest.node} nic={nic} onChange={setNic} error={errors[key]} />}
    </SettingsDialog>
  );
}

function Serial({ guest, onClose, taken }: OfGuest & { taken: string[] }) {
  const t = useText();
  const key = freeKey("serial", taken);
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={t.hardware.addOf(t.hardware.kinds.serial)}
      settings={() => ({ [key]: "socket" })}
      fields={[]}
    >
      {() => <p>{t.hardware.serialText(key)}</p>}
    </SettingsDialog>
  );
}

function Memory({ guest, onClose, settings }: OfGuest & { settings: Values }) {
  const t = useText();
  const [memory, setMemory] = useState(settings.memory ?? "512");
  const [balloon, setBalloon] = useState(settings.balloon ?? "");
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={t.hardware.editOf(t.hardware.kinds.memory)}
      settings={() => memorySettings(memory, balloon, settings)}
      ready={memory !== ""}
      fields={["memory", "balloon"]}
    >
      {(errors) => <MemoryFields {...{ memory, balloon, errors }} onMemory={setMemory} onBalloon={setBalloon} />}
    </SettingsDialog>
  );
}

function Cpu({ guest, onClose, settings }: OfGuest & { settings: Values }) {
  const t = useText();
  const [cpu, setCpu] = useState({
    sockets: settings.sockets ?? "1",
    cores: settings.cores ?? "1",
    type: settings.cpu ?? "",
    limit: settings.cpulimit ?? "",
  });
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={t.hardware.editOf(t.hardware.kinds.cpu)}
      settings={() => cpuSettings(cpu, settings)}
      fields={["sockets", "cores", "cpu", "cpulimit"]}
    >
      {(errors) => <CpuFields node={guest.node} cpu={cpu} onChange={setCpu} errors={errors} />}
    </SettingsDialog>
  );
}

function Simple({ guest, onClose, name, settings }: OfGuest & { name: Kind; settings: Values }) {
  const t = useText();
  const [value, setValue] = useState(settings[name] ?? "");
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={t.hardware.editOf(t.hardware.kinds[name])}
      settings={() => (value === "" ? (name in settings ? { delete: name } : {}) : { [name]: value })}
      fields={[name]}
    >
      {(errors) => <SimpleField node={guest.node} name={name} value={value} onChange={setValue} error={errors[name]} />}
    </SettingsDialog>
  );
}

function Grow({ guest, onClose, disk }: OfGuest & { disk: string }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [gib, setGib] = useState("");
  const { errors, attempt, ...state } = useAttempt("size");
  const submit = () =>
    attempt(async () => {
      follow(await growDisk(guest.node, guest.vmid, disk, `+${gib}G`));
      onClose();
    });
  return (
    <Dialog
      title={t.hardware.growOf(disk)}
      attempt={state}
      submit={t.hardware.grow}
      ready={/^\d+(\.\d+)?$/.test(gib) && Number(gib) > 0}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Field id="size" label={t.hardware.growBy} numeric value={gib} onChange={setGib} hint={t.hardware.growText} error={errors.size} />
    </Dialog>
  );
}

function Attach({ guest, onClose, part, taken }: OfGuest & { part: Part; taken: string[] }) {
  const t = useText();
  const [bus, setBus] = useState("scsi");
  const key = freeKey(bus, taken);
  return (
    <SettingsDialog
      guest={guest}
      onClose={onClose}
      title={t.hardware.attachOf(part.key)}
      settings={() => ({ [key]: part.then?.[part.key] ?? "" })}
      fields={[key]}
    >
      {(errors) => (
        <SelectField id="bus" label={t.hardware.bus} value={bus} options={plain(BUSES.map(({ value }) => value))} onChange={setBus} hint={key} error={errors[key]} />
      )}
    </SettingsDialog>
  );
}

function Remove({ guest, onClose, part }: OfGuest & { part: Part }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { attempt, failure, working } = useAttempt();
  const destroys = part.kind === "unused";
  const [title, text, word] =
    part.kind === "disk"
      ? [t.hardware.detachOf(part.key), t.hardware.detachText, t.hardware.detach]
      : destroys
        ? [t.hardware.destroyOf(drive(part.then?.[part.key] ?? "")), t.hardware.destroyText, t.hardware.destroy]
        : [t.hardware.removeOf(part.key), t.hardware.removeText, t.hardware.remove];
  const submit = () =>
    attempt(async () => {
      const upid = await setDevices(guest.node, guest.vmid, { delete: part.key });
      if (destroys) follow(upid);
      onClose();
    });
  return (
    <Dialog title={title} attempt={{ failure, working }} submit={word} danger={destroys} onSubmit={() => void submit()} onClose={onClose}>
      <p>{text}</p>
    </Dialog>
  );
}
