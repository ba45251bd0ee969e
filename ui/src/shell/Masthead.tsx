/** The bar on top: where we are, search, and the user's menu. */

import { lazy, Suspense, useState } from "react";
import { Button } from "@patternfly/react-core";
import PlusIcon from "@patternfly/react-icons/dist/esm/icons/plus-icon";
import BarsIcon from "@patternfly/react-icons/dist/esm/icons/bars-icon";
import { useText } from "../i18n/text";
import type { Cluster } from "../tree/model";
import { Logo } from "./Logo";
import { hrefOf, useRoute } from "./route";
import { Search } from "./Search";
import { UserMenu } from "./UserMenu";

const CreateWizard = lazy(() => import("../create/CreateWizard"));

interface Props {
  user: string;
  cluster: Cluster;
  treeOpen: boolean;
  onToggleTree: () => void;
}

export function Masthead({ user, cluster, treeOpen, onToggleTree }: Props) {
  const t = useText();
  return (
    <header className="kv-masthead">
      <Button
        className="kv-treebutton"
        variant="plain"
        aria-label={t.shell.openTree}
        aria-expanded={treeOpen}
        aria-controls="tree"
        icon={<BarsIcon />}
        onClick={onToggleTree}
      />
      <a className="kv-brand" href={hrefOf({ view: "datacenter" })}>
        <Logo />
        <span className="kv-product">{t.product}</span>
        <span className="kv-cluster">{cluster.name ?? cluster.nodes[0]?.name}</span>
      </a>
      <Search guests={cluster.guests} />
      <Create cluster={cluster} />
      <UserMenu user={user} />
    </header>
  );
}

/** On the node that is looked at, else on the one that was asked. */
function Create({ cluster }: { cluster: Cluster }) {
  const t = useText();
  const route = useRoute();
  const [open, setOpen] = useState(false);
  const here = cluster.nodes.find(({ local }) => local) ?? cluster.nodes[0];
  const node = "node" in route ? route.node : here?.name;
  return (
    <>
      <Button className="kv-create" size="sm" variant="secondary" aria-label={t.wizard.open} icon={<PlusIcon />} onClick={() => setOpen(true)}>
        <span className="kv-create-word">{t.wizard.open}</span>
      </Button>
      {open && node !== undefined && (
        <Suspense fallback={null}>
          <CreateWizard cluster={cluster} node={node} onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </>
  );
}
