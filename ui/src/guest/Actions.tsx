/** The guest's buttons. One that cannot act says why. */

import { Button, DropdownItem, Tooltip } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import { Menu } from "../shell/Menu";
import type { Cluster, Guest } from "../tree/model";
import { choicesFor, type Choice } from "./choices";
import { useDoing } from "./doing";

export function Actions({ guest, cluster }: { guest: Guest; cluster: Cluster }) {
  const t = useText();
  const { begin } = useDoing();
  const refused = cluster.quorate ? undefined : t.quorum.actionRefused;
  return (
    <div className="kv-actions" role="toolbar" aria-label={t.guest.actions}>
      {choicesFor(guest, cluster)
        .filter(({ more }) => !more)
        .map((choice) => (
          <Act key={choice.action} choice={choice} refused={refused} onClick={() => begin(guest, choice.action)} />
        ))}
      <More guest={guest} cluster={cluster} refused={refused} />
    </div>
  );
}

function More({ guest, cluster, refused }: { guest: Guest; cluster: Cluster; refused: string | undefined }) {
  const t = useText();
  const { begin } = useDoing();
  return (
    <Menu label={t.guest.moreWord} isDisabled={refused !== undefined}>
      {choicesFor(guest, cluster)
        .filter(({ more }) => more)
        .map(({ action, fits }) => (
          <DropdownItem key={action} isDisabled={!fits} isDanger={action === "remove"} onClick={() => begin(guest, action)}>
            {t.guest[action]}
          </DropdownItem>
        ))}
    </Menu>
  );
}

interface ActProps {
  choice: Choice;
  refused: string | undefined;
  onClick: () => void;
}

function Act({ choice, refused, onClick }: ActProps) {
  const t = useText();
  const button = (
    <Button
      size="sm"
      variant={choice.primary ? "primary" : "secondary"}
      isDisabled={!choice.fits && !refused}
      isAriaDisabled={refused !== undefined}
      onClick={onClick}
    >
      {t.guest[choice.action]}
    </Button>
  );
  return refused ? <Tooltip content={refused}>{button}</Tooltip> : button;
}
