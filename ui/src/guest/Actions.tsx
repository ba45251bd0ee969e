/** The guest's buttons. One that cannot act says why. */

import { Button, Tooltip } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import type { Cluster, Guest } from "../tree/model";
import { choicesFor, type Choice } from "./choices";
import { useDoing } from "./doing";

export function Actions({ guest, cluster }: { guest: Guest; cluster: Cluster }) {
  const t = useText();
  const { begin } = useDoing();
  const refused = cluster.quorate ? undefined : t.quorum.actionRefused;
  return (
    <div className="kv-actions" role="toolbar" aria-label={t.guest.actions}>
      {choicesFor(guest, cluster).map((choice) => (
        <Act key={choice.action} choice={choice} refused={refused} onClick={() => begin(guest, choice.action)} />
      ))}
    </div>
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
