/** Paths of the API. */

/** The path of a guest. */
export function guestPath(node: string, vmid: number): string {
  return `${nodePath(node)}/qemu/${vmid}`;
}

/** The path of a task. */
export function taskPath(node: string, upid: string): string {
  return `${nodePath(node)}/tasks/${encodeURIComponent(upid)}`;
}

/** The path of a node. */
export function nodePath(node: string): string {
  return `/nodes/${encodeURIComponent(node)}`;
}

/** The path of a user of the access methods; `area` is "tfa" or "users". */
export function userPath(area: "tfa" | "users", user: string): string {
  return `/access/${area}/${encodeURIComponent(user)}`;
}
