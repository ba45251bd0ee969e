/** Second factors: generators of one-time passwords and recovery keys. */

import { useState } from "react";
import { Button, Form } from "@patternfly/react-core";
import { addGenerator, makeRecoveryKeys, mustConfirm, removeFactor, useFactors } from "../api/account";
import { useLanguage } from "../i18n/text";
import { moment } from "../i18n/units";
import { base32, grouped, otpauth, SECRET_BYTES } from "./generator";
import { Failure, Field, ShownOnce, useAttempt } from "../shell/form";
import { QrCode } from "../shell/QrCode";

export function FactorsTab({ user, issuer }: { user: string; issuer: string }) {
  const { t, language } = useLanguage();
  const factors = useFactors(user);
  const { failure, working, attempt } = useAttempt();
  const [password, setPassword] = useState("");
  const [secret, setSecret] = useState<string>();
  const [keys, setKeys] = useState<string[]>();
  const confirmation = mustConfirm(user) ? password : undefined;
  const confirmed = confirmation === undefined || confirmation !== "";
  const rows = factors.data ?? [];
  const name = (type: string) => (type === "totp" ? t.account.generator : type === "recovery" ? t.account.keys : type);
  return (
    <div className="kv-account">
      <p className="kv-quiet">{t.account.factorsText}</p>
      <Failure text={failure ?? factors.error?.message} />
      {mustConfirm(user) && (
        <Field id="confirm" label={t.account.confirm} value={password} onChange={setPassword} secret="current-password" />
      )}
      {rows.length > 0 ? (
        <table className="kv-table">
          <thead className="kv-sr">
            <tr>
              <th scope="col">{t.account.factor}</th>
              <th scope="col">{t.account.added}</th>
              <th scope="col">{t.account.remove}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((factor) => (
              <tr key={factor.id}>
                <th scope="row">{[name(factor.type), factor.description].filter(Boolean).join(": ")}</th>
                <td className="kv-quiet">
                  {factor.created !== undefined && moment(factor.created, language, new Date())}
                </td>
                <td className="kv-number">
                  <Button
                    size="sm"
                    variant="secondary"
                    isDanger
                    isDisabled={working || !confirmed}
                    aria-label={t.account.removeThing(factor.description || name(factor.type))}
                    onClick={() => void attempt(() => removeFactor(user, factor.id, confirmation))}
                  >
                    {t.account.remove}
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        factors.data && <p>{t.account.noFactor}</p>
      )}
      {keys && <ShownOnce title={t.account.keysMade} text={keys.join("\n")} label={t.account.keys} />}
      {secret === undefined ? (
        <div className="kv-actions kv-left">
          <Button
            size="sm"
            onClick={() => {
              setKeys(undefined);
              setSecret(base32(crypto.getRandomValues(new Uint8Array(SECRET_BYTES))));
            }}
          >
            {t.account.addGenerator}
          </Button>
          <Button
            size="sm"
            variant="secondary"
            isDisabled={working || !confirmed}
            onClick={() => void attempt(async () => setKeys(await makeRecoveryKeys(user, confirmation)))}
          >
            {t.account.makeKeys}
          </Button>
        </div>
      ) : (
        <NewGenerator
          user={user}
          secret={secret}
          issuer={issuer}
          password={confirmation}
          onDone={() => setSecret(undefined)}
        />
      )}
    </div>
  );
}

interface NewProps {
  user: string;
  secret: string;
  issuer: string;
  password: string | undefined;
  onDone: () => void;
}

function NewGenerator({ user, secret, issuer, password, onDone }: NewProps) {
  const { t } = useLanguage();
  const { failure, working, attempt } = useAttempt();
  const [description, setDescription] = useState("");
  const [value, setValue] = useState("");
  const uri = otpauth(user, secret, issuer);
  const submit = async () => {
    if (await attempt(() => addGenerator(user, { uri, value: value.trim(), description }, password))) onDone();
  };
  return (
    <Form
      className="kv-generator"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <div className="kv-scan">
        <QrCode text={uri} label={t.account.qr} />
        <div>
          <p>{t.account.scan}</p>
          <p className="kv-mono">{grouped(secret)}</p>
        </div>
      </div>
      <Failure text={failure} />
      <Field id="description" label={t.account.description} value={description} onChange={setDescription} />
      <Field id="value" label={t.account.shownNow} value={value} onChange={setValue} numeric />
      <div className="kv-actions kv-left">
        <Button
          type="submit"
          size="sm"
          isLoading={working}
          isDisabled={working || value.trim() === "" || password === ""}
        >
          {t.account.add}
        </Button>
        <Button size="sm" variant="link" onClick={onDone}>
          {t.cancel}
        </Button>
      </div>
    </Form>
  );
}
