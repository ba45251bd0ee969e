/** Create VM, in steps. What the server refuses is shown at its field, in its step. */

import { useEffect, useState } from "react";
import { Alert, Button, Form, Modal, ModalBody, ModalFooter, ModalHeader } from "@patternfly/react-core";
import { createGuest, nextId, type Settings } from "../api/guest";
import { cdValue, diskValue, firstDisk } from "../hardware/drives";
import { NO_NIC } from "../hardware/fields";
import { useText } from "../i18n/text";
import { CheckField } from "../shell/fields";
import { Failure, useAttempt } from "../shell/form";
import { goTo } from "../shell/route";
import { useTaskFocus } from "../tasks/focus";
import type { Cluster } from "../tree/model";
import { lacks, settingsOf, stepOf, STEPS, type Draft, type Step } from "./model";
import { StepFields } from "./StepFields";

const PARAMETERS = [
  ...["vmid", "name", "onboot", "ostype", "ide2", "agent", "serial0", "sockets", "cores", "cpu", "cpulimit", "memory", "balloon"],
  ...["net0", "scsi0", "scsi1", "scsi2", "scsi3"],
];

export default function CreateWizard({ cluster, node, onClose }: { cluster: Cluster; node: string; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const [step, setStep] = useState<Step>("general");
  const [start, setStart] = useState(false);
  const [draft, setDraft] = useState<Draft>(() => first(node));
  const { errors, attempt, failure, working } = useAttempt(...PARAMETERS);
  useEffect(() => {
    void nextId().then((vmid) => setDraft((before) => (before.vmid === "" ? { ...before, vmid } : before)));
  }, []);
  const wrong = Object.keys(errors)[0];
  const [told, setTold] = useState<string>();
  if (wrong !== told) {
    setTold(wrong);
    if (wrong !== undefined) setStep(stepOf(wrong));
  }
  const at = STEPS.indexOf(step);
  const settings = settingsOf(draft, diskValue, cdValue);
  const shown: Settings = { node: draft.node, ...settings };
  const lacking = STEPS.find((each) => lacks(each, draft) !== undefined);
  const create = () =>
    attempt(async () => {
      follow(await createGuest(draft.node, { ...settings, start: start ? 1 : undefined }));
      onClose();
      goTo({ view: "guest", vmid: Number(draft.vmid) });
    });
  const next = () => (step === "confirm" ? void create() : setStep(STEPS[at + 1] ?? "confirm"));
  return (
    <Modal isOpen variant="medium" aria-labelledby="create-title" onClose={onClose}>
      <ModalHeader title={t.wizard.title} labelId="create-title" />
      <ModalBody>
        <div className="kv-wizard">
          <ol className="kv-steps" aria-label={t.wizard.steps}>
            {STEPS.map((each) => (
              <li key={each} data-wrong={Object.keys(errors).some((name) => stepOf(name) === each)}>
                <button
                  type="button"
                  aria-current={each === step ? "step" : undefined}
                  disabled={lacking !== undefined && STEPS.indexOf(each) > STEPS.indexOf(lacking)}
                  onClick={() => setStep(each)}
                >
                  {t.wizard.names[each]}
                </button>
              </li>
            ))}
          </ol>
          <Form
            id="create-form"
            onSubmit={(event) => {
              event.preventDefault();
              if (lacks(step, draft) === undefined && !working) next();
            }}
          >
            {step === "confirm" ? (
              <>
                <table className="kv-table kv-config">
                  <tbody>
                    {Object.entries(shown).map(
                      ([key, value]) =>
                        value !== undefined && (
                          <tr key={key}>
                            <th scope="row">{key}</th>
                            <td className="kv-mono">{value}</td>
                          </tr>
                        ),
                    )}
                  </tbody>
                </table>
                <CheckField id="start" label={t.wizard.start} checked={start} onChange={setStart} />
              </>
            ) : (
              <StepFields step={step} draft={draft} cluster={cluster} errors={errors} onChange={setDraft} />
            )}
            <Failure text={failure} />
            {!cluster.quorate && <Alert isInline variant="warning" title={t.quorum.actionRefused} />}
          </Form>
        </div>
      </ModalBody>
      <ModalFooter>
        <Button
          type="submit"
          form="create-form"
          isLoading={working}
          isDisabled={working || lacks(step, draft) !== undefined || (step === "confirm" && !cluster.quorate)}
        >
          {step === "confirm" ? t.wizard.create : t.wizard.next}
        </Button>
        <Button variant="secondary" isDisabled={at === 0} onClick={() => setStep(STEPS[at - 1] ?? "general")}>
          {t.wizard.back}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

function first(node: string): Draft {
  return {
    node,
    vmid: "",
    name: "",
    onboot: false,
    ostype: "l26",
    cd: { storage: "", volume: "" },
    agent: true,
    serial: false,
    disks: [firstDisk],
    cpu: { sockets: "1", cores: "2", type: "", limit: "" },
    memory: "2048",
    balloon: "",
    nic: { ...NO_NIC, options: { bridge: "vmbr0" } },
  };
}
