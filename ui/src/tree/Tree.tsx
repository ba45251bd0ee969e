/** The tree at the left: one tab stop, arrow keys inside (ARIA tree pattern). */

import { memo, useCallback, useMemo, useRef, useState } from "react";
import AngleRightIcon from "@patternfly/react-icons/dist/esm/icons/angle-right-icon";
import ClusterIcon from "@patternfly/react-icons/dist/esm/icons/cluster-icon";
import { useText } from "../i18n/text";
import { goTo, hrefOf, type Route } from "../shell/route";
import { GuestMenu, type Spot } from "./GuestMenu";
import { GuestIcon, NodeIcon, StorageIcon } from "./icons";
import {
  DATACENTER_KEY,
  guestKey,
  isBranch,
  nodeKey,
  stepOnKey,
  storageKey,
  visibleRows,
  type Cluster,
  type Row,
} from "./model";

interface Props {
  cluster: Cluster;
  route: Route;
  onChosen: () => void;
}

export function Tree({ cluster, route, onChosen }: Props) {
  const t = useText();
  const list = useRef<HTMLUListElement>(null);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(() => visibleRows(cluster, folded), [cluster, folded]);
  const current = keyOf(route);
  const [focused, setFocused] = useState<string>();
  const [menu, setMenu] = useState<Spot>();
  const closeMenu = useCallback(() => setMenu(undefined), []);
  const guest = menu && cluster.guests.find(({ vmid }) => vmid === menu.guest.vmid);
  const tabStop = [focused, current].find((key) => rows.some((row) => row.key === key)) ?? DATACENTER_KEY;

  const toggle = (key: string, fold: boolean) => {
    const next = new Set(folded);
    if (fold) next.add(key);
    else next.delete(key);
    setFolded(next);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.key === "Enter" || event.key === " ") {
      const row = rows.find(({ key }) => key === tabStop);
      if (row) goTo(routeOf(row));
      onChosen();
      event.preventDefault();
      return;
    }
    const step = stepOnKey(rows, tabStop, event.key);
    if (!step) return;
    event.preventDefault();
    if ("fold" in step) toggle(step.fold, true);
    else if ("unfold" in step) toggle(step.unfold, false);
    else {
      setFocused(step.focus);
      const place = [...(list.current?.children ?? [])].find((item) => item.id === `tree-${step.focus}`);
      if (place instanceof HTMLElement) place.focus();
    }
  };
  return (
    <>
      <ul className="kv-tree" role="tree" aria-label={t.tree.label} ref={list} onKeyDown={onKeyDown}>
        {rows.map((row) => (
          <TreeRow
            key={row.key}
            row={row}
            name={row.kind === "datacenter" ? (cluster.name ?? t.datacenter) : ""}
            selected={row.key === current}
            tabStop={row.key === tabStop}
            onToggle={toggle}
            onMenu={setMenu}
            onChoose={() => {
              setFocused(row.key);
              onChosen();
            }}
          />
        ))}
      </ul>
      {menu && guest && <GuestMenu spot={{ ...menu, guest }} cluster={cluster} onClose={closeMenu} />}
    </>
  );
}

interface RowProps {
  row: Row;
  name: string;
  selected: boolean;
  tabStop: boolean;
  onToggle: (key: string, fold: boolean) => void;
  onMenu: (spot: Spot) => void;
  onChoose: () => void;
}

const TreeRow = memo(function TreeRow({ row, name, selected, tabStop, onToggle, onMenu, onChoose }: RowProps) {
  const branch = isBranch(row);
  return (
    <li
      id={`tree-${row.key}`}
      role="treeitem"
      aria-level={row.level}
      aria-expanded={branch ? row.expanded : undefined}
      aria-selected={selected}
      data-level={row.level}
      tabIndex={tabStop ? 0 : -1}
      onContextMenu={(event) => {
        if (row.kind !== "guest") return;
        event.preventDefault();
        const { left, bottom } = event.currentTarget.getBoundingClientRect();
        const pointed = event.clientX > 0 || event.clientY > 0;
        onMenu({ guest: row.guest, x: pointed ? event.clientX : left + 24, y: pointed ? event.clientY : bottom });
      }}
    >
      {branch && (
        <span
          className="kv-fold"
          data-open={row.expanded}
          aria-hidden="true"
          onClick={() => onToggle(row.key, row.expanded)}
        >
          <AngleRightIcon />
        </span>
      )}
      <a href={hrefOf(routeOf(row))} tabIndex={-1} onClick={onChoose}>
        <RowLabel row={row} name={name} />
      </a>
    </li>
  );
});

function RowLabel({ row, name }: { row: Row; name: string }) {
  const t = useText();
  if (row.kind === "datacenter") {
    return (
      <>
        <span className="kv-icon">
          <ClusterIcon />
        </span>
        <span className="kv-label">{t.datacenter}</span>
        {name !== t.datacenter && <span className="kv-quiet">{name}</span>}
      </>
    );
  }
  if (row.kind === "node") {
    return (
      <>
        <NodeIcon node={row.node} />
        <span className="kv-label">{row.node.name}</span>
        {row.node.guests.length > 0 && <span className="kv-count">{row.node.guests.length}</span>}
      </>
    );
  }
  if (row.kind === "storage") {
    return (
      <>
        <StorageIcon storage={row.storage} />
        <span className="kv-label">{row.storage.name}</span>
      </>
    );
  }
  return (
    <>
      <GuestIcon guest={row.guest} />
      <span className="kv-vmid">{row.guest.vmid}</span>
      <span className="kv-label">{row.guest.name}</span>
    </>
  );
}

function keyOf(route: Route): string {
  if (route.view === "node") return nodeKey(route.node);
  if (route.view === "storage") return storageKey(route.node, route.storage);
  return route.view === "guest" ? guestKey(route.vmid) : DATACENTER_KEY;
}

function routeOf(row: Row): Route {
  if (row.kind === "node") return { view: "node", node: row.node.name };
  if (row.kind === "storage") {
    return { view: "storage", node: row.storage.node, storage: row.storage.name };
  }
  return row.kind === "guest" ? { view: "guest", vmid: row.guest.vmid } : { view: "datacenter" };
}
