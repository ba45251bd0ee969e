/** The whole page: the login, or the console around what the address names. */

import { useEffect } from "react";
import { Spinner } from "@patternfly/react-core";
import { forgetAll } from "../api/live";
import { useSession } from "../api/session";
import { useText } from "../i18n/text";
import { Login } from "../login/Login";
import { Console } from "./Console";

export function App() {
  const session = useSession();
  const t = useText();
  const out = session.state === "out";
  useEffect(() => {
    if (out) forgetAll();
  }, [out]);
  if (session.state === "checking") return <Spinner className="kv-checking" aria-label={t.loading} />;
  if (session.state === "out") return <Login reason={session.reason} />;
  return <Console user={session.user} />;
}
