/** Carries out what is asked for a guest, by its buttons or the tree's menu: questions, dialogs, and refusals. */

import { createContext, lazy, Suspense, useContext, useState, type ReactNode } from "react";
import { Alert, AlertActionCloseButton } from "@patternfly/react-core";
import { power, type PowerAction } from "../api/actions";
import { useText } from "../i18n/text";
import { useTaskFocus } from "../tasks/focus";
import type { Cluster, Guest } from "../tree/model";
import { isMore, needsWord, type GuestAction, type MoreAction } from "./choices";
import { ConfirmPower } from "./ConfirmPower";
import { MigrateDialog } from "./MigrateDialog";

export interface Doing {
  /** Begins it: at once, or with a question first. */
  begin: (guest: Guest, action: GuestAction) => void;
  /** what was refused last, as something to show; null when nothing was */
  refusal: ReactNode;
}

const Context = createContext<Doing | null>(null);

export function DoingProvider({ cluster, children }: { cluster: Cluster; children: ReactNode }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [asked, setAsked] = useState<{ guest: Guest; action: GuestAction }>();
  const [failure, setFailure] = useState<{ what: string; why: string }>();
  const close = () => setAsked(undefined);
  // A dialog shows the guest as it is by now, not as it was when the dialog was opened.
  const guest = asked && (cluster.guests.find(({ vmid }) => vmid === asked.guest.vmid) ?? asked.guest);

  const act = async (guest: Guest, action: PowerAction) => {
    close();
    setFailure(undefined);
    try {
      follow(await power(guest.node, guest.vmid, action));
    } catch (error) {
      setFailure({ what: `${guest.vmid} ${guest.name}: ${t.guest[action]}`, why: (error as Error).message });
    }
  };
  const begin = (guest: Guest, action: GuestAction) => {
    if (action === "start" || action === "resume") void act(guest, action);
    else setAsked({ guest, action });
  };
  const refusal = failure && (
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
  );
  return (
    <Context value={{ begin, refusal }}>
      {children}
      {asked && guest && needsWord(asked.action) && (
        <ConfirmPower
          guest={guest}
          action={asked.action}
          onConfirm={() => needsWord(asked.action) && void act(guest, asked.action)}
          onClose={close}
        />
      )}
      {asked && guest && isMore(asked.action) && (
        <Suspense fallback={null}>
          <More action={asked.action} guest={guest} onClose={close} />
        </Suspense>
      )}
      {asked?.action === "migrate" && guest && <MigrateDialog guest={guest} cluster={cluster} onClose={close} />}
    </Context>
  );
}

const DIALOGS = {
  clone: lazy(async () => ({ default: (await import("./MoreDialogs")).CloneDialog })),
  template: lazy(async () => ({ default: (await import("./MoreDialogs")).TemplateDialog })),
  remove: lazy(async () => ({ default: (await import("./MoreDialogs")).RemoveDialog })),
};

function More({ action, guest, onClose }: { action: MoreAction; guest: Guest; onClose: () => void }) {
  const Dialog = DIALOGS[action];
  return <Dialog guest={guest} onClose={onClose} />;
}

export function useDoing(): Doing {
  const doing = useContext(Context);
  if (!doing) throw new Error("no DoingProvider stands above this component");
  return doing;
}
