/** What users see and change of their own account. */

import { call, type Verb } from "./client";
import { liveData, useLive } from "./live";
import { userPath } from "./paths";
import type { ApiToken, Factor } from "./types";

const ACCOUNT = "account";

export const useFactors = (user: string) => useLive<Factor[]>([ACCOUNT, "tfa", user], userPath("tfa", user));
export const useTokens = (user: string) =>
  useLive<ApiToken[]>([ACCOUNT, "token", user], `${userPath("users", user)}/token`);

/** Whether the server wants the user's own password beside a change; only root@pam need not show it. */
export const mustConfirm = (user: string): boolean => user !== "root@pam";

export interface NewToken {
  tokenid: string;
  comment: string | undefined;
  privsep: boolean;
}

/** Adds an API token; the secret is told this once. */
export async function addToken(user: string, token: NewToken): Promise<{ name: string; secret: string }> {
  const path = `${userPath("users", user)}/token/${encodeURIComponent(token.tokenid)}`;
  const answer = await change<{ "full-tokenid": string; value: string }>("POST", path, {
    comment: token.comment,
    privsep: token.privsep ? 1 : 0,
  });
  return { name: answer["full-tokenid"], secret: answer.value };
}

export async function removeToken(user: string, tokenid: string): Promise<void> {
  await change("DELETE", `${userPath("users", user)}/token/${encodeURIComponent(tokenid)}`);
}

/** Adds a generator; `value` is the password that it shows now. */
export async function addGenerator(
  user: string,
  generator: { uri: string; value: string; description: string },
  password: string | undefined,
): Promise<void> {
  const { uri: totp, value, description } = generator;
  await change("POST", userPath("tfa", user), { type: "totp", totp, value, description, password });
}

/** Makes recovery keys; they are told this once. */
export async function makeRecoveryKeys(user: string, password: string | undefined): Promise<string[]> {
  const answer = await change<{ recovery: string[] }>("POST", userPath("tfa", user), { type: "recovery", password });
  return answer.recovery;
}

export async function removeFactor(user: string, id: string, password: string | undefined): Promise<void> {
  await change("DELETE", `${userPath("tfa", user)}/${encodeURIComponent(id)}`, { password });
}

/** Sets a new password for a user of realm pve. */
export async function changePassword(user: string, password: string, present: string): Promise<void> {
  await change("PUT", "/access/password", { userid: user, password, "confirmation-password": present });
}

async function change<T>(verb: Verb, path: string, parameters: Record<string, string | number | undefined> = {}): Promise<T> {
  const answer = await call<T>(verb, path, parameters);
  void liveData.invalidateQueries({ queryKey: [ACCOUNT] });
  return answer;
}
