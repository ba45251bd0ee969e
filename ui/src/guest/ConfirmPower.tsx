/** Asks once more before a guest goes down. */

import { Button, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import type { Guest } from "../tree/model";

interface Props {
  guest: Guest;
  action: "shutdown" | "stop";
  onConfirm: () => void;
  onClose: () => void;
}

export function ConfirmPower({ guest, action, onConfirm, onClose }: Props) {
  const t = useText();
  const name = `${guest.vmid} ${guest.name}`;
  const stop = action === "stop";
  return (
    <Modal isOpen variant="small" aria-labelledby="confirm-title" onClose={onClose}>
      <ModalHeader
        title={stop ? t.guest.confirmStop(name) : t.guest.confirmShutdown(name)}
        labelId="confirm-title"
        titleIconVariant={stop ? "warning" : undefined}
      />
      <ModalBody>{stop ? t.guest.confirmStopText : t.guest.confirmShutdownText}</ModalBody>
      <ModalFooter>
        <Button variant={stop ? "danger" : "primary"} onClick={onConfirm}>
          {t.guest[action]}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
