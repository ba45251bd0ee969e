/** Where the visitor is. A guest's address names no node, so it stays right when the guest moves. */

import { useSyncExternalStore } from "react";

/** The tabs of each kind of place, the first one first shown. A new tab: a word here, in `tab` of the dictionaries, and in its view. */
export const TABS = {
  datacenter: ["summary", "cluster", "guests"],
  node: ["summary", "network", "shell", "tasks"],
  guest: ["summary", "console", "hardware", "cloudinit", "options", "snapshots", "tasks"],
} as const;

export type Tab<View extends keyof typeof TABS = keyof typeof TABS> = (typeof TABS)[View][number];

export type Route =
  | { view: "datacenter"; tab?: Tab<"datacenter"> }
  | { view: "node"; node: string; tab?: Tab<"node"> }
  | { view: "storage"; node: string; storage: string }
  | { view: "guest"; vmid: number; tab?: Tab<"guest"> };

/** Reads `#/datacenter/cluster`, `#/node/n1/tasks`, `#/storage/n1/local`, `#/guest/100`; anything else is the datacenter. */
export function parseRoute(hash: string): Route {
  const [, view, name = "", part = ""] = hash.replace(/^#/, "").split("/");
  if (view === "node" && name) return { view, node: decode(name), ...tabIn(view, part) };
  if (view === "storage" && name && part) return { view, node: decode(name), storage: decode(part) };
  if (view === "guest" && /^\d+$/.test(name)) return { view, vmid: Number(name), ...tabIn(view, part) };
  return { view: "datacenter", ...tabIn("datacenter", view === "datacenter" ? name : "") };
}

/** The address of a place, for links. */
export function hrefOf(route: Route): string {
  if (route.view === "storage") {
    return `#/storage/${encodeURIComponent(route.node)}/${encodeURIComponent(route.storage)}`;
  }
  const tab = route.tab === undefined || route.tab === "summary" ? "" : `/${route.tab}`;
  if (route.view === "node") return `#/node/${encodeURIComponent(route.node)}${tab}`;
  if (route.view === "guest") return `#/guest/${route.vmid}${tab}`;
  return tab === "" ? "#/" : `#/datacenter${tab}`;
}

export function goTo(route: Route): void {
  location.hash = hrefOf(route);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener);
      return () => window.removeEventListener("hashchange", listener);
    },
    () => location.hash,
  );
  return parseRoute(hash);
}

/** The tab that a part of the address names, unless it is the first one or none of this view's. */
function tabIn<View extends keyof typeof TABS>(view: View, part: string): { tab?: Tab<View> } {
  const tabs: readonly Tab<View>[] = TABS[view];
  const tab = tabs.slice(1).find((each) => each === part);
  return tab === undefined ? {} : { tab };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
