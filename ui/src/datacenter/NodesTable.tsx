/** The nodes: state, load, votes. */

import { useText } from "../i18n/text";
import { duration } from "../i18n/units";
import { hrefOf } from "../shell/route";
import { ByteUsage, CpuUsage } from "../shell/parts";
import { NodeIcon, StateText } from "../tree/icons";
import type { Node } from "../tree/model";
import type { Voter } from "./quorum";

export function NodesTable({ nodes, voters }: { nodes: Node[]; voters: Voter[] }) {
  const t = useText();
  const votes = new Map(voters.map((voter) => [voter.name, voter.votes]));
  return (
    <div className="kv-scroll">
      <table className="kv-table">
        <thead>
          <tr>
            <th scope="col">{t.column.name}</th>
            <th scope="col" className="kv-wide">
              {t.column.state}
            </th>
            <th scope="col" className="kv-wide">
              {t.column.address}
            </th>
            <th scope="col">{t.column.cpu}</th>
            <th scope="col">{t.column.memory}</th>
            <th scope="col" className="kv-wide">
              {t.column.uptime}
            </th>
            <th scope="col" className="kv-number">
              {t.column.votes}
            </th>
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.name}>
              <th scope="row">
                <a href={hrefOf({ view: "node", node: node.name })}>
                  <NodeIcon node={node} /> {node.name}
                </a>
              </th>
              <td className="kv-wide">
                <StateText state={node.state} text={t.state[node.state]} />
              </td>
              <td className="kv-wide kv-mono">{node.address}</td>
              <NodeLoad node={node} />
              <td className="kv-number">{votes.get(node.name)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NodeLoad({ node }: { node: Node }) {
  const t = useText();
  const resource = node.state === "online" ? node.resource : undefined;
  return (
    <>
      <td>
        <CpuUsage share={resource?.cpu} cpus={resource?.maxcpu} />
      </td>
      <td>
        <ByteUsage name={t.fact.memory} used={resource?.mem} total={resource?.maxmem} />
      </td>
      <td className="kv-wide">{resource?.uptime === undefined ? "" : duration(resource.uptime)}</td>
    </>
  );
}
