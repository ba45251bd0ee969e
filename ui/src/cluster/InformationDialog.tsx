/** Join Information: what the node that shall join needs to know; and tokens, which stand for the password too. */

import { useState } from "react";
import { Button, ClipboardCopy, FormGroup, FormSelect, FormSelectOption } from "@patternfly/react-core";
import { makeToken, revokeToken, useJoinAnswer, useJoinTokens } from "../api/cluster";
import type { JoinAnswer, NewJoinToken } from "../api/types";
import { useLanguage, useText } from "../i18n/text";
import { moment } from "../i18n/units";
import { Failure, Field, ShownOnce, useAttempt } from "../shell/form";
import { Facts } from "../shell/parts";
import { QrCode } from "../shell/QrCode";
import { Dialog } from "../shell/Dialog";
import { informationText } from "./invitation";

interface Props {
  /** why no token can be made */
  refused: string | undefined;
  onClose: () => void;
}

export function InformationDialog({ refused, onClose }: Props) {
  const t = useText();
  const asked = useJoinAnswer();
  return (
    <Dialog
      title={t.information.title}
      attempt={{ failure: asked.error?.message, working: false }}
      large
      onClose={onClose}
    >
      {asked.data && <Information answer={asked.data} />}
      {!refused && <Tokens />}
    </Dialog>
  );
}

function Information({ answer }: { answer: JoinAnswer }) {
  const t = useText();
  const [over, setOver] = useState(answer.preferred_node);
  const node = answer.nodelist.find(({ name }) => name === over);
  const text = informationText({ ...answer, preferred_node: over });
  return (
    <>
      <p>{t.information.text}</p>
      <FormGroup label={t.information.over} fieldId="over">
        <FormSelect id="over" value={over} onChange={(_, value) => setOver(value)}>
          {answer.nodelist.map(({ name }) => (
            <FormSelectOption key={name} value={name} label={name} />
          ))}
        </FormSelect>
      </FormGroup>
      <Facts
        facts={[
          [t.information.address, <span className="kv-mono">{node?.pve_addr}</span>],
          [t.cluster.fingerprint, <span className="kv-mono">{node?.pve_fp}</span>],
        ]}
      />
      <FormGroup label={t.information.coded} fieldId="information">
        <textarea id="information" className="kv-coded" readOnly rows={5} value={text} onFocus={(e) => e.target.select()} />
        <CopyButton text={text} word={t.information.copy} />
      </FormGroup>
    </>
  );
}

function CopyButton({ text, word }: { text: string; word: string }) {
  const t = useText();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    const area = document.getElementById("information");
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without the right to the clipboard what is selected can be copied by hand.
      if (area instanceof HTMLTextAreaElement) area.select();
      return;
    }
    setCopied(true);
  };
  return (
    <Button variant="primary" size="sm" onClick={() => void copy()}>
      {copied ? t.cluster.copied : word}
    </Button>
  );
}

function Tokens() {
  const { t, language } = useLanguage();
  const tokens = useJoinTokens();
  const { failure, errors, working, attempt } = useAttempt("minutes");
  const [minutes, setMinutes] = useState("10");
  const [made, setMade] = useState<NewJoinToken>();
  const now = new Date();
  const open = (tokens.data ?? []).filter(({ state }) => state === "open");
  return (
    <section className="kv-links" aria-label={t.information.token}>
      <h3>{t.information.token}</h3>
      <p className="kv-quiet">{t.information.tokenText}</p>
      <Failure text={failure} />
      {made && (
        <>
          <ShownOnce title={t.information.made} text={made.token} label={t.information.made} />
          <div className="kv-scan">
            <QrCode text={made.token} label={t.information.qr} />
            <div>
              <p>{t.information.until(moment(made.expires, language, now))}</p>
              <ClipboardCopy isReadOnly hoverTip={t.cluster.copy} clickTip={t.cluster.copied}>
                {`pvecm add ${made.hostname} --token ${made.token}`}
              </ClipboardCopy>
            </div>
          </div>
        </>
      )}
      <div className="kv-token-row">
        <Field
          id="minutes"
          label={t.information.minutes}
          value={minutes}
          numeric
          onChange={(text) => setMinutes(text.replace(/\D/g, ""))}
          error={errors.minutes}
        />
        <Button
          variant="secondary"
          isLoading={working}
          isDisabled={working || minutes === ""}
          onClick={() => void attempt(async () => setMade(await makeToken(Number(minutes))))}
        >
          {t.information.make}
        </Button>
      </div>
      {open.length > 0 && (
        <table className="kv-table" aria-label={t.information.open_}>
          <thead>
            <tr>
              <th scope="col">{t.information.open_}</th>
              <th scope="col" className="kv-wide">
                {t.information.by}
              </th>
              <th scope="col">{t.information.expires}</th>
              <th scope="col">
                <span className="kv-sr">{t.information.revoke}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {open.map(({ id, by, expires }) => (
              <tr key={id}>
                <th scope="row" className="kv-mono">
                  {id}
                </th>
                <td className="kv-wide">{by}</td>
                <td>{moment(expires, language, now)}</td>
                <td className="kv-number">
                  <Button
                    size="sm"
                    variant="secondary"
                    isDanger
                    isDisabled={working}
                    aria-label={t.information.revokeThis(id)}
                    onClick={() => void attempt(() => revokeToken(id))}
                  >
                    {t.information.revoke}
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
