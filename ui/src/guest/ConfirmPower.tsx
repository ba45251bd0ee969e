/** Asks once more before a guest goes down. */

import { Button, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import type { PowerAction } from "../api/actions";
import { useText } from "../i18n/text";
import type { Guest } from "../tree/model";

interface Props {
  guest: Guest;
  action: Exclude<PowerAction, "start" | "resume">;
  onConfirm: () => void;
  onClose: () => void;
}

export function ConfirmPower({ guest, action, onConfirm, onClose }: Props) {
  const t = useText();
  const name = `${guest.vmid} ${guest.name}`;
  const { title, text } = {
    shutdown: { title: t.guest.confirmShutdown(name), text: t.guest.confirmShutdownText },
    reboot: { title: t.guest.confirmReboot(name), text: t.guest.confirmRebootText },
    hibernate: { title: t.guest.confirmHibernate(name), text: t.guest.confirmHibernateText },
    stop: { title: t.guest.confirmStop(name), text: t.guest.confirmStopText },
    reset: { title: t.guest.confirmReset(name), text: t.guest.confirmResetText },
  }[action];
  const rude = action === "stop" || action === "reset";
  return (
    <Modal isOpen variant="small" aria-labelledby="confirm-title" onClose={onClose}>
      <ModalHeader
        title={title}
        labelId="confirm-title"
        titleIconVariant={rude ? "warning" : undefined}
      />
      <ModalBody>{text}</ModalBody>
      <ModalFooter>
        <Button variant={rude ? "danger" : "primary"} onClick={onConfirm}>
          {t.guest[action]}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
