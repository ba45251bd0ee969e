/** The cluster's nodes: state, votes, and an address for each link. */

import { Button, Tooltip } from "@patternfly/react-core";
import PencilIcon from "@patternfly/react-icons/dist/esm/icons/pencil-alt-icon";
import TrashIcon from "@patternfly/react-icons/dist/esm/icons/trash-icon";
import { useText } from "../i18n/text";
import { hrefOf } from "../shell/route";
import { StateText } from "../tree/icons";
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
                </td>
              ))}
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
