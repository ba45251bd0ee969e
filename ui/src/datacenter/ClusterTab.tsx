/** The cluster as it is configured: its name, its members, their votes and addresses. */

import { useClusterStatus, useConfiguredNodes } from "../api/live";
import { useText } from "../i18n/text";
import { hrefOf } from "../shell/route";
import { Facts, Panel } from "../shell/parts";
import { StateText } from "../tree/icons";
import { readMembers } from "./members";

export function ClusterTab() {
  const t = useText();
  const status = useClusterStatus().data ?? [];
  const configured = useConfiguredNodes().data ?? [];
  const header = status.find((row) => row.type === "cluster");
  if (!header) {
    return (
      <Panel title={t.cluster.title}>
        <p>{t.cluster.none}</p>
        <p className="kv-quiet">{t.cluster.howTo}</p>
      </Panel>
    );
  }
  return (
    <div className="kv-stack">
      <Panel title={t.cluster.title}>
        <Facts
          facts={[
            [t.column.name, header.name],
            [t.cluster.version, header.version],
            [t.nodes, header.nodes],
          ]}
        />
      </Panel>
      <Panel title={t.cluster.members}>
        <div className="kv-scroll">
          <table className="kv-table">
            <thead>
              <tr>
                <th scope="col">{t.column.name}</th>
                <th scope="col">{t.column.state}</th>
                <th scope="col" className="kv-number">
                  {t.column.id}
                </th>
                <th scope="col" className="kv-number">
                  {t.column.votes}
                </th>
                <th scope="col" className="kv-after">
                  {t.column.address}
                </th>
              </tr>
            </thead>
            <tbody>
              {readMembers(status, configured).map((member) => (
                <tr key={member.name}>
                  <th scope="row">
                    <a href={hrefOf({ view: "node", node: member.name })}>{member.name}</a>
                  </th>
                  <td>
                    <StateText state={member.state} text={t.state[member.state]} />
                  </td>
                  <td className="kv-number">{member.id}</td>
                  <td className="kv-number">{member.votes}</td>
                  <td className="kv-mono kv-after">{member.addresses.join(", ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
    </div>
  );
}
