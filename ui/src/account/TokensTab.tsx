/** API tokens: for programs that act for the user. */

import { useState } from "react";
import { Button, Checkbox, Form } from "@patternfly/react-core";
import { addToken, removeToken, useTokens } from "../api/account";
import { useText } from "../i18n/text";
import { Failure, Field, ShownOnce, useAttempt } from "../shell/form";

export function TokensTab({ user }: { user: string }) {
  const t = useText();
  const tokens = useTokens(user);
  const { failure, working, attempt } = useAttempt();
  const [tokenid, setTokenid] = useState("");
  const [comment, setComment] = useState("");
  const [privsep, setPrivsep] = useState(true);
  const [made, setMade] = useState<{ name: string; secret: string }>();
  const rows = tokens.data ?? [];
  const submit = () =>
    attempt(async () => {
      setMade(await addToken(user, { tokenid, comment: comment || undefined, privsep }));
      setTokenid("");
      setComment("");
    });
  return (
    <div className="kv-account">
      <p className="kv-quiet">{t.account.tokensText}</p>
      <Failure text={failure ?? tokens.error?.message} />
      {made && <ShownOnce title={t.account.secretOf(made.name)} text={made.secret} label={t.account.secret} />}
      {rows.length > 0 ? (
        <table className="kv-table">
          <thead>
            <tr>
              <th scope="col">{t.account.token}</th>
              <th scope="col">{t.account.comment}</th>
              <th scope="col">{t.account.rights}</th>
              <th scope="col">
                <span className="kv-sr">{t.account.remove}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((token) => (
              <tr key={token.tokenid}>
                <th scope="row" className="kv-mono">
                  {token.tokenid}
                </th>
                <td>{token.comment}</td>
                <td>{token.privsep ? t.account.ownRights : t.account.usersRights}</td>
                <td className="kv-number">
                  <Button
                    size="sm"
                    variant="secondary"
                    isDanger
                    isDisabled={working}
                    aria-label={t.account.removeThing(token.tokenid)}
                    onClick={() => void attempt(() => removeToken(user, token.tokenid))}
                  >
                    {t.account.remove}
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        tokens.data && <p>{t.account.noToken}</p>
      )}
      <Form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <div className="kv-pair">
          <Field id="tokenid" label={t.account.token} value={tokenid} onChange={setTokenid} />
          <Field id="comment" label={t.account.comment} value={comment} onChange={setComment} />
        </div>
        <Checkbox
          id="privsep"
          label={t.account.privsep}
          description={t.account.privsepText}
          isChecked={privsep}
          onChange={(_, checked) => setPrivsep(checked)}
        />
        <div>
          <Button type="submit" size="sm" isLoading={working} isDisabled={working || tokenid === ""}>
            {t.account.addToken}
          </Button>
        </div>
      </Form>
    </div>
  );
}
