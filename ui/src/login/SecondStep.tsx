/** The second step of a login: a one-time password, or a recovery key. */

import { useState } from "react";
import { Alert, Button, Form, FormGroup, FormHelperText, TextInput } from "@patternfly/react-core";
import { ApiError } from "../api/client";
import { answerChallenge, type Challenge, type Proof } from "../api/session";
import { useText } from "../i18n/text";

export function SecondStep({ challenge, onBack }: { challenge: Challenge; onBack: () => void }) {
  const t = useText();
  const [proof, setProof] = useState<Proof>(challenge.totp ? "totp" : "recovery");
  const [value, setValue] = useState("");
  const [failure, setFailure] = useState<string>();
  const [working, setWorking] = useState(false);
  const other = proof === "totp" ? "recovery" : "totp";

  const submit = async () => {
    setWorking(true);
    setFailure(undefined);
    try {
      await answerChallenge(challenge, proof, value);
    } catch (error) {
      const silent = error instanceof ApiError && error.status === 0;
      setFailure(silent ? t.login.unreachable : (error as Error).message);
      setValue("");
      setWorking(false);
    }
  };
  return (
    <Form
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {failure && <Alert isInline variant="danger" title={failure} role="alert" />}
      <FormGroup label={t.login.proof[proof]} fieldId="proof">
        <TextInput
          key={proof}
          id="proof"
          autoFocus
          isRequired
          autoComplete={proof === "totp" ? "one-time-code" : "off"}
          inputMode={proof === "totp" ? "numeric" : "text"}
          spellCheck={false}
          value={value}
          onChange={(_, text) => setValue(text)}
        />
        <FormHelperText>
          {proof === "totp" ? t.login.totpHint : challenge.recovery === "low" ? t.login.recoveryLow : t.login.recoveryHint}
        </FormHelperText>
      </FormGroup>
      <Button type="submit" isBlock isLoading={working} isDisabled={working || value.trim() === ""}>
        {working ? t.login.working : t.login.submit}
      </Button>
      <div className="kv-ways">
        {challenge.totp && challenge.recovery !== false && (
          <Button
            variant="link"
            isInline
            onClick={() => {
              setProof(other);
              setValue("");
              setFailure(undefined);
            }}
          >
            {t.login.instead[other]}
          </Button>
        )}
        <Button variant="link" isInline onClick={onBack}>
          {t.login.back}
        </Button>
      </div>
    </Form>
  );
}
