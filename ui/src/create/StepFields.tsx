/** The fields of one step of the wizard. */

import { Button } from "@patternfly/react-core";
import { CdFields, DiskFields, firstDisk } from "../hardware/drives";
import { CpuFields, MemoryFields, NicFields, NO_NIC } from "../hardware/fields";
import { useText } from "../i18n/text";
import { OPTIONS } from "../options/model";
import { CheckField, plain, SelectField } from "../shell/fields";
import { Field } from "../shell/form";
import type { Cluster } from "../tree/model";
import type { Draft, Step } from "./model";

interface Props {
  step: Exclude<Step, "confirm">;
  draft: Draft;
  cluster: Cluster;
  errors: Readonly<Record<string, string>>;
  onChange: (draft: Draft) => void;
}

const MOST_DISKS = 4;
const OS_TYPES = OPTIONS.find(({ key }) => key === "ostype");

export function StepFields({ step, draft, cluster, errors, onChange }: Props) {
  const t = useText();
  const set = (part: Partial<Draft>) => onChange({ ...draft, ...part });
  const { node } = draft;
  switch (step) {
    case "general":
      return (
        <>
          <SelectField
            id="node"
            label={t.node}
            value={node}
            options={plain(cluster.nodes.filter(({ state }) => state === "online").map(({ name }) => name))}
            onChange={(next) => set({ node: next, cd: { storage: "", volume: "" }, disks: draft.disks.map((disk) => ({ ...disk, storage: "" })) })}
          />
          <Field id="vmid" label="VM ID" numeric value={draft.vmid} onChange={(vmid) => set({ vmid })} error={errors.vmid} />
          <Field id="name" label={t.options.names.name} value={draft.name} onChange={(name) => set({ name })} error={errors.name} />
          <CheckField id="onboot" label={t.options.names.onboot} checked={draft.onboot} onChange={(onboot) => set({ onboot })} />
        </>
      );
    case "system":
      return (
        <>
          <CdFields node={node} cd={draft.cd} onChange={(cd) => set({ cd })} error={errors.ide2} />
          <SelectField
            id="ostype"
            label={t.options.names.ostype}
            value={draft.ostype}
            options={plain(OS_TYPES && "words" in OS_TYPES ? OS_TYPES.words : [])}
            onChange={(ostype) => set({ ostype })}
            error={errors.ostype}
          />
          <CheckField id="agent" label={t.options.names.agent} checked={draft.agent} onChange={(agent) => set({ agent })} />
          <CheckField id="serial" label={t.wizard.serial} checked={draft.serial} onChange={(serial) => set({ serial })} />
        </>
      );
    case "disks":
      return <Disks draft={draft} errors={errors} onChange={onChange} />;
    case "cpu":
      return <CpuFields node={node} cpu={draft.cpu} onChange={(cpu) => set({ cpu })} errors={errors} />;
    case "memory":
      return (
        <MemoryFields
          memory={draft.memory}
          balloon={draft.balloon}
          errors={errors}
          onMemory={(memory) => set({ memory })}
          onBalloon={(balloon) => set({ balloon })}
        />
      );
    case "network":
      return (
        <>
          <CheckField
            id="nonet"
            label={t.wizard.noNetwork}
            checked={draft.nic === undefined}
            onChange={(none) => set({ nic: none ? undefined : NO_NIC })}
          />
          {draft.nic && <NicFields node={node} nic={draft.nic} onChange={(nic) => set({ nic })} error={errors.net0} />}
        </>
      );
  }
}

function Disks({ draft, errors, onChange }: Pick<Props, "draft" | "errors" | "onChange">) {
  const t = useText();
  const { disks } = draft;
  return (
    <>
      {disks.length === 0 && <p className="kv-quiet">{t.wizard.noDisk}</p>}
      {disks.map((disk, number) => (
        <fieldset className="kv-fields" key={number}>
          <legend>scsi{number}</legend>
          <DiskFields
            node={draft.node}
            disk={disk}
            isNew
            prefix={`scsi${number}-`}
            error={errors[`scsi${number}`]}
            onChange={(next) => onChange({ ...draft, disks: disks.map((each, index) => (index === number ? next : each)) })}
          />
        </fieldset>
      ))}
      <div className="kv-actions kv-left">
        <Button
          size="sm"
          variant="secondary"
          isDisabled={disks.length >= MOST_DISKS}
          onClick={() => onChange({ ...draft, disks: [...disks, { ...firstDisk, storage: disks.at(-1)?.storage ?? "" }] })}
        >
          {t.wizard.addDisk}
        </Button>
        <Button size="sm" variant="link" isDisabled={disks.length === 0} onClick={() => onChange({ ...draft, disks: disks.slice(0, -1) })}>
          {t.wizard.removeDisk}
        </Button>
      </div>
    </>
  );
}
