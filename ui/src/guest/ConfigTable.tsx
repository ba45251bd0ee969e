/** The configuration as it stands in the file: keys and values. */

import type { GuestConfig } from "../api/types";
import { useText } from "../i18n/text";

const ELSEWHERE = new Set(["digest", "description"]);

export function ConfigTable({ config }: { config: GuestConfig }) {
  const t = useText();
  const rows = Object.entries(config)
    .filter(([key]) => !ELSEWHERE.has(key))
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  return (
    <table className="kv-table kv-config">
      <thead className="kv-sr">
        <tr>
          <th scope="col">{t.column.key}</th>
          <th scope="col">{t.column.value}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(([key, value]) => (
          <tr key={key}>
            <th scope="row">{key}</th>
            <td className="kv-mono">{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
