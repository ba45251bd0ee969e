/** Guests in rows: state and load. */

import { useText } from "../i18n/text";
import { duration } from "../i18n/units";
import { ByteUsage, CpuUsage } from "../shell/parts";
import { hrefOf } from "../shell/route";
import { GuestIcon, StateText } from "../tree/icons";
import type { Guest } from "../tree/model";

/** `placed`: with the node of each. */
export function GuestsTable({ guests, placed = false }: { guests: Guest[]; placed?: boolean }) {
  const t = useText();
  return (
    <div className="kv-scroll">
      <table className="kv-table">
        <thead>
          <tr>
            <th scope="col">{t.column.guest}</th>
            <th scope="col">{t.column.state}</th>
            {placed && <th scope="col">{t.column.node}</th>}
            <th scope="col">{t.column.cpu}</th>
            <th scope="col">{t.column.memory}</th>
            <th scope="col" className="kv-wide">
              {t.column.uptime}
            </th>
          </tr>
        </thead>
        <tbody>
          {guests.map((guest) => (
            <GuestRow key={guest.vmid} guest={guest} placed={placed} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function GuestRow({ guest, placed }: { guest: Guest; placed: boolean }) {
  const t = useText();
  const { cpu, maxcpu, mem, maxmem, uptime } = guest.resource;
  const live = guest.state === "running";
  return (
    <tr>
      <th scope="row">
        <a href={hrefOf({ view: "guest", vmid: guest.vmid })}>
          <GuestIcon guest={guest} /> <span className="kv-vmid">{guest.vmid}</span> {guest.name}
        </a>
      </th>
      <td>
        <StateText state={guest.state} text={t.state[guest.state]} />
      </td>
      {placed && (
        <td>
          <a href={hrefOf({ view: "node", node: guest.node })}>{guest.node}</a>
        </td>
      )}
      <td>{live && <CpuUsage share={cpu} cpus={maxcpu} />}</td>
      <td>{live && <ByteUsage name={t.fact.memory} used={mem} total={maxmem} />}</td>
      <td className="kv-wide">{live && uptime !== undefined && duration(uptime)}</td>
    </tr>
  );
}
