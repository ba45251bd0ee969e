/** The storages of one node: what they hold, and how much room is left. */

import type { Storage } from "../tree/model";
import { useText } from "../i18n/text";
import { ByteUsage } from "../shell/parts";
import { hrefOf } from "../shell/route";
import { StateText, StorageIcon } from "../tree/icons";

export function StoragesTable({ storages }: { storages: Storage[] }) {
  const t = useText();
  return (
    <div className="kv-scroll">
      <table className="kv-table">
        <thead>
          <tr>
            <th scope="col">{t.column.storage}</th>
            <th scope="col">{t.column.state}</th>
            <th scope="col" className="kv-wide">
              {t.fact.kind}
            </th>
            <th scope="col" className="kv-wide">
              {t.fact.content}
            </th>
            <th scope="col">{t.fact.room}</th>
          </tr>
        </thead>
        <tbody>
          {storages.map((storage) => (
            <StorageRow key={storage.name} storage={storage} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function StorageRow({ storage }: { storage: Storage }) {
  const t = useText();
  const { name, node, available, resource } = storage;
  const state = available ? "available" : "unknown";
  return (
    <tr>
      <th scope="row">
        <a href={hrefOf({ view: "storage", node, storage: name })}>
          <StorageIcon storage={storage} /> {name}
        </a>
      </th>
      <td>
        <StateText state={state} text={t.state[state]} />
      </td>
      <td className="kv-wide">{resource.plugintype}</td>
      <td className="kv-wide">{contents(storage)}</td>
      <td>
        <ByteUsage name={t.fact.room} used={resource.disk} total={resource.maxdisk} />
      </td>
    </tr>
  );
}

/** What may be kept there, as words. */
export function contents(storage: Storage): string {
  return (storage.resource.content ?? "").split(",").join(", ");
}
