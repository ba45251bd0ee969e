/** A node's votes, with what they come to before they are set. */

import { useDeferredValue, useState } from "react";
import { Alert } from "@patternfly/react-core";
import { setVotes, useForecast } from "../api/cluster";
import type { VotesForecast } from "../api/types";
import { explain, losses, readQuorum, type Quorum } from "../datacenter/quorum";
import { useText } from "../i18n/text";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import { Dialog } from "../shell/Dialog";
import type { Member } from "./members";

const MOST = 255;

export function VotesDialog({ member, quorum, onClose }: { member: Member; quorum: Quorum; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [text, setText] = useState(String(member.votes));
  const votes = text === "" || Number(text) > MOST ? undefined : Number(text);
  const changed = votes !== undefined && votes !== member.votes;
  const forecast = useForecast(member.name, useDeferredValue(changed ? votes : undefined));
  const told = changed ? forecast.data : undefined;
  const { errors, attempt, ...state } = useAttempt("votes");
  const submit = () =>
    attempt(async () => {
      follow(await setVotes(member.name, votes ?? member.votes));
      onClose();
    });
  return (
    <Dialog
      title={t.votes.title(member.name)}
      attempt={{ ...state, failure: state.failure ?? (changed ? forecast.error?.message : undefined) }}
      submit={t.votes.submit}
      ready={told !== undefined && told.refusals.length === 0}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Field
        id="votes"
        label={t.votes.field}
        value={text}
        numeric
        onChange={(value) => setText(value.replace(/\D/g, "").slice(0, 3))}
        hint={t.votes.hint}
        error={errors.votes}
      />
      <Outlook title={t.votes.present} quorum={quorum} />
      {told && votes !== undefined && <Outlook title={t.votes.then} quorum={after(quorum, member.name, votes, told)} />}
      {told && told.refusals.length > 0 && (
        <Alert isInline variant="danger" title={t.votes.refused}>
          {told.refusals.join(" ")}
        </Alert>
      )}
    </Dialog>
  );
}

/** What holds with these votes: how many there are, what may fail. */
function Outlook({ title, quorum }: { title: string; quorum: Quorum }) {
  const t = useText();
  const lost = losses(quorum, t);
  return (
    <section className="kv-outlook" aria-label={title}>
      <h3>{title}</h3>
      <p>{t.votes.counted(quorum.expected, quorum.needed)}</p>
      {explain(quorum, t).map((sentence) => (
        <p key={sentence} className="kv-quiet">
          {sentence}
        </p>
      ))}
      {lost && <p className="kv-quiet">{lost}</p>}
    </section>
  );
}

function after(quorum: Quorum, node: string, votes: number, told: VotesForecast): Quorum {
  const voters = quorum.voters.filter(({ name }) => name !== "Qdevice");
  const status = voters.map(({ name, online }, index) => ({
    type: "node" as const,
    id: `node/${name}`,
    name,
    nodeid: index + 1,
    online: online ? (1 as const) : (0 as const),
  }));
  const configured = voters.map((voter) => ({
    node: voter.name,
    quorum_votes: voter.name === node ? votes : voter.votes,
  }));
  const cluster = { type: "cluster" as const, id: "cluster", name: "", version: 0, nodes: 0 };
  return readQuorum([{ ...cluster, quorate: told.quorate ? 1 : 0 }, ...status], configured, told);
}
