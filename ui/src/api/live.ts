/**
 * What the page sees of the cluster, kept fresh. The only module that knows how: the server tells what changes
 * (`stream.ts`), and what it tells is put into the answers there are; only what no event tells whole is asked for
 * again. While there is no stream the page asks every few seconds.
 */

import {
  keepPreviousData,
  QueryClient,
  useQuery,
  type UseQueryResult,
} from "@tanstack/react-query";
import { applyMembership, applyResources, applyTasks, madeStale, readChange, type Change } from "./changes";
import { ApiError, call } from "./client";
import { pollMs } from "./feed";
import { guestPath, nodePath } from "./paths";
import type { ServerEvent } from "./sse";
import { listen, useFeed } from "./stream";
import type {
  ClusterStatusRow,
  ConfiguredNode,
  GuestConfig,
  GuestStatus,
  LinksAnswer,
  MigrationCheck,
  NodeStatus,
  QuorumAnswer,
  Realm,
  Resource,
  TaskRow,
  Version,
} from "./types";

/** How soon to ask again for what this server does not have; joining a cluster brings it. */
const ABSENT_MS = 30_000;
/** A node's load average and swap come with no event: they are asked for when it tells of its load, this seldom. */
const NODE_STATUS_MS = 10_000;
/** No event tells of links, clocks and the QDevice: they are asked for so often. */
const UNTOLD_MS = 10_000;
const REALMS = "realms";
/** A guest that moves is for a moment not where we ask for it; only what lasts longer is worth a word. */
const MOVING_TRIES = 4;
const MOVING_MS = 700;

export type Live<T> = UseQueryResult<T>;

/** The store of answers, one for the page. */
export const liveData = new QueryClient({
  defaultOptions: { queries: { retry: false, staleTime: 1000, refetchOnWindowFocus: false } },
});

/** Keeps everything fresh until the returned function is called. */
export function keepFresh(): () => void {
  return listen({ events: hear, refetch: () => void refreshAll(), retry: retryFailed });
}

/** Asks again, now, for everything on the screen: after a change was made, or when something may have been missed. */
export async function refreshAll(): Promise<void> {
  await liveData.invalidateQueries({ predicate: (query) => query.queryKey[0] !== REALMS });
}

function retryFailed(): void {
  void liveData.invalidateQueries({ predicate: (query) => query.state.status === "error" });
}

/** Forgets what the last user saw; what anyone may know, the realms, stays for the login. */
export function forgetAll(): void {
  liveData.removeQueries({ predicate: (query) => query.queryKey[0] !== REALMS });
}

export const useClusterStatus = () =>
  useTold<ClusterStatusRow>("status", "/cluster/status", applyMembership);
export const useResources = () => useTold<Resource>("resources", "/cluster/resources", applyResources);
export const useTasks = () => useTold<TaskRow>("tasks", "/cluster/tasks", applyTasks);
export const useConfiguredNodes = () =>
  useLive<ConfiguredNode[]>(["votes"], "/cluster/config/nodes", { missing: NO_NODES });
export const useQuorum = () => useLive<QuorumAnswer | null>(["quorum"], "/kvorum/quorum", { missing: null });

/** Of links and clocks no event tells: they are asked for while they are on the screen. */
export const useLinks = () =>
  useQuery({
    queryKey: ["links"],
    queryFn: () => call<LinksAnswer>("GET", "/kvorum/links"),
    refetchInterval: UNTOLD_MS,
  });

export const useNodeStatus = (node: string) => useLive<NodeStatus>(["node", node], `${nodePath(node)}/status`);

export const useGuestStatus = (node: string, vmid: number) =>
  useGuest<GuestStatus>("guest", node, vmid, "status/current");

export const useGuestConfig = (node: string, vmid: number) =>
  useGuest<GuestConfig>("config", node, vmid, "config");

export const useMigrationCheck = (node: string, vmid: number) =>
  useLive<MigrationCheck | null>(["migrate", vmid, node], `${guestPath(node, vmid)}/migrate`, {
    missing: null,
  });

/** The realms one can log in to; asked once. */
export const useRealms = () =>
  useQuery({ queryKey: [REALMS], queryFn: () => call<Realm[]>("GET", "/access/domains"), retry: 2 });

