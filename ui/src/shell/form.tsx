/** What the dialogs' forms are made of: fields that show what the server says of them, a sentence for the rest. */

import { useState, type ReactNode } from "react";
import {
  Alert,
  ClipboardCopy,
  FormGroup,
  FormHelperText,
  HelperText,
  HelperTextItem,
  TextInput,
} from "@patternfly/react-core";
import { ApiError } from "../api/client";
import { useText } from "../i18n/text";

export interface Attempt {
  /** why it failed, as far as no field shows it */
  failure: string | undefined;
  /** what the server says of single parameters */
  errors: Readonly<Record<string, string>>;
  working: boolean;
  attempt: (act: () => Promise<void>) => Promise<boolean>;
}

/** Does something and remembers why it failed. `fields` are the parameters whose fields show their own errors. */
export function useAttempt(...fields: string[]): Attempt {
  const [failure, setFailure] = useState<string>();
  const [errors, setErrors] = useState<Readonly<Record<string, string>>>({});
  const [working, setWorking] = useState(false);
  const attempt = async (act: () => Promise<void>): Promise<boolean> => {
    setWorking(true);
    setFailure(undefined);
    setErrors({});
    try {
      await act();
      return true;
    } catch (error) {
      const told = error instanceof ApiError ? error.fields : {};
      const shown = Object.keys(told).filter((name) => fields.includes(name));
      const elsewhere = Object.entries(told).filter(([name]) => !fields.includes(name));
      setErrors(Object.fromEntries(shown.map((name) => [name, told[name] ?? ""])));
      const head = error instanceof ApiError ? error.head : (error as Error).message;
      setFailure([head, ...elsewhere.map(([name, text]) => `${name}: ${text}`)].join("\n"));
      return false;
    } finally {
      setWorking(false);
    }
  };
  return { failure, errors, working, attempt };
}

export function Failure({ text }: { text: string | undefined }) {
  return text === undefined ? null : <Alert className="kv-failure" isInline variant="danger" role="alert" title={text} />;
}

interface FieldProps {
  id: string;
  label: string;
  value: string;
  onChange: (value: string) => void;
  secret?: "current-password" | "new-password" | "off";
  numeric?: boolean;
  hint?: ReactNode;
  error?: string | undefined;
  isDisabled?: boolean;
  placeholder?: string;
}

export function Field({ id, label, value, onChange, secret, numeric = false, hint, error, ...rest }: FieldProps) {
  return (
    <FormGroup label={label} fieldId={id}>
      <TextInput
        id={id}
        type={secret ? "password" : "text"}
        autoComplete={secret ?? (numeric ? "one-time-code" : "off")}
        inputMode={numeric ? "numeric" : "text"}
        spellCheck={false}
        value={value}
        validated={error === undefined ? "default" : "error"}
        aria-describedby={hint || error ? `${id}-help` : undefined}
        onChange={(_, text) => onChange(text)}
        {...rest}
      />
      <Help id={id} hint={hint} error={error} />
    </FormGroup>
  );
}

/** The words under a field: what is wrong with it, else what it is for. */
export function Help({ id, hint, error }: { id: string; hint?: ReactNode; error?: string | undefined }) {
  if (!hint && error === undefined) return null;
  return (
    <FormHelperText>
      <HelperText id={`${id}-help`}>
        <HelperTextItem variant={error === undefined ? "default" : "error"}>{error ?? hint}</HelperTextItem>
      </HelperText>
    </FormHelperText>
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
