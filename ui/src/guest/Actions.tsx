/** Start, Shutdown, Stop, Migrate. A button that cannot act says why. */

import { useState } from "react";
import { Alert, AlertActionCloseButton, Button, Tooltip } from "@patternfly/react-core";
import { power, type PowerAction } from "../api/actions";
import { useText } from "../i18n/text";
import { useTaskFocus } from "../tasks/focus";
import type { Cluster, Guest } from "../tree/model";
import { ConfirmPower } from "./ConfirmPower";
import { MigrateDialog } from "./MigrateDialog";

type Dialog = "shutdown" | "stop" | "migrate" | null;

export function Actions({ guest, cluster }: { guest: Guest; cluster: Cluster }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [dialog, setDialog] = useState<Dialog>(null);
  const [failure, setFailure] = useState<{ what: string; why: string }>();
  const running = guest.state !== "stopped" && guest.state !== "template";
  const refused = cluster.quorate ? undefined : t.quorum.actionRefused;

  const act = async (action: PowerAction) => {
    setDialog(null);
    setFailure(undefined);
    try {
      follow(await power(guest.node, guest.vmid, action));
    } catch (error) {
      setFailure({ what: t.guest[action], why: (error as Error).message });
    }
  };
  return (
    <>
      <div className="kv-actions" role="toolbar" aria-label={t.guest.actions}>
        <Act
          name={t.guest.start}
          primary={!running}
          isDisabled={running || guest.state === "template"}
          refused={refused}
          onClick={() => void act("start")}
        />
        <Act name={t.guest.shutdown} isDisabled={!running} refused={refused} onClick={() => setDialog("shutdown")} />
        <Act name={t.guest.stop} isDisabled={!running} refused={refused} onClick={() => setDialog("stop")} />
        <Act name={t.guest.migrate} isDisabled={false} refused={refused} onClick={() => setDialog("migrate")} />
      </div>
      {failure && (
        <Alert
          className="kv-failure"
          isInline
          variant="danger"
          role="alert"
          title={t.guest.failed(failure.what)}
          actionClose={<AlertActionCloseButton onClose={() => setFailure(undefined)} />}
        >
          {failure.why}
        </Alert>
      )}
      {(dialog === "stop" || dialog === "shutdown") && (
        <ConfirmPower
          guest={guest}
          action={dialog}
          onConfirm={() => void act(dialog)}
          onClose={() => setDialog(null)}
        />
      )}
      {dialog === "migrate" && (
        <MigrateDialog guest={guest} cluster={cluster} onClose={() => setDialog(null)} />
      )}
    </>
  );
}

interface ActProps {
  name: string;
  primary?: boolean;
  isDisabled: boolean;
  refused: string | undefined;
  onClick: () => void;
}

function Act({ name, primary = false, isDisabled, refused, onClick }: ActProps) {
  const button = (
    <Button
      size="sm"
      variant={primary ? "primary" : "secondary"}
      isDisabled={isDisabled && !refused}
      isAriaDisabled={refused !== undefined}
      onClick={onClick}
    >
      {name}
    </Button>
  );
  return refused ? <Tooltip content={refused}>{button}</Tooltip> : button;
}
