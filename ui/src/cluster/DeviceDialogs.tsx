/** The QDevice: set up by SSH (the host key is compared first) or by hand, and removed. */

import { useState } from "react";
import { Checkbox, Button, ClipboardCopy, FormGroup, FormSelect, FormSelectOption, Radio } from "@patternfly/react-core";
import { removeDevice, setUpDevice, shownHostKey } from "../api/cluster";
import { useTaskNews } from "../api/taskStream";
import { useText } from "../i18n/text";
import { Field, Help, useAttempt } from "../shell/form";
import { Facts } from "../shell/parts";
import { useTaskFocus } from "../tasks/focus";
import { Lines } from "../tasks/Lines";
import { readUpid } from "../tasks/model";
import { Dialog } from "../shell/Dialog";

const ON_THE_HOST = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";

export function SetupDialog({ onClose }: { onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [address, setAddress] = useState("");
  const [bySsh, setBySsh] = useState(true);
  const [password, setPassword] = useState("");
  const [install, setInstall] = useState(true);
  const [algorithm, setAlgorithm] = useState("");
  const [heuristics, setHeuristics] = useState("");
  const [hostkey, setHostkey] = useState<string>();
  const [printed, setPrinted] = useState<string>();
  const [answer, setAnswer] = useState("");
  const { errors, attempt, ...state } = useAttempt("address", "password", "hostkey", "answer", "heuristics");
  const decides = { algorithm, heuristics: heuristics.trim() };

  const begin = (setup: Parameters<typeof setUpDevice>[0]) =>
    attempt(async () => {
      follow(await setUpDevice(setup));
      onClose();
    });
  const compare = () => attempt(async () => setHostkey(await shownHostKey(address)));
  const print = () =>
    attempt(async () => {
      setPrinted(await setUpDevice({ address, manual: true }));
    });
  const step = !bySsh
    ? printed !== undefined
      ? { word: t.device.finish, ready: answer.trim() !== "", act: () => begin({ address, answer: answer.trim(), install, ...decides }) }
      : { word: t.device.commands, ready: address !== "", act: print }
    : hostkey === undefined
      ? { word: t.device.next, ready: address !== "" && password !== "", act: compare }
      : { word: t.device.submit, ready: true, act: () => begin({ address, password, hostkey, install, ...decides }) };
  const back = () => {
    setHostkey(undefined);
    setPrinted(undefined);
  };
  const asked = hostkey !== undefined || printed !== undefined;
  return (
    <Dialog
      title={t.device.setup}
      attempt={state}
      submit={step.word}
      large
      ready={step.ready}
      onSubmit={() => void step.act()}
      onClose={onClose}
      more={
        asked && (
          <Button variant="secondary" onClick={back}>
            {t.device.back}
          </Button>
        )
      }
    >
      {!asked && <p>{t.device.text}</p>}
      <Field
        id="address"
        label={t.device.address}
        value={address}
        isDisabled={asked}
        onChange={(value) => setAddress(value.trim())}
        hint={t.device.addressHint}
        error={errors.address}
      />
      {!asked && (
        <FormGroup role="radiogroup" fieldId="way" label={t.device.way} isStack>
          <Radio id="way-ssh" name="way" label={t.device.ssh} isChecked={bySsh} onChange={() => setBySsh(true)} />
          <Radio
            id="way-hand"
            name="way"
            label={t.device.byHand}
            description={t.device.byHandText}
            isChecked={!bySsh}
            onChange={() => setBySsh(false)}
          />
        </FormGroup>
      )}
      {bySsh && !asked && (
        <Field
          id="device-password"
          label={t.device.password}
          value={password}
          onChange={setPassword}
          secret="off"
          error={errors.password}
        />
      )}
      {!asked && (
        <FormGroup label={t.device.algorithm} fieldId="algorithm">
          <FormSelect id="algorithm" value={algorithm} onChange={(_, value) => setAlgorithm(value)}>
            <FormSelectOption value="" label={t.device.byCount} />
            <FormSelectOption value="ffsplit" label={t.device.ffsplit} />
            <FormSelectOption value="lms" label={t.device.lms} />
          </FormSelect>
        </FormGroup>
      )}
      {!asked && (
        <Field
          id="heuristics"
          label={t.device.heuristics}
          value={heuristics}
          onChange={setHeuristics}
          hint={t.device.heuristicsHint}
          error={errors.heuristics}
        />
      )}
      {!asked && (
        <Checkbox id="install" label={t.device.install} isChecked={install} onChange={(_, on) => setInstall(on)} />
      )}
      {hostkey !== undefined && (
        <>
          <Facts facts={[[t.device.hostKey, <span className="kv-mono">{hostkey}</span>]]} />
          <p>{t.device.compare}</p>
          <ClipboardCopy isReadOnly hoverTip={t.cluster.copy} clickTip={t.cluster.copied}>
            {ON_THE_HOST}
          </ClipboardCopy>
          <Help id="hostkey" error={errors.hostkey ?? errors.password ?? errors.heuristics} />
        </>
      )}
      {printed !== undefined && (
        <>
          <p>{t.device.commandsShown}</p>
          <Commands upid={printed} />
          <FormGroup label={t.device.answer} fieldId="answer">
            <textarea
              id="answer"
              className="kv-coded"
              rows={4}
              spellCheck={false}
              value={answer}
              onChange={(event) => setAnswer(event.target.value)}
            />
            <Help id="answer" error={errors.answer} />
          </FormGroup>
        </>
      )}
    </Dialog>
  );
}

function Commands({ upid }: { upid: string }) {
  const t = useText();
  const { lines } = useTaskNews(readUpid(upid)?.node ?? "", upid);
  return (
    <div className="kv-progress">
      <Lines lines={lines} label={t.device.commands} />
    </div>
  );
}

export function RemoveDeviceDialog({ onClose }: { onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { attempt, ...state } = useAttempt();
  const submit = () =>
    attempt(async () => {
      follow(await removeDevice());
      onClose();
    });
  return (
    <Dialog
      title={t.device.removeTitle}
      attempt={state}
      submit={t.device.remove}
      danger
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.device.removeText}</p>
    </Dialog>
  );
}
