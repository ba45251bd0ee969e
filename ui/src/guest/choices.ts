/** What can be done with a guest: the one list behind the buttons and the tree's menu. Pure. */

import type { PowerAction } from "../api/actions";
import type { Cluster, Guest } from "../tree/model";

export type GuestAction = PowerAction | "migrate";

export interface Choice {
  action: GuestAction;
  /** whether it makes sense in the guest's state */
  fits: boolean;
  /** what one most likely wants */
  primary: boolean;
}

/** Everything, in the order it is shown. */
export function choicesFor(guest: Guest, cluster: Cluster): Choice[] {
  const template = guest.state === "template";
  const running = guest.state !== "stopped" && !template;
  return [
    { action: "start", fits: !running && !template, primary: !running },
    { action: "shutdown", fits: running, primary: false },
    { action: "reboot", fits: running, primary: false },
    { action: "stop", fits: running, primary: false },
    { action: "reset", fits: running, primary: false },
    { action: "migrate", fits: cluster.nodes.length > 1, primary: false },
  ];
}

/** Whether it is asked for once more before it is done; migrating has a dialog of its own. */
export function needsWord(action: GuestAction): action is Exclude<PowerAction, "start"> {
  return action !== "start" && action !== "migrate";
}
