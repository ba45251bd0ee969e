/** What the tabs of the account are made of. */

import { useState } from "react";
import { Alert, ClipboardCopy, FormGroup, TextInput } from "@patternfly/react-core";
import { useText } from "../i18n/text";

/** Does something and remembers why it failed. */
export function useAttempt() {
  const [failure, setFailure] = useState<string>();
  const [working, setWorking] = useState(false);
  const attempt = async (act: () => Promise<void>): Promise<boolean> => {
    setWorking(true);
    setFailure(undefined);
    try {
      await act();
      return true;
    } catch (error) {
      setFailure((error as Error).message);
      return false;
    } finally {
      setWorking(false);
    }
  };
  return { failure, working, attempt };
}

export function Failure({ text }: { text: string | undefined }) {
  return text === undefined ? null : <Alert className="kv-failure" isInline variant="danger" role="alert" title={text} />;
}

interface FieldProps {
  id: string;
  label: string;
  value: string;
  onChange: (value: string) => void;
  secret?: "current-password" | "new-password";
  numeric?: boolean;
}

export function Field({ id, label, value, onChange, secret, numeric = false }: FieldProps) {
  return (
    <FormGroup label={label} fieldId={id}>
      <TextInput
        id={id}
        type={secret ? "password" : "text"}
        autoComplete={secret ?? (numeric ? "one-time-code" : "off")}
        inputMode={numeric ? "numeric" : "text"}
        value={value}
        onChange={(_, text) => onChange(text)}
      />
    </FormGroup>
  );
}

/** What is shown once and can be copied. */
export function ShownOnce({ title, text, label }: { title: string; text: string; label: string }) {
  const t = useText();
  return (
    <Alert isInline variant="success" title={title}>
      <ClipboardCopy
        isReadOnly
        isExpanded={text.includes("\n")}
        variant={text.includes("\n") ? "expansion" : "inline"}
        hoverTip={t.account.copy}
        clickTip={t.account.copied}
        textAriaLabel={label}
      >
        {text}
      </ClipboardCopy>
      <p>{t.account.once}</p>
    </Alert>
  );
}
