/** The fields of memory, processors, network cards and the small choices, in dialogs and in the wizard. */

import { useBridges, useCpuModels, useMachines, type Settings } from "../api/guest";
import type { Nic } from "../guest/properties";
import { useText } from "../i18n/text";
import { CheckField, plain, SelectField, type Option } from "../shell/fields";
import { Field } from "../shell/form";
import type { Values } from "./model";

type Errors = Readonly<Record<string, string>>;

interface MemoryProps {
  memory: string;
  balloon: string;
  errors: Errors;
  onMemory: (memory: string) => void;
  onBalloon: (balloon: string) => void;
}

export function MemoryFields({ memory, balloon, errors, onMemory, onBalloon }: MemoryProps) {
  const t = useText();
  return (
    <>
      <Field id="memory" label={t.hardware.memoryMib} numeric value={memory} onChange={onMemory} error={errors.memory} />
      <Field
        id="balloon"
        label={t.hardware.balloonMib}
        numeric
        value={balloon}
        onChange={onBalloon}
        hint={t.hardware.balloonText}
        error={errors.balloon}
      />
    </>
  );
}

/** What changes `settings` to this; an empty balloon is taken away. */
export function memorySettings(memory: string, balloon: string, settings: Values): Settings {
  if (balloon !== "") return { memory, balloon };
  return "balloon" in settings ? { memory, delete: "balloon" } : { memory };
}

export interface CpuWish {
  sockets: string;
  cores: string;
  type: string;
  limit: string;
}

interface CpuProps {
  node: string;
  cpu: CpuWish;
  onChange: (cpu: CpuWish) => void;
  errors: Errors;
}

export function CpuFields({ node, cpu, onChange, errors }: CpuProps) {
  const t = useText();
  const models = useCpuModels(node).data ?? [];
  const set = (part: Partial<CpuWish>) => onChange({ ...cpu, ...part });
  return (
    <>
      <div className="kv-pair">
        <Field id="sockets" label={t.hardware.sockets} numeric value={cpu.sockets} onChange={(sockets) => set({ sockets })} error={errors.sockets} />
        <Field id="cores" label={t.hardware.cores} numeric value={cpu.cores} onChange={(cores) => set({ cores })} error={errors.cores} />
      </div>
      <SelectField
        id="cpu"
        label={t.hardware.cpuType}
        value={cpu.type}
        options={[{ value: "", label: t.hardware.standard }, ...plain(models.map(({ name }) => name))]}
        onChange={(type) => set({ type })}
        error={errors.cpu}
      />
      <Field
        id="cpulimit"
        label={t.hardware.cpuLimit}
        numeric
        value={cpu.limit}
        onChange={(limit) => set({ limit })}
        hint={t.hardware.cpuLimitText}
        error={errors.cpulimit}
      />
    </>
  );
}

const STANDARD: Readonly<Record<string, string>> = { sockets: "1", cores: "1" };

/** What changes `settings` to this, and nothing else. */
export function cpuSettings({ sockets, cores, type, limit }: CpuWish, settings: Values): Settings {
  const given = { sockets, cores, cpu: type, cpulimit: limit };
  const kept = Object.entries(given).filter(([key, value]) => value !== "" && value !== (settings[key] ?? STANDARD[key]));
  const gone = Object.entries(given).flatMap(([key, value]) => (value === "" && key in settings ? [key] : []));
  return { ...Object.fromEntries(kept), delete: gone.length > 0 ? gone.join(",") : undefined };
}

export const NO_NIC: Nic = { model: "virtio", mac: "", options: {} };
const MODELS: readonly Option[] = [
  { value: "virtio", label: "VirtIO" },
  { value: "e1000", label: "Intel E1000" },
  { value: "e1000e", label: "Intel E1000E" },
  { value: "rtl8139", label: "Realtek RTL8139" },
  { value: "vmxnet3", label: "VMware vmxnet3" },
];

interface NicProps {
  node: string;
  nic: Nic;
  onChange: (nic: Nic) => void;
  error?: string | undefined;
}

export function NicFields({ node, nic, onChange, error }: NicProps) {
  const t = useText();
  const bridges = useBridges(node);
  const names = (bridges.data ?? []).filter(({ type, iface }) => type === "bridge" || type === "OVSBridge" || iface.startsWith("vmbr"));
  const set = (key: string, value: string | undefined) => {
    const options = Object.fromEntries(Object.entries({ ...nic.options, [key]: value }).filter(([, each]) => each)) as Record<string, string>;
    onChange({ ...nic, options });
  };
  return (
    <>
      <SelectField
        id="bridge"
        label={t.hardware.bridge}
        value={nic.options.bridge ?? ""}
        options={[{ value: "", label: t.hardware.nat }, ...plain(names.map(({ iface }) => iface))]}
        onChange={(bridge) => set("bridge", bridge)}
        error={error}
      />
      <SelectField id="model" label={t.hardware.model} value={nic.model} options={MODELS} onChange={(model) => onChange({ ...nic, model })} />
      <Field id="mac" label={t.hardware.mac} value={nic.mac} onChange={(mac) => onChange({ ...nic, mac })} placeholder={t.hardware.macMade} />
      <div className="kv-pair">
        <Field id="tag" label={t.hardware.vlan} numeric value={nic.options.tag ?? ""} onChange={(text) => set("tag", text)} />
        <Field id="rate" label={t.hardware.rate} numeric value={nic.options.rate ?? ""} onChange={(text) => set("rate", text)} />
      </div>
      <CheckField
        id="link_down"
        label={t.hardware.cableOut}
        checked={nic.options.link_down === "1"}
        onChange={(on) => set("link_down", on ? "1" : undefined)}
      />
    </>
  );
}

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  bios: ["seabios", "ovmf"],
  vga: ["std", "virtio", "qxl", "qxl2", "qxl3", "qxl4", "cirrus", "vmware", "serial0", "none"],
  scsihw: ["virtio-scsi-single", "virtio-scsi-pci", "lsi", "lsi53c810", "megasas", "pvscsi"],
};

interface SimpleProps {
  node: string;
  name: string;
  value: string;
  onChange: (value: string) => void;
  error?: string | undefined;
}

/** A setting that is one of some words. */
export function SimpleField({ node, name, value, onChange, error }: SimpleProps) {
  const t = useText();
  const machines = useMachines(node).data ?? [];
  const words = name === "machine" ? ["pc", "q35", ...machines.map(({ id }) => id)] : (CHOICES[name] ?? []);
  return (
    <SelectField
      id={name}
      label={t.hardware.kinds[name as "bios"]}
      value={value}
      options={[{ value: "", label: t.hardware.standard }, ...plain([...new Set(words)])]}
      onChange={onChange}
      error={error}
    />
  );
}
