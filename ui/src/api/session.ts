/**
 * Who is logged in. The ticket is in a cookie, the CSRF token only in memory: handing the ticket in again at
 * load, every 15 minutes and when a sleeping tab wakes returns a fresh pair (a ticket is good for two hours).
 */

import { useSyncExternalStore } from "react";
import { ApiError, call, setCsrfToken, whenUnauthorized } from "./client";
import type { Ticket } from "./types";

export interface Credentials {
  username: string;
  realm: string;
  password: string;
}

export type Session =
  | { state: "checking" }
  | { state: "out"; reason?: string }
  | { state: "in"; user: string };

const COOKIE = "PVEAuthCookie";
const RENEW_MS = 15 * 60 * 1000;
/** How soon a refused ticket is handed in again while the node's keys change. */
const AGAIN_MS = 1000;
/** How long a join or leave may take before a refusal is believed. */
const PATIENCE_MS = 180_000;

let session: Session = { state: "checking" };
let renewedAt = 0;
let patientUntil = 0;
let again: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();

/** The session, for components. */
export function useSession(): Session {
  return useSyncExternalStore(subscribe, () => session);
}

/** What a login is asked for beside the password. */
export interface Challenge {
  user: string;
  ticket: string;
  totp: boolean;
  /** recovery keys are there; "low": few are left */
  recovery: boolean | "low";
}

export type Proof = "totp" | "recovery";

/** Logs in, or returns what is asked for beside the password; throws ApiError with the server's sentence. */
export async function logIn({ username, realm, password }: Credentials): Promise<Challenge | undefined> {
  const user = `${username}@${realm}`;
  const answer = await call<Ticket>("POST", "/access/ticket", { username: user, password });
  if (answer.NeedTFA) return challengeIn(user, answer.ticket);
  accept(answer);
  return undefined;
}

/** Logs in with the second factor; throws ApiError with the server's sentence. */
export async function answerChallenge(challenge: Challenge, proof: Proof, value: string): Promise<void> {
  accept(
    await call<Ticket>("POST", "/access/ticket", {
      username: challenge.user,
      "tfa-challenge": challenge.ticket,
      password: `${proof}:${value.trim()}`,
    }),
  );
}

/** Reads what a challenge `PVE:!tfa!{"totp":true,…}:TIME::SIGNATURE` (percent-encoded) asks for; unreadable: both. */
export function challengeIn(user: string, ticket: string): Challenge {
  const asked = /^PVE:!tfa!([^:]*)/.exec(ticket)?.[1] ?? "";
  try {
    const { totp, recovery } = JSON.parse(decodeURIComponent(asked)) as Record<string, unknown>;
    const left = recovery === "low" ? "low" : Boolean(recovery) && recovery !== "unavailable";
    return { user, ticket, totp: Boolean(totp), recovery: left };
  } catch {
    return { user, ticket, totp: true, recovery: true };
  }
}

/** Forgets the ticket; `reason` is shown above the login. */
export function logOut(reason?: string): void {
  document.cookie = `${COOKIE}=; path=/; max-age=0; SameSite=Strict; Secure`;
  setCsrfToken("");
  become({ state: "out", reason });
}

/**
 * To be called before the node joins or leaves a cluster. Its keys are others then: refusals are no end of the
 * session for a while, the ticket is handed in again until it is taken.
 */
export function expectNewKeys(): void {
  patientUntil = Date.now() + PATIENCE_MS;
}

/** Takes up the session that the cookie holds, if any, and keeps it fresh from then on. Call once. */
export async function resumeSession(): Promise<void> {
  whenUnauthorized((reason) => {
    if (session.state !== "in") return;
    if (Date.now() < patientUntil) tryAgain(reason);
    else logOut(reason);
  });
  setInterval(() => void renewSession(), RENEW_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - renewedAt > RENEW_MS) void renewSession();
  });
  await renewSession();
}

/** Takes a fresh ticket for the one there is; ends the session, with the reason if one is known, when it is refused. */
export async function renewSession(reason?: string): Promise<void> {
  const ticket = ticketInCookie(document.cookie);
  if (ticket === undefined) {
    if (session.state !== "out") become({ state: "out" });
    return;
  }
  try {
    const answer = await call<Ticket>("POST", "/access/ticket", { username: userOf(ticket), password: ticket });
    if (answer.NeedTFA) logOut(reason);
    else accept(answer);
  } catch (error) {
    // Nobody answering says nothing about the ticket: a running session goes on and tries again.
    const refused = error instanceof ApiError && error.status === 401;
    if (session.state === "in" && Date.now() < patientUntil) tryAgain(reason);
    else if (refused) logOut(session.state === "in" ? (reason ?? error.message) : undefined);
    else if (session.state === "checking") become({ state: "out", reason: (error as Error).message });
  }
}

function tryAgain(reason: string | undefined): void {
  again ??= setTimeout(() => {
    again = undefined;
    void renewSession(reason);
  }, AGAIN_MS);
}

function accept(answer: Ticket): void {
  document.cookie = `${COOKIE}=${encodeURIComponent(answer.ticket)}; path=/; SameSite=Strict; Secure`;
  setCsrfToken(answer.CSRFPreventionToken);
  renewedAt = Date.now();
  if (session.state !== "in" || session.user !== answer.username) {
    become({ state: "in", user: answer.username });
  }
}

/** The ticket in a cookie header's text, or undefined. */
export function ticketInCookie(cookies: string): string | undefined {
  for (const part of cookies.split(";")) {
    const [name, value] = part.trim().split("=", 2);
    if (name !== COOKIE || !value) continue;
    try {
      return decodeURIComponent(part.trim().slice(COOKIE.length + 1));
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** The user that a ticket `PVE:user@realm:TIME::SIGNATURE` names. */
export function userOf(ticket: string): string {
  return ticket.split(":")[1] ?? "";
}

function become(next: Session): void {
  session = next;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
