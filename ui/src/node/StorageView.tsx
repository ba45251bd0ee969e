/** One storage as one node sees it. */

import { Alert } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import { ByteUsage, Facts, Panel } from "../shell/parts";
import { hrefOf } from "../shell/route";
import { StateText, StorageIcon } from "../tree/icons";
import type { Node, Storage } from "../tree/model";
import { contents } from "./StoragesTable";

export function StorageView({ storage, nodes }: { storage: Storage; nodes: Node[] }) {
  const t = useText();
  const { name, node, available, resource } = storage;
  const state = available ? "available" : "unknown";
  const others = nodes.filter((each) => each.storages.some((there) => there.name === name));
  return (
    <>
      <header className="kv-head">
        <h1>
          <StorageIcon storage={storage} /> {name}
        </h1>
        <StateText state={state} text={t.state[state]} />
        <a href={hrefOf({ view: "node", node })}>{t.guest.onNode(node)}</a>
      </header>
      {!available && <Alert isInline variant="warning" title={t.storageView.silent(name, node)} />}
      <Panel title={t.nodeView.status}>
        <Facts
          facts={[
            [
              t.fact.room,
              resource.maxdisk ? (
                <ByteUsage name={t.fact.room} used={resource.disk} total={resource.maxdisk} />
              ) : undefined,
            ],
            [t.fact.kind, resource.plugintype],
            [t.fact.content, contents(storage)],
            [t.nodes, others.map((each) => each.name).join(", ")],
            [t.fact.shared, resource.shared ? t.storageView.shared : t.storageView.notShared],
          ]}
        />
      </Panel>
    </>
  );
}
