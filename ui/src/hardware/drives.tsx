/** The fields of disks and CD drives, in the hardware's dialogs and in the wizard. */

import { useState } from "react";
import { useStorages, useVolumes, type StorageRow } from "../api/guest";
import { printProperties, readProperties } from "../guest/properties";
import { useLanguage } from "../i18n/text";
import { bytes } from "../i18n/units";
import { CheckField, plain, SelectField, type Option } from "../shell/fields";
import { Field } from "../shell/form";

export const BUSES: readonly Option[] = [
  { value: "scsi", label: "SCSI" },
  { value: "virtio", label: "VirtIO Block" },
  { value: "sata", label: "SATA" },
  { value: "ide", label: "IDE" },
];
const CACHES = ["none", "writeback", "writethrough", "directsync", "unsafe"];
export const FORMATS = ["qcow2", "raw", "vmdk"];

export interface DiskWish {
  /** what it is on; empty for a new one */
  file: string;
  storage: string;
  gib: string;
  format: string;
  options: Record<string, string | undefined>;
}

export const firstDisk: DiskWish = { file: "", storage: "", gib: "32", format: "", options: { discard: "on", ssd: "1" } };

export function readDisk(text: string): DiskWish {
  const { file = "", ...options } = readProperties(text, "file");
  return { file, storage: "", gib: "", format: "", options };
}

/** The setting: of a new disk, `STORAGE:GIB,…`. */
export function diskValue({ file, storage, gib, format, options }: DiskWish): string {
  return printProperties({ file: file === "" ? `${storage}:${gib}` : file, format, ...options }, "file");
}

/** The storages of a node that may hold this. */
export function holding(rows: readonly StorageRow[] | undefined, content: string): StorageRow[] {
  return (rows ?? []).filter((row) => row.active !== 0 && row.active !== false && row.content.split(",").includes(content));
}

interface DiskProps {
  node: string;
  disk: DiskWish;
  onChange: (disk: DiskWish) => void;
  isNew: boolean;
  error?: string | undefined;
  /** of the fields' ids, where there are several disks */
  prefix?: string;
}

export function DiskFields({ node, disk, onChange, isNew, error, prefix = "" }: DiskProps) {
  const { t } = useLanguage();
  const set = (options: Record<string, string | undefined>) => onChange({ ...disk, options: { ...disk.options, ...options } });
  return (
    <>
      {isNew && (
        <>
          <StorageField id={`${prefix}storage`} node={node} content="images" value={disk.storage} onChange={(storage) => onChange({ ...disk, storage })} />
          <div className="kv-pair">
            <Field id={`${prefix}gib`} label={t.hardware.gib} numeric value={disk.gib} onChange={(gib) => onChange({ ...disk, gib })} error={error} />
            <SelectField
              id={`${prefix}format`}
              label={t.hardware.format}
              value={disk.format}
              options={[{ value: "", label: t.hardware.storagesOwn }, ...plain(FORMATS)]}
              onChange={(format) => onChange({ ...disk, format })}
            />
          </div>
        </>
      )}
      <SelectField
        id={`${prefix}cache`}
        label={t.hardware.cache}
        value={disk.options.cache ?? ""}
        options={[{ value: "", label: `none (${t.hardware.standard})` }, ...plain(CACHES.slice(1))]}
        onChange={(cache) => set({ cache: cache === "" ? undefined : cache })}
        error={isNew ? undefined : error}
      />
      <CheckField
        id={`${prefix}discard`}
        label={t.hardware.discard}
        description={t.hardware.discardText}
        checked={disk.options.discard === "on"}
        onChange={(on) => set({ discard: on ? "on" : undefined })}
      />
      <CheckField id={`${prefix}ssd`} label={t.hardware.ssd} checked={disk.options.ssd === "1"} onChange={(on) => set({ ssd: on ? "1" : undefined })} />
      <CheckField
        id={`${prefix}nobackup`}
        label={t.hardware.noBackup}
        checked={disk.options.backup === "0"}
        onChange={(on) => set({ backup: on ? "0" : undefined })}
      />
      {!isNew && (
        <div className="kv-pair">
          <Field id={`${prefix}mbps_rd`} label={t.hardware.readLimit} numeric value={disk.options.mbps_rd ?? ""} onChange={(text) => set({ mbps_rd: text })} />
          <Field id={`${prefix}mbps_wr`} label={t.hardware.writeLimit} numeric value={disk.options.mbps_wr ?? ""} onChange={(text) => set({ mbps_wr: text })} />
        </div>
      )}
    </>
  );
}

