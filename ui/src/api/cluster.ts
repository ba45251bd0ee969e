/** What the page asks and changes of the cluster's making: create, join, votes, QDevice, leaving. */

import { useQuery } from "@tanstack/react-query";
import { call, type Parameters } from "./client";
import { refreshAll, useLive, type Live } from "./live";
import { nodePath } from "./paths";
import type {
  DeviceStatus,
  JoinAnswer,
  JoinToken,
  NetworkRow,
  NewJoinToken,
  PageCertificate,
  VotesForecast,
} from "./types";

const TOKENS = "/kvorum/cluster/tokens";
const DEVICE = "/kvorum/cluster/qdevice";

export const useNetwork = (node: string) => useLive<NetworkRow[]>(["network", node], `${nodePath(node)}/network`);
export const useJoinAnswer = () => useLive<JoinAnswer>(["join"], "/cluster/config/join");
export const useJoinTokens = () => useLive<JoinToken[]>(["tokens"], TOKENS);
/** Its daemon comes up, and loses QNetd, without an event. */
export const useDevice = () =>
  useLive<DeviceStatus>(["device"], "/cluster/config/qdevice", { missing: NO_DEVICE, untold: true });
export const usePageCertificate = (node: string) =>
  useLive<PageCertificate | null>(["certificate", node], certificatePath(node), { missing: null });

/** What a node's votes would come to; nothing is asked while `votes` is undefined. */
export function useForecast(node: string, votes: number | undefined): Live<VotesForecast> {
  return useQuery({
    queryKey: ["forecast", node, votes],
    queryFn: () => call<VotesForecast>("GET", "/kvorum/cluster/votes", { node, votes }),
    enabled: votes !== undefined,
  });
}

/** Makes this node a cluster; answers with the task's UPID, as all that takes its time here. */
export const createCluster = (clustername: string, links: Parameters): Promise<string> =>
  change("POST", "/cluster/config", { clustername, ...links });

export interface Joining {
  hostname: string;
  fingerprint: string;
  password: string | undefined;
  token: string | undefined;
  keepGuests: boolean;
  links: Parameters;
}

export const joinCluster = ({ keepGuests, links, ...who }: Joining): Promise<string> =>
  change("POST", "/cluster/config/join", { ...who, ...links, "keep-guests": keepGuests ? 1 : undefined });

/** The fingerprint of the certificate that a host shows, to be compared. */
export const shownFingerprint = (hostname: string): Promise<string> =>
  call("GET", "/kvorum/cluster/fingerprint", { hostname });

export const makeToken = (minutes: number): Promise<NewJoinToken> => change("POST", TOKENS, { minutes });
export const revokeToken = (id: string): Promise<void> => change("DELETE", `${TOKENS}/${encodeURIComponent(id)}`);

export const setVotes = (node: string, votes: number): Promise<string> =>
  change("POST", "/kvorum/cluster/votes", { node, votes });
export const expectVotes = (expected: number): Promise<null> =>
  change("POST", "/kvorum/cluster/expected", { expected });

export const removeNode = (node: string, force: boolean): Promise<null> =>
  change("DELETE", `/cluster/config/nodes/${encodeURIComponent(node)}`, { force: force ? 1 : undefined });
export const leaveCluster = (): Promise<string> => change("POST", "/kvorum/cluster/leave");

/** Has a node's page show the cluster's certificate. */
export const takeCertificate = (node: string): Promise<boolean> => change("DELETE", certificatePath(node));

/** The fingerprint of the SSH host key that a machine shows, to be compared. */
export const shownHostKey = (address: string): Promise<string> => call("GET", `${DEVICE}/hostkey`, { address });

export interface DeviceSetup {
  address: string;
  password?: string;
  hostkey?: string;
  install?: boolean;
  /** how QNetd decides; without it by the count of nodes */
  algorithm?: string;
  /** a command that must succeed on a node for its side to be preferred */
  heuristics?: string;
  /** print the commands for the other machine / what the last of them printed */
  manual?: boolean;
  answer?: string;
}

export const setUpDevice = ({ install, manual, algorithm, heuristics, ...given }: DeviceSetup): Promise<string> =>
  change("POST", DEVICE, {
    ...given,
    install: install ? 1 : undefined,
    manual: manual ? 1 : undefined,
    algorithm: algorithm || undefined,
    heuristics: heuristics || undefined,
  });
export const removeDevice = (): Promise<string> => change("DELETE", DEVICE);

async function change<T>(verb: "POST" | "DELETE", path: string, parameters: Parameters = {}): Promise<T> {
  const answer = await call<T>(verb, path, parameters);
  void refreshAll();
  return answer;
}

const certificatePath = (node: string): string =>
  `/kvorum/cluster/nodes/${encodeURIComponent(node)}/page-certificate`;

const NO_DEVICE: DeviceStatus = {};
