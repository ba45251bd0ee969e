/** A node's interfaces as they will be, what waits to be applied, and the way there and back. */

import { useState } from "react";
import { Alert, Button, DropdownItem, Spinner } from "@patternfly/react-core";
import {
  applyNetwork,
  confirmNetwork,
  removeInterface,
  revertNetwork,
  useInterfaces,
  type InterfaceRow,
} from "../api/network";
import { useText } from "../i18n/text";
import { Dialog } from "../shell/Dialog";
import { Failure, useAttempt } from "../shell/form";
import { Menu } from "../shell/Menu";
import { Panel } from "../shell/parts";
import { useTaskFocus } from "../tasks/focus";
import { InterfaceDialog } from "./InterfaceDialog";
import { addressesOf, diffLines, isOn, MADE, madeOf, type Made } from "./model";

type Asked = { does: "make"; type: Made } | { does: "edit" | "remove"; row: InterfaceRow } | { does: "apply" };

export default function NetworkTab({ node }: { node: string }) {
  const t = useText();
  const network = useInterfaces(node);
  const [asked, setAsked] = useState<Asked>();
  const close = () => setAsked(undefined);
  if (network.data === undefined) {
    if (network.error) return <Alert isInline variant="warning" title={network.error.message} />;
    return <Spinner aria-label={t.loading} />;
  }
  const { data: rows, changes } = network.data;
  return (
    <div className="kv-stack">
      {network.error && <Alert isInline variant="warning" title={network.error.message} />}
      <Pending node={node} changes={changes} onApply={() => setAsked({ does: "apply" })} />
      <Panel title={t.network.title} aside={<Create onMake={(type) => setAsked({ does: "make", type })} />}>
        {rows.length === 0 ? (
          <p className="kv-quiet">{t.network.none}</p>
        ) : (
          <Interfaces rows={rows} onAsk={setAsked} />
        )}
      </Panel>
      {asked?.does === "make" && <InterfaceDialog node={node} rows={rows} wanted={asked.type} onClose={close} />}
      {asked?.does === "edit" && <InterfaceDialog node={node} rows={rows} wanted={asked.row} onClose={close} />}
      {asked?.does === "remove" && <Remove node={node} iface={asked.row.iface} onClose={close} />}
      {asked?.does === "apply" && <Apply node={node} onClose={close} />}
    </div>
  );
}

/** What waits, and the two ways on; stays after an application to say how it ended. */
function Pending({ node, changes, onApply }: { node: string; changes: string | undefined; onApply: () => void }) {
  const t = useText();
  const { attempt, failure, working } = useAttempt();
  if (!changes) return null;
  return (
    <Panel
      title={t.network.pending}
      aside={
        <span className="kv-actions">
          <Button size="sm" variant="secondary" isDisabled={working} onClick={() => void attempt(() => revertNetwork(node))}>
            {t.network.revert}
          </Button>
          <Button size="sm" variant="primary" isDisabled={working} onClick={onApply}>
            {t.network.apply}
          </Button>
        </span>
      }
    >
      <p className="kv-quiet">{t.network.pendingText}</p>
      <Failure text={failure} />
      <pre className="kv-diff" tabIndex={0} aria-label={t.network.pending}>
        {diffLines(changes).map(({ text, tone }, number) => (
          <span key={number} data-tone={tone}>
            {text}
          </span>
        ))}
      </pre>
    </Panel>
  );
}

function Interfaces({ rows, onAsk }: { rows: readonly InterfaceRow[]; onAsk: (asked: Asked) => void }) {
  const t = useText();
  const { columns, types } = t.network;
  const yes = (flag: unknown) => (isOn(flag) ? t.options.yes : t.options.no);
  return (
    <div className="kv-sideways">
      <table className="kv-table kv-interfaces">
        <thead>
          <tr>
            {[columns.name, columns.type, columns.up, columns.boot, columns.made, columns.addresses, columns.gateway, columns.comment].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
            <th scope="col">
              <span className="kv-sr">{t.guest.actions}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.iface}>
              <th scope="row" className="kv-mono">
                {row.iface}
              </th>
              <td>{(types as Record<string, string>)[row.type] ?? row.type}</td>
              <td>{yes(row.active)}</td>
              <td>{yes(row.autostart)}</td>
              <td>
                {madeOf(row)}
                {isOn(row.bridge_vlan_aware) && <span className="kv-quiet"> {t.network.vlanAware}</span>}
              </td>
              <td>
                {addressesOf(row).map((address) => (
                  <div key={address}>{address}</div>
                ))}
              </td>
              <td>
                {[row.gateway, row.gateway6].filter(Boolean).map((gateway) => (
                  <div key={gateway}>{gateway}</div>
                ))}
              </td>
              <td>{row.comments}</td>
              <td className="kv-acts">
                <Acts row={row} onAsk={onAsk} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Acts({ row, onAsk }: { row: InterfaceRow; onAsk: (asked: Asked) => void }) {
  const t = useText();
  return (
    <Menu look="dots" label={t.network.actionsOf(row.iface)}>
      <DropdownItem onClick={() => onAsk({ does: "edit", row })}>{t.network.edit}</DropdownItem>
      <DropdownItem onClick={() => onAsk({ does: "remove", row })}>{t.network.remove}</DropdownItem>
    </Menu>
  );
}

function Create({ onMake }: { onMake: (type: Made) => void }) {
  const t = useText();
  return (
    <Menu look="secondary" label={t.network.create}>
      {MADE.map((type) => (
        <DropdownItem key={type} onClick={() => onMake(type)}>
          {t.network.types[type]}
        </DropdownItem>
      ))}
    </Menu>
  );
}

function Remove({ node, iface, onClose }: { node: string; iface: string; onClose: () => void }) {
  const t = useText();
  const { attempt, ...state } = useAttempt();
  const submit = () =>
    attempt(async () => {
      await removeInterface(node, iface);
      onClose();
    });
  return (
    <Dialog title={t.network.removeOf(iface)} attempt={state} submit={t.network.remove} onSubmit={() => void submit()} onClose={onClose}>
      <p>{t.network.removeText}</p>
    </Dialog>
  );
}

/** Applies, and tells the node that this page reaches it, until it is known how it ended. */
function Apply({ node, onClose }: { node: string; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const { attempt, failure, working } = useAttempt();
  const [kept, setKept] = useState(false);
  const submit = () =>
    attempt(async () => {
      const upid = await applyNetwork(node);
      follow(upid);
      const end = await confirmNetwork(node, upid).catch(() => undefined);
      if (end === undefined) throw new Error(t.network.silent);
      if (end !== "OK" && !end.startsWith("WARNINGS")) throw new Error(t.network.failed(end));
      setKept(true);
    });
  const done = kept || failure !== undefined;
  return (
    <Dialog
      title={t.network.applyOf(node)}
      attempt={{ failure, working }}
      {...(done ? {} : { submit: t.network.apply })}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      {kept ? (
        <Alert isInline variant="success" title={t.network.kept} />
      ) : (
        <p role="status">{working ? t.network.applying : t.network.applyText}</p>
      )}
    </Dialog>
  );
}
