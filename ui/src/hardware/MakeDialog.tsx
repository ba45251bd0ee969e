/** What is made for a guest beside plain disks: firmware's variables, a TPM, cloud-init's drive, randomness, an imported disk. */

import { useState } from "react";
import { setDevices, type PendingRow, type Settings } from "../api/guest";
import { freeKey } from "../guest/properties";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField, SelectField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";
import { BUSES, ImportField, StorageField } from "./drives";
import { settingsThen, takenKeys } from "./model";

export type Made = "import" | "efi" | "tpm" | "cloudinit" | "rng";

interface Props {
  guest: Guest;
  rows: readonly PendingRow[];
  what: Made;
  onClose: () => void;
}

export function MakeDialog({ guest, rows, what, onClose }: Props) {
  const t = useText();
  const { follow } = useTaskFocus();
  const settings = settingsThen(rows);
  const taken = takenKeys(rows);
  const [storage, setStorage] = useState("");
  const [bus, setBus] = useState(what === "cloudinit" ? "ide" : "scsi");
  const [keys, setKeys] = useState(false);
  const [volume, setVolume] = useState("");
  const [path, setPath] = useState("");
  const key = { efi: "efidisk0", tpm: "tpmstate0", rng: "rng0", import: freeKey(bus, taken), cloudinit: freeKey(bus, taken) }[what];
  const { errors, attempt, ...state } = useAttempt(key, "storage");
  const source = path.trim() === "" ? volume : path.trim();
  const wishes: Record<Made, () => Settings> = {
    efi: () => ({ [key]: `${storage}:1,efitype=4m${keys ? ",pre-enrolled-keys=1" : ""}` }),
    tpm: () => ({ [key]: `${storage}:1,version=v2.0` }),
    rng: () => ({ [key]: "source=/dev/urandom,max_bytes=1024,period=1000" }),
    import: () => ({ [key]: `${storage}:0,import-from=${source}` }),
    cloudinit: () => ({ [key]: `${storage}:cloudinit` }),
  };
  const ready = what === "rng" || (storage !== "" && (what !== "import" || source !== ""));
  const submit = () =>
    attempt(async () => {
      follow(await setDevices(guest.node, guest.vmid, wishes[what]()));
      onClose();
    });
  return (
    <Dialog
      title={t.hardware.addOf(t.parts.kinds[what])}
      attempt={state}
      submit={t.hardware.add}
      ready={ready}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.parts.texts[what]}</p>
      {what === "efi" && settings.bios !== "ovmf" && <p className="kv-quiet">{t.parts.needsOvmf}</p>}
      {(what === "import" || what === "cloudinit") && (
        <SelectField id="bus" label={t.hardware.bus} value={bus} options={BUSES} onChange={setBus} hint={key} />
      )}
      {what === "import" && (
        <>
          <ImportField node={guest.node} value={volume} onChange={setVolume} isDisabled={path.trim() !== ""} />
          <Field id="path" label={t.parts.path} value={path} onChange={setPath} hint={t.parts.pathHint} />
        </>
      )}
      {what !== "rng" && <StorageField node={guest.node} content="images" value={storage} onChange={setStorage} error={errors[key] ?? errors.storage} />}
      {what === "efi" && (
        <CheckField id="keys" label={t.parts.keys} description={t.parts.keysText} checked={keys} onChange={setKeys} />
      )}
    </Dialog>
  );
}
