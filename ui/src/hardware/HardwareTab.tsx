/** What a guest is made of: each part, what waits for the next start, and what can be done with it. */

import { useState } from "react";
import { Alert, Button, DropdownItem } from "@patternfly/react-core";
import { setOptions, usePending, type PendingRow } from "../api/guest";
import { useText } from "../i18n/text";
import { Settings } from "../options/Settings";
import { Menu } from "../shell/Menu";
import { Panel } from "../shell/parts";
import type { Guest } from "../tree/model";
import { describe, nameOf } from "./describe";
import { DeviceDialog, type Wanted } from "./DeviceDialog";
import { MakeDialog, type Made } from "./MakeDialog";
import { hasCloudInit, hasDialog, movable, partsOf, takenKeys, waits, type Kind, type Part } from "./model";
import { MoveDialog } from "./MoveDialog";

const ADDED: readonly Kind[] = ["disk", "cd", "nic", "serial"];
/** What a guest has once at most, with the setting that says so. */
const SINGLE: readonly (readonly [Made, string])[] = [
  ["efi", "efidisk0"],
  ["tpm", "tpmstate0"],
  ["rng", "rng0"],
];

export default function HardwareTab({ guest, refused }: { guest: Guest; refused: string | undefined }) {
  const t = useText();
  const pending = usePending(guest.node, guest.vmid);
  const [wanted, setWanted] = useState<Wanted>();
  const [making, setMaking] = useState<Made>();
  const [moved, setMoved] = useState<{ disk: string; away: boolean }>();
  const [failure, setFailure] = useState<string>();
  if (pending.data === undefined) return pending.error && <Alert isInline variant="warning" title={pending.error.message} />;
  const rows: PendingRow[] = pending.data;
  const parts = partsOf(rows);
  const fixed = guest.state === "template";
  const revert = async (part: Part) => {
    setFailure(undefined);
    try {
      await setOptions(guest.node, guest.vmid, { revert: part.waiting.join(",") });
    } catch (error) {
      setFailure((error as Error).message);
    }
  };
  const taken = takenKeys(rows);
  const made: Made[] = ["import", ...SINGLE.filter(([, key]) => !taken.includes(key)).map(([each]) => each)];
  if (!hasCloudInit(rows)) made.push("cloudinit");
  return (
    <Panel
      title={t.tab.hardware}
      aside={
        !fixed && (
          <Add disabled={refused} made={made} onAdd={(kind) => setWanted({ does: "add", kind })} onMake={setMaking} />
        )
      }
    >
      {failure && <Alert className="kv-failure" isInline variant="danger" role="alert" title={failure} />}
      {parts.some(waits) && <Alert isInline isPlain variant="info" title={t.hardware.waiting} />}
      <Settings>
        {parts.map((part) => (
          <Row
            key={part.key}
            part={part}
            refused={refused}
            fixed={fixed}
            onAsk={setWanted}
            onMove={(away) => setMoved({ disk: part.key, away })}
            onRevert={() => void revert(part)}
          />
        ))}
      </Settings>
      {making && <MakeDialog guest={guest} rows={rows} what={making} onClose={() => setMaking(undefined)} />}
      {moved && <MoveDialog guest={guest} {...moved} onClose={() => setMoved(undefined)} />}
      {wanted && <DeviceDialog guest={guest} rows={rows} wanted={wanted} onClose={() => setWanted(undefined)} />}
    </Panel>
  );
}

interface RowProps {
  part: Part;
  refused: string | undefined;
  /** nothing of it can be changed: a template */
  fixed: boolean;
  onAsk: (wanted: Wanted) => void;
  /** to another storage, or `away` to another guest */
  onMove: (away: boolean) => void;
  onRevert: () => void;
}

function Row({ part, refused, fixed, onAsk, onMove, onRevert }: RowProps) {
  const t = useText();
  const { kind, key, now, then } = part;
  const name = nameOf(part, t);
  const single = !(now && key in now) && !(then && key in then) ? "" : key;
  const before = now && describe(kind, key, now, t);
  const after = then && describe(kind, key, then, t);
  return (
    <tr data-waits={waits(part)}>
      <th scope="row">
        {name} {DEVICES.has(kind) && <span className="kv-vmid">{single}</span>}
      </th>
      <td>
        {before !== undefined && <span className={after === before ? undefined : "kv-before"}>{before}</span>}
        {after !== before && <span className="kv-after">{after ?? t.hardware.goes}</span>}
      </td>
      <td className="kv-acts">
        <span>
          {waits(part) && (
            <Button variant="link" isInline isDisabled={refused !== undefined} onClick={onRevert}>
              {t.hardware.revert}
            </Button>
          )}
          {!fixed && <Acts part={part} refused={refused} label={`${name} ${single}`.trim()} onAsk={onAsk} onMove={onMove} />}
        </span>
      </td>
    </tr>
  );
}

const DEVICES: ReadonlySet<Kind> = new Set(["cd", "cloudinit", "disk", "nic", "serial", "unused", "other"]);

interface ActsProps {
  part: Part;
  refused: string | undefined;
  label: string;
  onAsk: (wanted: Wanted) => void;
  onMove: (away: boolean) => void;
}

function Acts({ part, refused, label, onAsk, onMove }: ActsProps) {
  const t = useText();
  const { kind, then } = part;
  if (then === undefined) return null;
  const items: [Wanted["does"], string][] = [];
  if (hasDialog(kind)) items.push(["edit", t.hardware.edit]);
  if (kind === "disk") items.push(["grow", t.hardware.grow], ["remove", t.hardware.detach]);
  else if (kind === "unused") items.push(["attach", t.hardware.attach], ["remove", t.hardware.destroy]);
  else if (DEVICES.has(kind)) items.push(["remove", t.hardware.remove]);
  return (
    <Menu look="dots" label={t.guest.actionsOf(label)} isDisabled={refused !== undefined}>
      {items.map(([does, word]) => (
        <DropdownItem key={does} onClick={() => onAsk({ does, kind, part })} isDanger={does === "remove" && kind === "unused"}>
          {word}
        </DropdownItem>
      ))}
      {(movable(part) || kind === "unused") && <DropdownItem onClick={() => onMove(false)}>{t.parts.move}</DropdownItem>}
      {(kind === "disk" || kind === "unused") && <DropdownItem onClick={() => onMove(true)}>{t.parts.give}</DropdownItem>}
    </Menu>
  );
}

interface AddProps {
  disabled: string | undefined;
  made: readonly Made[];
  onAdd: (kind: Kind) => void;
  onMake: (what: Made) => void;
}

function Add({ disabled, made, onAdd, onMake }: AddProps) {
  const t = useText();
  return (
    <Menu look="secondary" label={t.hardware.add} isDisabled={disabled !== undefined}>
      {ADDED.map((kind) => (
        <DropdownItem key={kind} onClick={() => onAdd(kind)}>
          {t.hardware.kinds[kind]}
        </DropdownItem>
      ))}
      {made.map((what) => (
        <DropdownItem key={what} onClick={() => onMake(what)}>
          {t.parts.kinds[what]}
        </DropdownItem>
      ))}
    </Menu>
  );
}
