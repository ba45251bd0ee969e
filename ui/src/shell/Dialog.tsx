/** The frame of dialogs: title, form, what went wrong, one button that does it. */

import type { ReactNode } from "react";
import { Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import { Failure, type Attempt } from "./form";

interface Props {
  title: string;
  attempt: Pick<Attempt, "failure" | "working">;
  /** the button's word; without it there is only Close */
  submit?: string;
  ready?: boolean;
  danger?: boolean;
  large?: boolean;
  onSubmit?: () => void;
  onClose: () => void;
  /** more buttons, before Cancel */
  more?: ReactNode;
  children: ReactNode;
}

export function Dialog({ title, attempt, submit, ready = true, danger, large, onSubmit, onClose, more, children }: Props) {
  const t = useText();
  return (
    <Modal isOpen variant={large ? "medium" : "small"} aria-labelledby="dialog-title" onClose={onClose}>
      <ModalHeader title={title} labelId="dialog-title" titleIconVariant={danger ? "warning" : undefined} />
      <ModalBody>
        <Form
          id="dialog-form"
          onSubmit={(event) => {
            event.preventDefault();
            if (ready && !attempt.working) onSubmit?.();
          }}
        >
          {children}
          <Failure text={attempt.failure} />
        </Form>
      </ModalBody>
      <ModalFooter>
        {submit !== undefined && (
          <Button
            type="submit"
            form="dialog-form"
            variant={danger ? "danger" : "primary"}
            isDisabled={!ready || attempt.working}
            isLoading={attempt.working}
          >
            {submit}
          </Button>
        )}
        {more}
        <Button variant="link" onClick={onClose}>
          {submit === undefined ? t.close : t.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