interface StorageProps {
  id?: string;
  node: string;
  content: string;
  value: string;
  onChange: (storage: string) => void;
  optional?: string;
  error?: string | undefined;
}

/** A storage of the node that may hold this, with the room it has. */
export function StorageField({ id, node, content, value, onChange, optional, error }: StorageProps) {
  const { t, language } = useLanguage();
  const storages = useStorages(node);
  const rows = holding(storages.data, content);
  const options = rows.map(({ storage, avail }) => ({
    value: storage,
    label: avail === undefined ? storage : t.hardware.withRoom(storage, bytes(avail, language)),
  }));
  return (
    <SelectField
      id={id ?? `storage-${content}`}
      label={t.hardware.storage}
      value={value}
      options={[{ value: "", label: optional ?? t.hardware.choose }, ...options]}
      onChange={onChange}
      error={error ?? storages.error?.message ?? (storages.data && rows.length === 0 ? t.hardware.noStorage(node) : undefined)}
    />
  );
}

export interface CdWish {
  storage: string;
  volume: string;
}

export function firstCd(file: string): CdWish {
  const [storage = "", name] = file.split(":");
  return name === undefined ? { storage: "", volume: "" } : { storage, volume: file };
}

export function cdValue({ volume }: CdWish): string {
  return `${volume === "" ? "none" : volume},media=cdrom`;
}

interface CdProps {
  node: string;
  cd: CdWish;
  onChange: (cd: CdWish) => void;
  error?: string | undefined;
}

export function CdFields({ node, cd, onChange, error }: CdProps) {
  const { t } = useLanguage();
  return (
    <>
      <StorageField
        node={node}
        content="iso"
        value={cd.storage}
        optional={t.hardware.emptyDrive}
        onChange={(storage) => onChange({ storage, volume: "" })}
      />
      {cd.storage !== "" && <Images node={node} cd={cd} onChange={onChange} error={error} />}
    </>
  );
}

function Images({ node, cd, onChange, error }: CdProps) {
  const { t, language } = useLanguage();
  const volumes = useVolumes(node, cd.storage, "iso");
  const options = (volumes.data ?? []).map(({ volid, size }) => ({
    value: volid,
    label: [volid.replace(/^[^:]*:(iso\/)?/, ""), size !== undefined && bytes(size, language)].filter(Boolean).join(", "),
  }));
  return (
    <SelectField
      id="image"
      label={t.hardware.image}
      value={cd.volume}
      options={[{ value: "", label: t.hardware.choose }, ...options]}
      onChange={(volume) => onChange({ ...cd, volume })}
      error={error ?? volumes.error?.message ?? (volumes.data?.length === 0 ? t.hardware.noImage(cd.storage) : undefined)}
    />
  );
}

interface ImportProps {
  node: string;
  value: string;
  onChange: (volume: string) => void;
  isDisabled?: boolean;
}

/** A disk image among what the node's storages hold to be imported. */
export function ImportField({ node, value, onChange, isDisabled }: ImportProps) {
  const { t, language } = useLanguage();
  const storages = holding(useStorages(node).data, "import");
  const [storage, setStorage] = useState("");
  const chosen = storage === "" ? (storages[0]?.storage ?? "") : storage;
  const images = (useVolumes(node, chosen || "local", "import").data ?? []).filter(({ volid }) => /\.(qcow2|raw|vmdk|img|vdi|vhdx)$/.test(volid));
  return (
    <>
      {storages.length > 1 && (
        <SelectField
          id="import-storage"
          label={t.parts.importStorage}
          value={chosen}
          options={storages.map((row) => ({ value: row.storage, label: row.storage }))}
          onChange={setStorage}
        />
      )}
      <SelectField
        id="import"
        label={t.hardware.image}
        value={value}
        isDisabled={isDisabled ?? false}
        options={[
          { value: "", label: images.length === 0 ? t.parts.noImport : t.hardware.choose },
          ...images.map(({ volid, size }) => ({ value: volid, label: [volid, size !== undefined && bytes(size, language)].filter(Boolean).join(", ") })),
        ]}
        onChange={onChange}
      />
    </>
  );
}
