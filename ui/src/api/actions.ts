/** Everything on the page that changes something. Each answers with the UPID of the task that does it. */

import { call } from "./client";
import { refreshAll } from "./live";
import { guestPath, taskPath } from "./paths";

export type PowerAction = "start" | "resume" | "shutdown" | "reboot" | "hibernate" | "stop" | "reset";

export interface Migration {
  target: string;
  online: boolean;
  withLocalDisks: boolean;
}

/** Starts or resumes, shuts down or reboots (asks the guest), hibernates (writes its memory to disk), stops (pulls the plug) or resets (presses its reset button) a guest. */
export async function power(node: string, vmid: number, action: PowerAction): Promise<string> {
  if (action === "hibernate") return task(`${guestPath(node, vmid)}/status/suspend`, { todisk: 1 });
  return task(`${guestPath(node, vmid)}/status/${action}`);
}

/** Moves a guest to another node. */
export async function migrate(node: string, vmid: number, migration: Migration): Promise<string> {
  return task(`${guestPath(node, vmid)}/migrate`, {
    target: migration.target,
    online: migration.online ? 1 : undefined,
    "with-local-disks": migration.withLocalDisks ? 1 : undefined,
  });
}

/** Stops a running task. */
export async function stopTask(node: string, upid: string): Promise<void> {
  await call<null>("DELETE", taskPath(node, upid));
  void refreshAll();
}

async function task(path: string, parameters: Record<string, string | number | undefined> = {}): Promise<string> {
  const upid = await call<string>("POST", path, parameters);
  void refreshAll();
  return upid;
}
