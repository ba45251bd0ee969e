/** The way in. What the server says about a failed login is shown as it is. */

import { useState } from "react";
import {
  Alert,
  Button,
  Form,
  FormGroup,
  FormSelect,
  FormSelectOption,
  TextInput,
} from "@patternfly/react-core";
import { ApiError } from "../api/client";
import { useRealms } from "../api/live";
import { logIn, type Challenge } from "../api/session";
import type { Realm } from "../api/types";
import { LANGUAGES, useLanguage, type Language } from "../i18n/text";
import { SecondStep } from "./SecondStep";
import { Logo } from "../shell/Logo";

const PAM: Realm[] = [{ realm: "pam", type: "pam" }];

export function Login({ reason }: { reason?: string | undefined }) {
  const { t, language, setLanguage } = useLanguage();
  const realms = useRealms().data ?? PAM;
  const [username, setUsername] = useState("root");
  const [password, setPassword] = useState("");
  const [picked, setPicked] = useState<string>();
  const [failure, setFailure] = useState(reason);
  const [working, setWorking] = useState(false);
  const [challenge, setChallenge] = useState<Challenge>();
  const realm = picked ?? (realms.find((each) => each.default) ?? realms[0] ?? PAM[0])?.realm ?? "pam";

  const submit = async () => {
    setWorking(true);
    setFailure(undefined);
    try {
      const asked = await logIn({ username, realm, password });
      if (!asked) return;
      setChallenge(asked);
      setPassword("");
      setWorking(false);
    } catch (error) {
      const silent = error instanceof ApiError && error.status === 0;
      setFailure(silent ? t.login.unreachable : (error as Error).message);
      setPassword("");
      setWorking(false);
    }
  };
  return (
    <main className="kv-login">
      <section className="kv-login-card">
        <h1>
          <Logo size={40} /> {t.product}
        </h1>
        <p className="kv-quiet">{t.login.tagline}</p>
        {challenge ? (
          <SecondStep challenge={challenge} onBack={() => setChallenge(undefined)} />
        ) : (
          <Form
            onSubmit={(event) => {
              event.preventDefault();
              void submit();
            }}
          >
            {failure && <Alert isInline variant="danger" title={failure} role="alert" />}
            <FormGroup label={t.login.username} fieldId="username">
              <TextInput
                id="username"
                autoComplete="username"
                isRequired
                value={username}
                onChange={(_, value) => setUsername(value)}
              />
            </FormGroup>
            <FormGroup label={t.login.password} fieldId="password">
              <TextInput
                id="password"
                type="password"
                autoComplete="current-password"
                autoFocus
                isRequired
                value={password}
                onChange={(_, value) => setPassword(value)}
              />
            </FormGroup>
            <div className="kv-pair">
              <FormGroup label={t.login.realm} fieldId="realm">
                <FormSelect id="realm" value={realm} onChange={(_, value) => setPicked(value)}>
                  {realms.map((each) => (
                    <FormSelectOption key={each.realm} value={each.realm} label={each.comment ?? each.realm} />
                  ))}
                </FormSelect>
              </FormGroup>
              <FormGroup label={t.login.language} fieldId="language">
                <FormSelect
                  id="language"
                  value={language}
                  onChange={(_, value) => setLanguage(value as Language)}
                >
                  {Object.entries(LANGUAGES).map(([key, { name }]) => (
                    <FormSelectOption key={key} value={key} label={name} />
                  ))}
                </FormSelect>
              </FormGroup>
            </div>
            <Button type="submit" isBlock isLoading={working} isDisabled={working || password === ""}>
              {working ? t.login.working : t.login.submit}
            </Button>
          </Form>
        )}
      </section>
    </main>
  );
}
