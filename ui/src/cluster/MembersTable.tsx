/** The cluster's nodes: state, votes, an address for each link and how that does, and how the clocks differ. */

import { Button, Tooltip } from "@patternfly/react-core";
import PencilIcon from "@patternfly/react-icons/dist/esm/icons/pencil-alt-icon";
import TrashIcon from "@patternfly/react-icons/dist/esm/icons/trash-icon";
import { useLinks } from "../api/live";
import { useText } from "../i18n/text";
import { hrefOf } from "../shell/route";
import { StateText } from "../tree/icons";
import { clockAhead, linkState, type LinkState } from "./linkStates";
import { linkNumbers, type Member } from "./members";

interface Props {
  members: Member[];
  refused: string | undefined;
  onVotes: (member: Member) => void;
  onRemove: (member: Member) => void;
}

export function MembersTable({ members, refused, onVotes, onRemove }: Props) {
  const t = useText();
  const links = linkNumbers(members);
  const told = useLinks().data ?? null;
  const local = members.find((member) => member.local)?.name ?? "";
  const notRemoved = (member: Member): string | undefined => {
    if (member.local) return t.removal.isLocal;
    return refused ?? (member.state === "online" ? t.removal.isRunning(member.name) : undefined);
  };
  return (
    <div className="kv-scroll">
      <table className="kv-table kv-members">
        <thead>
          <tr>
            <th scope="col">{t.column.name}</th>
            <th scope="col">{t.column.state}</th>
            <th scope="col" className="kv-number kv-wide">
              {t.column.id}
            </th>
            <th scope="col" className="kv-vote">
              {t.column.votes}
            </th>
            {links.map((link) => (
              <th key={link} scope="col">
                {t.cluster.link(link)}
              </th>
            ))}
            <th scope="col" className="kv-number kv-wide">
              {t.column.clock}
            </th>
            <th scope="col">
              <span className="kv-sr">{t.removal.submit}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {members.map((member) => (
            <tr key={member.name}>
              <th scope="row">
                <a href={hrefOf({ view: "node", node: member.name })}>{member.name}</a>
                {member.local && <span className="kv-quiet kv-wide"> ({t.cluster.local})</span>}
              </th>
              <td>
                <StateText state={member.state} text={t.state[member.state]} />
              </td>
              <td className="kv-number kv-wide">{member.id}</td>
              <td className="kv-vote">
                {member.votes}
                <IconButton
                  name={t.votes.change(member.name)}
                  icon={<PencilIcon />}
                  refused={refused}
                  onClick={() => onVotes(member)}
                />
              </td>
              {links.map((link) => (
                <td key={link} className="kv-mono">
                  {member.addresses.get(link)}
                  <LinkNote state={linkState(told, member.name, link)} />
                </td>
              ))}
              <td className="kv-number kv-wide">
                <ClockNote ms={member.local ? undefined : clockAhead(told, local, member.name)} />
              </td>
              <td className="kv-number">
                <IconButton
                  name={t.removal.open(member.name)}
                  icon={<TrashIcon />}
                  refused={notRemoved(member)}
                  onClick={() => onRemove(member)}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function LinkNote({ state }: { state: LinkState | undefined }) {
  const t = useText();
  if (state === undefined) return null;
  const bad = state.down.length > 0 || state.lossPercent !== undefined;
  const words = [
    ...(state.down.length > 0 ? [t.cluster.down(state.down.join(", "))] : []),
    ...(state.lossPercent !== undefined ? [t.cluster.loss(Math.round(state.lossPercent))] : []),
    ...(state.latencyMs !== undefined ? [`${state.latencyMs.toFixed(1)} ms`] : []),
  ];
  return <span className={bad ? "kv-note kv-bad" : "kv-note kv-quiet"}>{words.join(" · ")}</span>;
}

/** A second apart is worth a word: tickets and certificates are judged by the clock. */
function ClockNote({ ms }: { ms: number | undefined }) {
  if (ms === undefined) return null;
  const far = Math.abs(ms) >= 1000;
  const text = far ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
  return <span className={far ? "kv-bad" : "kv-quiet"}>{ms > 0 ? `+${text}` : text}</span>;
}

interface IconButtonProps {
  name: string;
  icon: React.ReactNode;
  refused: string | undefined;
  onClick: () => void;
}

function IconButton({ name, icon, refused, onClick }: IconButtonProps) {
  return (
    <Tooltip content={refused ?? name}>
      <Button
        size="sm"
        variant="plain"
        aria-label={name}
        isAriaDisabled={refused !== undefined}
        icon={icon}
        onClick={refused === undefined ? onClick : undefined}
      />
    </Tooltip>
  );
}
