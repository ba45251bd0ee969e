/** A new password for a user of realm pve. */

import { useState } from "react";
import { Alert, Button, Form } from "@patternfly/react-core";
import { changePassword } from "../api/account";
import { useText } from "../i18n/text";
import { Failure, Field, useAttempt } from "../shell/form";

const SHORTEST = 8;

export function PasswordTab({ user }: { user: string }) {
  const t = useText();
  const { failure, working, attempt } = useAttempt();
  const [present, setPresent] = useState("");
  const [fresh, setFresh] = useState("");
  const [again, setAgain] = useState("");
  const [done, setDone] = useState(false);
  if (!user.endsWith("@pve")) return <p>{t.account.passwordElsewhere(user)}</p>;
  const wrong =
    fresh !== "" && fresh.length < SHORTEST
      ? t.account.tooShort(SHORTEST)
      : again !== "" && again !== fresh
        ? t.account.differ
        : undefined;
  const submit = async () => {
    setDone(false);
    if (!(await attempt(() => changePassword(user, fresh, present)))) return;
    setDone(true);
    setPresent("");
    setFresh("");
    setAgain("");
  };
  return (
    <Form
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Failure text={failure} />
      {done && <Alert isInline variant="success" title={t.account.passwordChanged} />}
      <Field id="present" label={t.account.present} value={present} onChange={setPresent} secret="current-password" />
      <Field id="fresh" label={t.account.fresh} value={fresh} onChange={setFresh} secret="new-password" />
      <Field id="again" label={t.account.again} value={again} onChange={setAgain} secret="new-password" />
      {wrong !== undefined && <p role="status">{wrong}</p>}
      <div>
        <Button
          type="submit"
          isLoading={working}
          isDisabled={working || wrong !== undefined || present === "" || fresh === "" || again !== fresh}
        >
          {t.account.changePassword}
        </Button>
      </div>
    </Form>
  );
}
