/** Nodes that go: one that is off is removed, this one leaves; and going on without those that are missing. */

import { useState } from "react";
import { Alert, Checkbox } from "@patternfly/react-core";
import { expectVotes, leaveCluster, removeNode } from "../api/cluster";
import { expectNewKeys } from "../api/session";
import type { Quorum } from "../datacenter/quorum";
import { useText } from "../i18n/text";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import type { Guest } from "../tree/model";
import { Dialog } from "../shell/Dialog";

export function RemoveDialog({ node, guests, onClose }: { node: string; guests: Guest[]; onClose: () => void }) {
  const t = useText();
  const [giveUp, setGiveUp] = useState(false);
  const { attempt, ...state } = useAttempt();
  const submit = () =>
    attempt(async () => {
      await removeNode(node, giveUp);
      onClose();
    });
  return (
    <Dialog
      title={t.removal.title(node)}
      attempt={state}
      submit={t.removal.submit}
      ready={guests.length === 0 || giveUp}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.removal.text(node)}</p>
      {guests.length > 0 && (
        <Alert
          isInline
          variant="danger"
          title={t.removal.guests(guests.map(({ vmid, name }) => `${vmid} ${name}`).join(", "))}
        >
          <Checkbox
            id="give-up"
            label={t.removal.giveUp}
            isChecked={giveUp}
            onChange={(_, checked) => setGiveUp(checked)}
          />
        </Alert>
      )}
    </Dialog>
  );
}

export function LeaveDialog({ node, onClose }: { node: string; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { attempt, ...state } = useAttempt();
  const submit = () =>
    attempt(async () => {
      expectNewKeys();
      follow(await leaveCluster());
      onClose();
    });
  return (
    <Dialog
      title={t.leave.title(node)}
      attempt={state}
      submit={t.leave.submit}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.leave.text}</p>
      <p>{t.leave.reload}</p>
    </Dialog>
  );
}

export function ExpectedDialog({ quorum, onClose }: { quorum: Quorum; onClose: () => void }) {
  const t = useText();
  const [text, setText] = useState(String(quorum.present));
  const [sure, setSure] = useState(false);
  const { errors, attempt, ...state } = useAttempt("expected");
  const off = quorum.voters.filter(({ online }) => !online).map(({ name }) => name);
  const missing = off.join(", ") || t.expected.others;
  const submit = () =>
    attempt(async () => {
      await expectVotes(Number(text));
      onClose();
    });
  return (
    <Dialog
      title={t.expected.title}
      attempt={state}
      submit={t.expected.submit}
      ready={sure && Number(text) > 0}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.expected.text(missing)}</p>
      <Field
        id="expected"
        label={t.expected.field}
        value={text}
        numeric
        onChange={(value) => setText(value.replace(/\D/g, "").slice(0, 4))}
        hint={t.expected.hint}
        error={errors.expected}
      />
      <Checkbox id="sure" label={t.expected.sure(missing)} isChecked={sure} onChange={(_, checked) => setSure(checked)} />
    </Dialog>
  );
}
