/**
 * What the page sees of the cluster, kept fresh. The only module that knows how: today by asking every two
 * seconds while the tab is visible; server-sent events will replace the inside of this file, not its face.
 */

import {
  keepPreviousData,
  QueryClient,
  useQuery,
  useQueryClient,
  type UseQueryResult,
} from "@tanstack/react-query";
import { outcomeIn } from "../tasks/model";
import { ApiError, call } from "./client";
import type {
  ClusterStatusRow,
  ConfiguredNode,
  GuestConfig,
  GuestStatus,
  LogLine,
  MigrationCheck,
  NodeStatus,
  QuorumAnswer,
  Realm,
  Resource,
  TaskRow,
  TaskStatus,
  Version,
} from "./types";

const FRESH_MS = 2000;
/** How soon to ask again for what this server does not have; joining a cluster brings it. */
const ABSENT_MS = 30_000;
const REALMS = "realms";
const LOG_LINES = 500;
/** A guest that moves is for a moment not where we ask for it; only what lasts longer is worth a word. */
const MOVING_TRIES = 4;
const MOVING_MS = 700;

export type Live<T> = UseQueryResult<T>;

/** The store of answers, one for the page. */
export const liveData = new QueryClient({
  defaultOptions: { queries: { retry: false, staleTime: FRESH_MS / 2, refetchOnWindowFocus: true } },
});

/** Asks again, now, for everything on the screen: after a change was made. */
export async function refreshAll(): Promise<void> {
  await liveData.invalidateQueries();
}

/** Forgets what the last user saw; what anyone may know, the realms, stays for the login. */
export function forgetAll(): void {
  liveData.removeQueries({ predicate: (query) => query.queryKey[0] !== REALMS });
}

export const useClusterStatus = () => useLive<ClusterStatusRow[]>(["status"], "/cluster/status");
export const useResources = () => useLive<Resource[]>(["resources"], "/cluster/resources");
export const useTasks = () => useLive<TaskRow[]>(["tasks"], "/cluster/tasks");
export const useConfiguredNodes = () =>
  useLive<ConfiguredNode[]>(["votes"], "/cluster/config/nodes", { missing: NO_NODES });
export const useQuorum = () => useLive<QuorumAnswer | null>(["quorum"], "/kvorum/quorum", { missing: null });

export const useNodeStatus = (node: string) =>
  useLive<NodeStatus>(["node", node], `/nodes/${segment(node)}/status`);

export const useGuestStatus = (node: string, vmid: number) =>
  useGuest<GuestStatus>("guest", node, vmid, "status/current");

export const useGuestConfig = (node: string, vmid: number) =>
  useGuest<GuestConfig>("config", node, vmid, "config");

export const useMigrationCheck = (node: string, vmid: number) =>
  useLive<MigrationCheck | null>(["migrate", node, vmid], `${guestPath(node, vmid)}/migrate`, {
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

/** A task's state; asked until it has ended. */
export function useTaskStatus(node: string, upid: string): Live<TaskStatus> {
  return useQuery({
    queryKey: ["task", upid],
    queryFn: () => call<TaskStatus>("GET", `${taskPath(node, upid)}/status`),
    refetchInterval: (query) => (query.state.data?.status === "stopped" ? false : FRESH_MS / 2),
  });
}

/** A task's log, growing until it says how the task ended; each question asks only for lines not here yet. */
export function useTaskLog(node: string, upid: string, running: boolean): Live<LogLine[]> {
  const client = useQueryClient();
  const key = ["log", upid];
  return useQuery({
    queryKey: key,
    queryFn: () => readLog(node, upid, client.getQueryData<LogLine[]>(key) ?? []),
    refetchInterval: (query) => {
      if (outcomeIn(query.state.data) !== undefined) return false;
      return running ? FRESH_MS / 2 : FRESH_MS;
    },
  });
}

async function readLog(node: string, upid: string, known: LogLine[]): Promise<LogLine[]> {
  let lines = known;
  for (;;) {
    const more = await call<LogLine[]>("GET", `${taskPath(node, upid)}/log`, {
      start: lines.length,
      limit: LOG_LINES,
    });
    const fresh = more.filter((line) => line.n > lines.length);
    lines = [...lines, ...fresh];
    if (fresh.length < LOG_LINES) return lines;
  }
}

/** The path of a guest in the API. */
export function guestPath(node: string, vmid: number): string {
  return `/nodes/${segment(node)}/qemu/${vmid}`;
}

/** The path of a task in the API. */
export function taskPath(node: string, upid: string): string {
  return `/nodes/${segment(node)}/tasks/${segment(upid)}`;
}

function segment(text: string): string {
  return encodeURIComponent(text);
}

/** Asks for a path and keeps asking; `missing` stands in where this server has no such method. */
function useLive<T>(key: readonly unknown[], path: string, optional?: { missing: T }): Live<T> {
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
    refetchInterval: (query) =>
      optional && query.state.data === optional.missing ? ABSENT_MS : FRESH_MS,
  });
}

/**
 * Asks a guest's node about it. While the guest moves, what was last known stays, and a refusal makes the page
 * look for the guest's new place before it says anything.
 */
function useGuest<T>(what: string, node: string, vmid: number, path: string): Live<T> {
  return useQuery({
    queryKey: [what, node, vmid],
    queryFn: () => call<T>("GET", `${guestPath(node, vmid)}/${path}`),
    refetchInterval: FRESH_MS,
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
