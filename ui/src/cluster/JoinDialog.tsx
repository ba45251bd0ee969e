/** Join Cluster: what was copied on a member is pasted here, and the node becomes one of its cluster. */

import { useState } from "react";
import { Alert, Button, Checkbox, FormGroup, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import { joinCluster, shownFingerprint, useNetwork } from "../api/cluster";
import { expectNewKeys } from "../api/session";
import { useText } from "../i18n/text";
import { Field, Help, useAttempt } from "../shell/form";
import { Facts } from "../shell/parts";
import { useTaskFocus } from "../tasks/focus";
import { LINK_NAMES } from "./CreateDialog";
import { Dialog } from "../shell/Dialog";
import { readInvitation, type Invitation } from "./invitation";
import { JoinProgress } from "./JoinProgress";
import { LinkFields } from "./LinkFields";
import { linkParameters, linksTo, ownAddresses, type Link } from "./links";

interface Props {
  /** this node, and how many guests are on it */
  node: string;
  guests: number;
  onClose: () => void;
}

export function JoinDialog({ node, guests, onClose }: Props) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [upid, setUpid] = useState<string>();
  const [joined, setJoined] = useState<string>();
  if (upid === undefined) {
    const begun = (task: string, cluster: string | undefined) => {
      setJoined(cluster);
      setUpid(task);
    };
    return <JoinForm node={node} guests={guests} onBegun={begun} onClose={onClose} />;
  }
  const close = () => {
    follow(upid);
    onClose();
  };
  return (
    <Modal isOpen variant="medium" aria-labelledby="join-title" onClose={close}>
      <ModalHeader title={t.join.submit(joined)} labelId="join-title" />
      <ModalBody>
        <JoinProgress node={node} upid={upid} />
      </ModalBody>
      <ModalFooter>
        <Button variant="link" onClick={close}>
          {t.join.close}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

interface FormProps extends Props {
  onBegun: (upid: string, cluster: string | undefined) => void;
}

function JoinForm({ node, guests, onBegun, onClose }: FormProps) {
  const t = useText();
  const own = ownAddresses(useNetwork(node).data ?? []);
  const [assisted, setAssisted] = useState(true);
  const [pasted, setPasted] = useState("");
  const [byHand, setByHand] = useState({ address: "", fingerprint: "" });
  const [password, setPassword] = useState("");
  const [keepGuests, setKeepGuests] = useState(false);
  const [chosen, setChosen] = useState<Link[]>();
  const { errors, attempt, ...state } = useAttempt("hostname", "fingerprint", "password", "token", ...LINK_NAMES);

  const told = assisted ? readInvitation(pasted) : invitationByHand(byHand.address, byHand.fingerprint);
  const unreadable = assisted && pasted.trim() !== "" && !told ? t.join.unreadable : undefined;
  const links = chosen ?? (told && assisted ? linksTo(told.links, own) : [{ number: 0, address: "", priority: "" }]);
  const known = told !== undefined && told.address !== "";
  const ready = known && (told.token !== undefined || password !== "");
  const submit = () =>
    attempt(async () => {
      if (!told) return;
      expectNewKeys();
      const { address: hostname, fingerprint, token, cluster } = told;
      const secret = { token, password: token === undefined ? password : undefined };
      const upid = await joinCluster({ hostname, fingerprint, ...secret, keepGuests, links: linkParameters(links) });
      onBegun(upid, cluster);
    });
  return (
    <Dialog
      title={t.join.title}
      attempt={state}
      submit={t.join.submit(told?.cluster)}
      ready={ready}
      large
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <Checkbox
        id="assisted"
        label={t.join.assisted}
        isChecked={assisted}
        onChange={(_, checked) => {
          setAssisted(checked);
          setChosen(undefined);
        }}
      />
      {assisted ? (
        <>
          <FormGroup label={t.join.paste} fieldId="pasted">
            <textarea
              id="pasted"
              className="kv-coded"
              rows={4}
              spellCheck={false}
              autoComplete="off"
              autoFocus
              value={pasted}
              aria-describedby="pasted-help"
              onChange={(event) => {
                setPasted(event.target.value);
                setChosen(undefined);
              }}
            />
            <Help id="pasted" hint={t.join.pasteHint} error={errors.token ?? unreadable} />
          </FormGroup>
          {told && <Told invitation={told} errors={errors} />}
        </>
      ) : (
        <ByHand given={byHand} errors={errors} onChange={setByHand} />
      )}
      {told?.token === undefined && (
        <Field
          id="join-password"
          label={t.join.password}
          value={password}
          onChange={setPassword}
          secret="off"
          hint={told && t.join.passwordHint(told.address)}
          error={errors.password}
        />
      )}
      {told && (
        <LinkFields
          links={links}
          own={own}
          errors={errors}
          onChange={setChosen}
          {...(assisted ? { peers: told.links } : {})}
        />
      )}
      {guests > 0 && (
        <Alert isInline variant="warning" title={t.join.guests(guests)}>
          <p>{t.join.guestsText}</p>
          <Checkbox
            id="keep-guests"
            label={t.join.keepGuests}
            isChecked={keepGuests}
            onChange={(_, checked) => setKeepGuests(checked)}
          />
        </Alert>
      )}
      <p className="kv-quiet">{t.join.replaced}</p>
    </Dialog>
  );
}

function Told({ invitation, errors }: { invitation: Invitation; errors: Readonly<Record<string, string>> }) {
  const t = useText();
  return (
    <div>
      <Facts
        facts={[
          [t.cluster.name, invitation.cluster],
          [t.cluster.peer, <span className="kv-mono">{invitation.address}</span>],
          [t.cluster.fingerprint, <span className="kv-mono">{invitation.fingerprint}</span>],
          [t.join.password, invitation.token && t.join.tokenStands],
        ]}
      />
      <Help id="told" error={errors.hostname ?? errors.fingerprint} />
    </div>
  );
}

interface ByHandProps {
  given: { address: string; fingerprint: string };
  errors: Readonly<Record<string, string>>;
  onChange: (given: { address: string; fingerprint: string }) => void;
}

/** Without what was copied: an address, and the fingerprint that is shown there, to be compared. */
function ByHand({ given, errors, onChange }: ByHandProps) {
  const t = useText();
  const asking = useAttempt();
  const ask = () =>
    asking.attempt(async () => onChange({ ...given, fingerprint: await shownFingerprint(given.address) }));
  return (
    <>
      <Field
        id="hostname"
        label={t.cluster.peer}
        value={given.address}
        onChange={(address) => onChange({ ...given, address: address.trim() })}
        error={errors.hostname}
      />
      <div className="kv-token-row">
        <Field
          id="fingerprint"
          label={t.cluster.fingerprint}
          value={given.fingerprint}
          onChange={(fingerprint) => onChange({ ...given, fingerprint: fingerprint.trim() })}
          hint={t.join.compare}
          error={errors.fingerprint ?? asking.failure}
        />
        <Button
          variant="secondary"
          isDisabled={given.address === "" || asking.working}
          isLoading={asking.working}
          onClick={() => void ask()}
        >
          {t.join.askFingerprint}
        </Button>
      </div>
    </>
  );
}

function invitationByHand(address: string, fingerprint: string): Invitation | undefined {
  if (address === "" || fingerprint === "") return undefined;
  return { address, fingerprint, links: new Map(), cluster: undefined, token: undefined };
}
