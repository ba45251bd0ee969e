/** The form of an interface, new or there: addresses, and what only its kind has. */

import { useState } from "react";
import { changeInterface, makeInterface, type InterfaceRow } from "../api/network";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { CheckField, plain, SelectField } from "../shell/fields";
import { Field, useAttempt } from "../shell/form";
import { BOND_MODES, creation, edit, firstWish, HASHES, wishOf, type Made, type Wish } from "./model";

interface Props {
  node: string;
  rows: readonly InterfaceRow[];
  /** a kind to make one of, or the one to change */
  wanted: Made | InterfaceRow;
  onClose: () => void;
}

export function InterfaceDialog({ node, rows, wanted, onClose }: Props) {
  const t = useText();
  const row = typeof wanted === "string" ? undefined : wanted;
  const [wish, setWish] = useState<Wish>(() => (typeof wanted === "string" ? firstWish(wanted, rows) : wishOf(wanted)));
  const set = (part: Partial<Wish>) => setWish({ ...wish, ...part });
  const { errors, attempt, ...state } = useAttempt(...Object.keys(wish));
  const typeName = (t.network.types as Record<string, string>)[wish.type] ?? wish.type;
  const submit = () =>
    attempt(async () => {
      if (row) await changeInterface(node, row.iface, edit(wish, row));
      else await makeInterface(node, creation(wish));
      onClose();
    });
  const text = (key: keyof Wish, label: string, more: { hint?: string; numeric?: boolean; placeholder?: string } = {}) => (
    <Field id={key} label={label} value={String(wish[key])} onChange={(value) => set({ [key]: value })} error={errors[key]} {...more} />
  );
  const names = t.network;
  return (
    <Dialog
      title={row ? names.editOf(row.iface) : names.createOf(typeName)}
      attempt={state}
      submit={row ? t.hardware.save : names.create}
      ready={wish.iface.trim() !== ""}
      large
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      {!row && text("iface", names.name, { hint: names.nameHints[wish.type as Made] })}
      {wish.type === "vlan" && (
        <div className="kv-pair">
          {text("vlan-raw-device", names.raw, { placeholder: names.fromName })}
          {text("vlan-id", names.tag, { numeric: true, placeholder: names.fromName })}
        </div>
      )}
      {wish.type === "bond" && (
        <>
          {text("slaves", names.slaves)}
          <SelectField
            id="bond_mode"
            label={names.mode}
            value={wish.bond_mode}
            options={plain(BOND_MODES)}
            onChange={(bond_mode) => set({ bond_mode })}
            error={errors.bond_mode}
          />
          <div className="kv-pair">
            {text("bond-primary", names.primary)}
            <SelectField
              id="bond_xmit_hash_policy"
              label={names.hash}
              value={wish.bond_xmit_hash_policy}
              options={[{ value: "", label: names.standard }, ...plain(HASHES)]}
              onChange={(bond_xmit_hash_policy) => set({ bond_xmit_hash_policy })}
              error={errors.bond_xmit_hash_policy}
            />
          </div>
        </>
      )}
      <div className="kv-pair">
        {text("cidr", names.cidr, { hint: names.cidrHint })}
        {text("gateway", names.gateway)}
      </div>
      <div className="kv-pair">
        {text("cidr6", names.cidr6)}
        {text("gateway6", names.gateway6)}
      </div>
      {wish.type === "bridge" && (
        <>
          {text("bridge_ports", names.ports, { hint: names.portsHint })}
          <CheckField
            id="bridge_vlan_aware"
            label={names.vlanAware}
            description={names.vlanAwareText}
            checked={wish.bridge_vlan_aware}
            onChange={(bridge_vlan_aware) => set({ bridge_vlan_aware, bridge_vids: bridge_vlan_aware ? wish.bridge_vids : "" })}
          />
          {wish.bridge_vlan_aware && text("bridge_vids", names.vids, { hint: names.vidsHint })}
        </>
      )}
      <div className="kv-pair">
        {text("mtu", names.mtu, { numeric: true, placeholder: "1500" })}
        {text("comments", names.comments)}
      </div>
      <CheckField id="autostart" label={names.autostart} checked={wish.autostart} onChange={(autostart) => set({ autostart })} />
    </Dialog>
  );
}
