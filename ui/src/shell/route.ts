/** Where the visitor is. A guest's address names no node, so it stays right when the guest moves. */

import { useSyncExternalStore } from "react";

export type Route =
  | { view: "datacenter" }
  | { view: "node"; node: string }
  | { view: "storage"; node: string; storage: string }
  | { view: "guest"; vmid: number };

/** Reads `#/node/n1`, `#/storage/n1/local`, `#/guest/100`; anything else is the datacenter. */
export function parseRoute(hash: string): Route {
  const [, view, name = "", part = ""] = hash.replace(/^#/, "").split("/");
  if (view === "node" && name) return { view, node: decode(name) };
  if (view === "storage" && name && part) return { view, node: decode(name), storage: decode(part) };
  if (view === "guest" && /^\d+$/.test(name)) return { view, vmid: Number(name) };
  return { view: "datacenter" };
}

/** The address of a place, for links. */
export function hrefOf(route: Route): string {
  if (route.view === "node") return `#/node/${encodeURIComponent(route.node)}`;
  if (route.view === "storage") {
    return `#/storage/${encodeURIComponent(route.node)}/${encodeURIComponent(route.storage)}`;
  }
  if (route.view === "guest") return `#/guest/${route.vmid}`;
  return "#/";
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

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
