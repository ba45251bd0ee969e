/** A disk to another storage, or to another guest. */

import { useState } from "react";
import { moveDisk } from "../api/guest";
import { useResources } from "../api/live";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField, plain, SelectField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";
import { FORMATS, StorageField } from "./drives";

interface Props {
  guest: Guest;
  disk: string;
  /** to another guest */
  away: boolean;
  onClose: () => void;
}

export function MoveDialog({ away, ...props }: Props) {
  return away ? <Give {...props} /> : <Move {...props} />;
}

type Of = Omit<Props, "away">;

function Move({ guest, disk, onClose }: Of) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [storage, setStorage] = useState("");
  const [format, setFormat] = useState("");
  const [goes, setGoes] = useState(false);
  const { errors, attempt, ...state } = useAttempt("storage", "format");
  const submit = () =>
    attempt(async () => {
      const wish = { storage, format: format === "" ? undefined : format, delete: goes ? 1 : undefined };
      follow(await moveDisk(guest.node, guest.vmid, disk, wish));
      onClose();
    });
  return (
    <Dialog
      title={t.parts.moveOf(disk)}
      attempt={state}
      submit={t.parts.moveWord}
      ready={storage !== ""}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.parts.moveText}</p>
      <StorageField node={guest.node} content="images" value={storage} onChange={setStorage} error={errors.storage} />
      <SelectField
        id="format"
        label={t.hardware.format}
        value={format}
        options={[{ value: "", label: t.parts.sameFormat }, ...plain(FORMATS)]}
        onChange={setFormat}
        error={errors.format}
      />
      <CheckField id="delete" label={t.parts.goes} description={t.parts.goesText} checked={goes} onChange={setGoes} />
    </Dialog>
  );
}

function Give({ guest, disk, onClose }: Of) {
  const t = useText();
  const { follow } = useTaskFocus();
  const guests = (useResources().data ?? []).filter((row) => row.type === "qemu" && row.node === guest.node && row.vmid !== guest.vmid);
  const [target, setTarget] = useState("");
  const [key, setKey] = useState(disk);
  const { errors, attempt, ...state } = useAttempt("target-vmid", "target-disk");
  const submit = () =>
    attempt(async () => {
      follow(await moveDisk(guest.node, guest.vmid, disk, { "target-vmid": target, "target-disk": key }));
      onClose();
    });
  return (
    <Dialog
      title={t.parts.giveOf(disk)}
      attempt={state}
      submit={t.parts.giveWord}
      ready={target !== "" && key !== ""}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.parts.giveText}</p>
      <SelectField
        id="target-vmid"
        label={t.parts.target}
        value={target}
        options={[
          { value: "", label: t.hardware.choose },
          ...guests.map(({ vmid, name }) => ({ value: String(vmid), label: `${vmid} ${name ?? ""}`.trim() })),
        ]}
        onChange={setTarget}
        error={errors["target-vmid"]}
      />
      <Field id="target-disk" label={t.parts.targetKey} value={key} onChange={setKey} hint={t.parts.targetKeyHint} error={errors["target-disk"]} />
    </Dialog>
  );
}
