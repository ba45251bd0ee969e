/** The bar on top: where we are, search, and the user's menu. */

import { Button } from "@patternfly/react-core";
import BarsIcon from "@patternfly/react-icons/dist/esm/icons/bars-icon";
import { useText } from "../i18n/text";
import type { Cluster } from "../tree/model";
import { Logo } from "./Logo";
import { hrefOf } from "./route";
import { Search } from "./Search";
import { UserMenu } from "./UserMenu";

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
      <UserMenu user={user} />
    </header>
  );
}