/** The version of the node that serves this page; asked once. */
export const useVersion = () =>
  useQuery({
    queryKey: ["version"],
    queryFn: () => call<Version>("GET", "/version"),
    staleTime: Infinity,
  });

/**
 * Asks for a path when something makes it old; `missing` stands in where this server has no such method, and
 * what no event tells of (`untold`) is asked for while it is on the screen.
 */
export function useLive<T>(
  key: readonly unknown[],
  path: string,
  optional?: { missing: T; untold?: boolean },
): Live<T> {
  const poll = useFeed(pollMs);
  return useQuery({
    queryKey: key,
    queryFn: async () => {
      try {
        return await call<T>("GET", path);
      } catch (error) {
        if (optional && error instanceof ApiError && NOT_THERE.has(error.status)) return optional.missing;
        throw error;
      }
    },
    refetchInterval: (query) => {
      if (optional && query.state.data === optional.missing && poll !== false) return ABSENT_MS;
      return optional?.untold && poll === false ? UNTOLD_MS : poll;
    },
  });
}

type Apply<Row> = (rows: Row[], changes: readonly Change[]) => Row[];

/** A list whose changes are told. What is told while it is asked for counts also for the answer. */
function useTold<Row>(key: string, path: string, apply: Apply<Row>): Live<Row[]> {
  const poll = useFeed(pollMs);
  return useQuery({
    queryKey: [key],
    queryFn: async () => {
      const meanwhile: Change[] = [];
      underway.add(meanwhile);
      try {
        return apply(await call<Row[]>("GET", path), meanwhile);
      } finally {
        underway.delete(meanwhile);
      }
    },
    refetchInterval: poll,
    structuralSharing: false,
  });
}

/** What was told since each question that is not answered yet. */
const underway = new Set<Change[]>();

function hear(events: ServerEvent[]): void {
  const changes = events.flatMap(({ name, data }) => readChange(name, data) ?? []);
  if (changes.length === 0) return;
  for (const meanwhile of underway) meanwhile.push(...changes);
  const before = liveData.getQueryData<Resource[]>(["resources"]) ?? [];
  update<Resource>("resources", (rows) => applyResources(rows, changes));
  update<TaskRow>("tasks", (rows) => applyTasks(rows, changes));
  update<ClusterStatusRow>("status", (rows) => applyMembership(rows, changes));
  for (const queryKey of madeStale(before, changes, toldStatus)) void liveData.invalidateQueries({ queryKey });
  for (const change of changes) if (change.name === "resource") refreshNodeStatus(change.data.id);
}

/** What a guest's node last said of it, if it was asked. */
function toldStatus(vmid: number): GuestStatus["status"] | undefined {
  const answers = liveData.getQueriesData<GuestStatus>({ queryKey: ["guest", vmid] });
  return answers.find(([, status]) => status !== undefined)?.[1]?.status;
}

function update<Row>(key: string, apply: (rows: Row[]) => Row[]): void {
  liveData.setQueryData<Row[]>([key], (rows) => rows && apply(rows));
}

function refreshNodeStatus(id: string): void {
  const [kind, node] = id.split("/");
  const asked = kind === "node" ? liveData.getQueryState(["node", node])?.dataUpdatedAt : undefined;
  if (asked !== undefined && Date.now() - asked > NODE_STATUS_MS) {
    void liveData.invalidateQueries({ queryKey: ["node", node] });
  }
}

/**
 * Asks a guest's node about it. While the guest moves, what was last known stays, and a refusal makes the page
 * look for the guest's new place before it says anything.
 */
export function useGuest<T>(what: string, node: string, vmid: number, path: string): Live<T> {
  const poll = useFeed(pollMs);
  return useQuery({
    queryKey: [what, vmid, node],
    queryFn: () => call<T>("GET", `${guestPath(node, vmid)}/${path}`),
    refetchInterval: poll,
    placeholderData: keepPreviousData,
    retryDelay: MOVING_MS,
    retry: (tries) => {
      void liveData.invalidateQueries({ queryKey: ["resources"] });
      return tries < MOVING_TRIES;
    },
  });
}

const NO_NODES: ConfiguredNode[] = [];

/** Answers that mean "this server has no such method here", also on a node without a cluster. */
const NOT_THERE = new Set([403, 404, 424, 501]);
