/** Quorum explained: how many votes there are, how many are needed, what may fail, what brings it back. */

import type { ClusterStatusRow, ConfiguredNode, LossChoice, QuorumAnswer } from "../api/types";
import type { Dictionary } from "../i18n/en";
import type { CautionFacts } from "../i18n/enCluster";

export interface Voter {
  name: string;
  votes: number;
  online: boolean;
}

export interface Quorum {
  /** false on a node that is in no cluster */
  clustered: boolean;
  quorate: boolean;
  voters: Voter[];
  present: number;
  expected: number;
  needed: number;
  /** what the server adds to the counting; undefined where it has no such method */
  answer: QuorumAnswer | undefined;
}

/** Joins membership, configured votes and the server's own count, where it gives one. */
export function readQuorum(
  status: ClusterStatusRow[],
  configured: ConfiguredNode[],
  answer: QuorumAnswer | null,
): Quorum {
  const header = status.find((row) => row.type === "cluster");
  const votes = new Map(configured.map((node) => [node.name ?? node.node, Number(node.quorum_votes ?? 1)]));
  const voters = status
    .filter((row) => row.type === "node")
    .map((row) => ({ name: row.name, votes: votes.get(row.name) ?? 1, online: Boolean(row.online) }));
  const expected = answer?.total ?? sum(voters);
  const absent = absentDevice(voters, expected, answer);
  if (absent) voters.push(absent);
  const present = answer?.present ?? sum(voters.filter((voter) => voter.online));
  return {
    clustered: header !== undefined,
    quorate: header ? Boolean(header.quorate) : true,
    voters,
    present,
    expected,
    needed: answer?.needed ?? Math.floor(expected / 2) + 1,
    answer: answer ?? undefined,
  };
}

/** The QDevice, when its vote is missing: a voter that is no node. */
function absentDevice(nodes: Voter[], expected: number, answer: QuorumAnswer | null): Voter | undefined {
  const name = answer?.missing?.find((missing) => nodes.every((node) => node.name !== missing));
  const votes = expected - sum(nodes);
  return name === undefined || votes <= 0 ? undefined : { name, votes, online: false };
}

/** How many of the nodes online may fail at once, whichever they are. */
export function mayFailAtOnce(quorum: Quorum): number {
  const heaviest = online(quorum)
    .map((voter) => voter.votes)
    .sort((a, b) => b - a);
  let left = quorum.present;
  for (const [count, votes] of heaviest.entries()) {
    left -= votes;
    if (left < quorum.needed) return count;
  }
  return heaviest.length;
}

/** The fewest nodes that are off and would bring quorum back; empty when no set of them does. */
export function bringBack(quorum: Quorum): Voter[][] {
  const missing = quorum.needed - quorum.present;
  const off = quorum.voters.filter((voter) => !voter.online && voter.votes > 0);
  const alone = off.filter((voter) => voter.votes >= missing);
  if (alone.length > 0) return alone.map((voter) => [voter]);
  const together: Voter[] = [];
  let gathered = 0;
  for (const voter of [...off].sort((a, b) => b.votes - a.votes)) {
    together.push(voter);
    gathered += voter.votes;
    if (gathered >= missing) return [together];
  }
  return [];
}

/** The explanation in sentences, the most important first. */
export function explain(quorum: Quorum, t: Dictionary): string[] {
  if (!quorum.clustered) return [t.quorum.standalone];
  const counted = t.quorum.votes(quorum.present, quorum.expected, quorum.needed);
  if (!quorum.quorate && quorum.present >= quorum.needed) return [counted, t.quorum.held(quorum.answer?.reason ?? "?")];
  if (!quorum.quorate) return [counted, howToBringBack(quorum, t)];
  const off = quorum.voters.filter((voter) => !voter.online).map((voter) => voter.name);
  return [
    whatMayFail(quorum, t),
    ...(off.length > 0 ? [t.quorum.offline(off.join(", "))] : []),
    ...cautions(quorum, t),
  ];
}

/** Shapes that fool people, in the reader's language where it has the words. */
export function cautions(quorum: Quorum, t: Dictionary): string[] {
  const told = quorum.answer?.cautions;
  if (!told) return isEvenPair(quorum) ? [t.quorum.twoNodes] : [];
  const words = t.caution as Readonly<Record<string, ((facts: CautionFacts) => string) | undefined>>;
  return told.map(({ kind, sentence, node = "" }) => {
    const votes = quorum.voters.find(({ name }) => name === node)?.votes ?? 0;
    const say = Object.hasOwn(words, kind) ? words[kind] : undefined;
    return say ? say({ node, votes, total: quorum.expected, needed: quorum.needed }) : sentence;
  });
}

const MOST_LOSSES = 8;

/** The sets whose loss at once costs quorum, where one of them has several; undefined when nothing is to be said. */
export function losses(quorum: Quorum, t: Dictionary): string | undefined {
  const sets = quorum.answer?.losses ?? [];
  if (!quorum.quorate || !sets.some((set) => sizeOf(set) > 1)) return undefined;
  const said = sets.slice(0, MOST_LOSSES).map((set) => set.map((choice) => choiceText(choice, t)).join(` ${t.quorum.both} `));
  return t.quorum.losses(said.join("; ") + (sets.length > MOST_LOSSES ? "; …" : ""));
}

function choiceText({ count, of }: LossChoice, t: Dictionary): string {
  if (count === of.length) return of.join(` ${t.quorum.both} `);
  return count === 1 ? of.join(` ${t.quorum.or} `) : t.quorum.anyOf(count, of.join(", "));
}

const sizeOf = (set: LossChoice[]): number => set.reduce((total, { count }) => total + count, 0);

/** Edits of corosync.conf that the cluster did not take. */
export function refusedEdits(quorum: Quorum, t: Dictionary): string[] {
  return Object.entries(quorum.answer?.refused ?? {}).map(([node, why]) => t.quorum.refusedEdit(node, why));
}

/** What would bring quorum back, as a sentence. */
export function howToBringBack(quorum: Quorum, t: Dictionary): string {
  const ways = bringBack(quorum).map((way) => way.map((voter) => voter.name).join(" + "));
  if (ways.length === 0) return t.quorum.impossible;
  return t.quorum.bringsBack(quorum.needed - quorum.present, ways.join(` ${t.quorum.or} `));
}

function whatMayFail(quorum: Quorum, t: Dictionary): string {
  const members = online(quorum);
  const count = mayFailAtOnce(quorum);
  if (count > 0) return t.quorum.anyMayFail(count, members.length);
  const may = members.filter((voter) => quorum.present - voter.votes >= quorum.needed);
  if (may.length === 0) return t.quorum.noneMayFail;
  const mayNot = members.filter((voter) => !may.includes(voter));
  const either = ` ${t.quorum.or} `;
  return t.quorum.someMayFail(names(may).join(either), names(mayNot).join(either));
}

function isEvenPair(quorum: Quorum): boolean {
  return quorum.voters.length === 2 && quorum.expected === 2;
}

const online = (quorum: Quorum): Voter[] => quorum.voters.filter((voter) => voter.online);
const names = (voters: Voter[]): string[] => voters.map((voter) => voter.name);
const sum = (voters: Voter[]): number => voters.reduce((total, voter) => total + voter.votes, 0);
