/** A guest's snapshots: the tree, and what can be done with each. */

import { useState } from "react";
import { Alert, Button, FormGroup, TextArea } from "@patternfly/react-core";
import { deleteSnapshot, describeSnapshot, rollBack, takeSnapshot, useSnapshots, type SnapshotRow } from "../api/guest";
import { useLanguage, useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { Panel } from "../shell/parts";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";
import { isName, NOW, treeOf } from "./model";

type Asked = { does: "take" } | { does: "rollback" | "delete" | "describe"; row: SnapshotRow };

export default function SnapshotsTab({ guest, refused }: { guest: Guest; refused: string | undefined }) {
  const { t, language } = useLanguage();
  const snapshots = useSnapshots(guest.node, guest.vmid);
  const [asked, setAsked] = useState<Asked>();
  if (snapshots.data === undefined) return snapshots.error && <Alert isInline variant="warning" title={snapshots.error.message} />;
  if (snapshots.data === null) return <p className="kv-quiet">{t.snapshots.absent}</p>;
  const branches = treeOf(snapshots.data);
  const close = () => setAsked(undefined);
  const locked = refused !== undefined;
  const date = (seconds: number) => new Date(seconds * 1000).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  return (
    <Panel
      title={t.tab.snapshots}
      aside={
        guest.state !== "template" && (
          <Button size="sm" variant="secondary" isDisabled={locked} onClick={() => setAsked({ does: "take" })}>
            {t.snapshots.take}
          </Button>
        )
      }
    >
      {branches.length <= 1 && <p className="kv-quiet">{t.snapshots.nothing}</p>}
      {branches.length > 1 && (
        <table className="kv-table kv-snapshots">
          <thead>
            <tr>
              <th scope="col">{t.column.name}</th>
              <th scope="col">{t.snapshots.taken}</th>
              <th scope="col" className="kv-wide">
                {t.snapshots.memory}
              </th>
              <th scope="col" className="kv-wide">
                {t.snapshots.description}
              </th>
              <th scope="col">
                <span className="kv-sr">{t.guest.actions}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {branches.map(({ row, depth }) => (
              <tr key={row.name} data-now={row.name === NOW}>
                <th scope="row" style={{ paddingInlineStart: depth * 18 }}>
                  {row.name === NOW ? t.snapshots.now : row.name}
                </th>
                <td>{row.snaptime !== undefined && date(row.snaptime)}</td>
                <td className="kv-wide">{row.vmstate ? t.options.yes : ""}</td>
                <td className="kv-wide kv-notes">{row.name === NOW ? "" : row.description}</td>
                <td className="kv-acts">
                  <span>
                  {row.name !== NOW &&
                    (["rollback", "describe", "delete"] as const).map((does) => (
                      <Button
                        key={does}
                        variant="link"
                        isInline
                        isDisabled={locked}
                        aria-label={t.snapshots.does[does](row.name)}
                        onClick={() => setAsked({ does, row })}
                      >
                        {t.snapshots.words[does]}
                      </Button>
                    ))}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {asked?.does === "take" && <Take guest={guest} onClose={close} />}
      {asked?.does === "describe" && <Describe guest={guest} row={asked.row} onClose={close} />}
      {asked?.does === "rollback" && <RollBack guest={guest} row={asked.row} onClose={close} />}
      {asked?.does === "delete" && <Delete guest={guest} row={asked.row} onClose={close} />}
    </Panel>
  );
}

function Take({ guest, onClose }: { guest: Guest; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const running = guest.state !== "stopped";
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const [memory, setMemory] = useState(running);
  const { errors, attempt, ...state } = useAttempt("snapname", "description", "vmstate");
  const submit = () =>
    attempt(async () => {
      follow(
        await takeSnapshot(guest.node, guest.vmid, {
          snapname: name,
          description: text === "" ? undefined : text,
          vmstate: memory && running ? 1 : undefined,
        }),
      );
      onClose();
    });
  const wrong = name !== "" && !isName(name) ? t.snapshots.nameHint : undefined;
  return (
    <Dialog
      title={t.snapshots.takeOf(`${guest.vmid} ${guest.name}`)}
      attempt={state}
      submit={t.snapshots.take}
      ready={isName(name)}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Field id="snapname" label={t.column.name} value={name} onChange={setName} hint={t.snapshots.nameHint} error={errors.snapname ?? wrong} />
      {running && (
        <CheckField
          id="vmstate"
          label={t.snapshots.withMemory}
          description={t.snapshots.withMemoryText}
          checked={memory}
          onChange={setMemory}
        />
      )}
      <Notes text={text} onChange={setText} />
    </Dialog>
  );
}

function Notes({ text, onChange }: { text: string; onChange: (text: string) => void }) {
  const t = useText();
  return (
    <FormGroup label={t.snapshots.description} fieldId="description">
      <TextArea id="description" value={text} rows={3} resizeOrientation="vertical" onChange={(_, next) => onChange(next)} />
    </FormGroup>
  );
}

interface OfSnapshot {
  guest: Guest;
  row: SnapshotRow;
  onClose: () => void;
}

function Describe({ guest, row, onClose }: OfSnapshot) {
  const t = useText();
  const [text, setText] = useState(row.description ?? "");
  const { failure, working, attempt } = useAttempt();
  const submit = () =>
    attempt(async () => {
      await describeSnapshot(guest.node, guest.vmid, row.name, text);
      onClose();
    });
  return (
    <Dialog
      title={t.snapshots.does.describe(row.name)}
      attempt={{ failure, working }}
      submit={t.hardware.save}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Notes text={text} onChange={setText} />
    </Dialog>
  );
}

function RollBack({ guest, row, onClose }: OfSnapshot) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [start, setStart] = useState(false);
  const { failure, working, attempt } = useAttempt();
  const submit = () =>
    attempt(async () => {
      follow(await rollBack(guest.node, guest.vmid, row.name, start));
      onClose();
    });
  return (
    <Dialog
      title={t.snapshots.does.rollback(row.name)}
      attempt={{ failure, working }}
      submit={t.snapshots.words.rollback}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.snapshots.rollbackText}</p>
      {!row.vmstate && <CheckField id="start" label={t.snapshots.start} checked={start} onChange={setStart} />}
    </Dialog>
  );
}

function Delete({ guest, row, onClose }: OfSnapshot) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { failure, working, attempt } = useAttempt();
  const submit = () =>
    attempt(async () => {
      follow(await deleteSnapshot(guest.node, guest.vmid, row.name));
      onClose();
    });
  return (
    <Dialog
      title={t.snapshots.does.delete(row.name)}
      attempt={{ failure, working }}
      submit={t.snapshots.words.delete}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.snapshots.deleteText}</p>
    </Dialog>
  );
}
