/** Clone, make a template, remove: what one does with a guest as a whole. */

import { useEffect, useState } from "react";
import { cloneGuest, destroyGuest, makeTemplate, nextId, useSnapshots } from "../api/guest";
import { useResources } from "../api/live";
import { StorageField } from "../hardware/drives";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField, plain, SelectField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { goTo } from "../shell/route";
import { NOW } from "../snapshots/model";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";

interface Props {
  guest: Guest;
  onClose: () => void;
}

export function RemoveDialog({ guest, onClose }: Props) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [typed, setTyped] = useState("");
  const { failure, working, attempt } = useAttempt();
  const submit = () =>
    attempt(async () => {
      follow(await destroyGuest(guest.node, guest.vmid));
      onClose();
      goTo({ view: "node", node: guest.node });
    });
  return (
    <Dialog
      title={t.guest.removeOf(`${guest.vmid} ${guest.name}`)}
      attempt={{ failure, working }}
      submit={t.guest.removeWord}
      danger
      ready={typed === String(guest.vmid)}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.guest.removeText}</p>
      <Field id="typed" label={t.guest.typeId(guest.vmid)} numeric value={typed} onChange={setTyped} />
    </Dialog>
  );
}

export function TemplateDialog({ guest, onClose }: Props) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { failure, working, attempt } = useAttempt();
  const submit = () =>
    attempt(async () => {
      follow(await makeTemplate(guest.node, guest.vmid));
      onClose();
    });
  return (
    <Dialog
      title={t.guest.templateOf(`${guest.vmid} ${guest.name}`)}
      attempt={{ failure, working }}
      submit={t.guest.templateWord}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.guest.templateText}</p>
    </Dialog>
  );
}

export function CloneDialog({ guest, onClose }: Props) {
  const t = useText();
  const { follow } = useTaskFocus();
  const template = guest.state === "template";
  const snapshots = (useSnapshots(guest.node, guest.vmid).data ?? []).filter(({ name }) => name !== NOW);
  const [newid, setNewid] = useState("");
  const [name, setName] = useState("");
  const [chosen, setFull] = useState<boolean>();
  const full = chosen ?? !template; // the list may say only now that it is one
  const [snapshot, setSnapshot] = useState("");
  const [storage, setStorage] = useState("");
  const [target, setTarget] = useState(guest.node);
  const nodes = (useResources().data ?? []).filter((row) => row.type === "node" && row.status === "online").map((row) => row.node ?? "");
  const { errors, attempt, ...state } = useAttempt("target", "newid", "name", "storage", "snapname", "full");
  useEffect(() => {
    void nextId().then((id) => setNewid((before) => (before === "" ? id : before)));
  }, []);
  const submit = () =>
    attempt(async () => {
      follow(
        await cloneGuest(guest.node, guest.vmid, {
          newid,
          name: name === "" ? undefined : name,
          full: full ? 1 : 0,
          snapname: snapshot === "" ? undefined : snapshot,
          storage: full && storage !== "" ? storage : undefined,
          target: target === guest.node ? undefined : target,
        }),
      );
      onClose();
    });
  return (
    <Dialog
      title={t.guest.cloneOf(`${guest.vmid} ${guest.name}`)}
      attempt={state}
      submit={t.guest.cloneWord}
      ready={/^\d+$/.test(newid)}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Field id="newid" label="VM ID" numeric value={newid} onChange={setNewid} error={errors.newid} />
      <Field id="clonename" label={t.options.names.name} value={name} onChange={setName} error={errors.name} />
      {nodes.length > 1 && (
        <SelectField
          id="target"
          label={t.parts.cloneTarget}
          value={target}
          options={plain([...nodes].sort())}
          onChange={setTarget}
          hint={target === guest.node ? undefined : t.parts.cloneTargetText}
          error={errors.target}
        />
      )}
      {template && <CheckField id="full" label={t.guest.full} description={t.guest.fullText} checked={full} onChange={setFull} />}
      {snapshots.length > 0 && (
        <SelectField
          id="snapname"
          label={t.guest.ofSnapshot}
          value={snapshot}
          options={[{ value: "", label: t.snapshots.now }, ...plain(snapshots.map((row) => row.name))]}
          onChange={setSnapshot}
          error={errors.snapname}
        />
      )}
      {full && (
        <StorageField
          node={guest.node}
          content="images"
          value={storage}
          optional={t.guest.sameStorage}
          onChange={setStorage}
          error={errors.storage}
        />
      )}
    </Dialog>
  );
}
