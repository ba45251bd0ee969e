/** More fields for forms: choices, switches, storages. Each shows what the server says of it. */

import type { ReactNode } from "react";
import { Checkbox, FormGroup, FormSelect, FormSelectOption } from "@patternfly/react-core";
import { Help } from "./form";

export interface Option {
  value: string;
  label: string;
}

interface SelectProps {
  id: string;
  label: string;
  value: string;
  options: readonly Option[];
  onChange: (value: string) => void;
  hint?: ReactNode;
  error?: string | undefined;
  isDisabled?: boolean;
}

/** A value that is none of the options is shown all the same: it came from the configuration. */
export function SelectField({ id, label, value, options, onChange, hint, error, isDisabled = false }: SelectProps) {
  const known = options.some((option) => option.value === value);
  const shown = known ? options : [{ value, label: value }, ...options];
  return (
    <FormGroup label={label} fieldId={id}>
      <FormSelect
        id={id}
        value={value}
        isDisabled={isDisabled}
        validated={error === undefined ? "default" : "error"}
        aria-describedby={hint || error ? `${id}-help` : undefined}
        onChange={(_, next) => onChange(next)}
      >
        {shown.map((option) => (
          <FormSelectOption key={option.value} value={option.value} label={option.label} />
        ))}
      </FormSelect>
      <Help id={id} hint={hint} error={error} />
    </FormGroup>
  );
}

interface CheckProps {
  id: string;
  label: string;
  description?: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
}

export function CheckField({ id, label, description, checked, onChange }: CheckProps) {
  return (
    <Checkbox id={id} label={label} description={description} isChecked={checked} onChange={(_, next) => onChange(next)} />
  );
}

/** Words as options that say no more than themselves. */
export function plain(words: readonly string[]): Option[] {
  return words.map((word) => ({ value: word, label: word }));
}
