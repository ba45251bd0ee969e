/** What can be done with a guest: the one list behind the buttons and the tree's menu. Pure. */

import type { PowerAction } from "../api/actions";
import { isHibernated, type Cluster, type Guest } from "../tree/model";

export type GuestAction = PowerAction | "migrate" | MoreAction;
/** What one does with a guest as a whole, seldom. */
export type MoreAction = "clone" | "template" | "remove";

export interface Choice {
  action: GuestAction;
  /** whether it makes sense in the guest's state */
  fits: boolean;
  /** what one most likely wants */
  primary: boolean;
  /** behind a button "More" where there is little room */
  more: boolean;
}

/** Everything, in the order it is shown. */
export function choicesFor(guest: Guest, cluster: Cluster): Choice[] {
  const template = guest.state === "template";
  const running = guest.state !== "stopped" && !template;
  const asleep = isHibernated(guest);
  const first = asleep || guest.state === "paused" ? "resume" : "start";
  const choice = (action: GuestAction, fits: boolean) => ({ action, fits, primary: action === first && !running, more: MORE.has(action) || action === "hibernate" });
  return [
    choice(first, first === "resume" || (!running && !template)),
    choice("shutdown", running),
    choice("reboot", running),
    choice("stop", running),
    choice("reset", running),
    choice("migrate", cluster.nodes.length > 1 && !asleep),
    choice("hibernate", running),
    choice("clone", !asleep),
    choice("template", guest.state === "stopped" && !asleep),
    choice("remove", !running),
  ];
}

/** Whether it is asked for once more before it is done; the others have dialogs of their own. */
export function needsWord(action: GuestAction): action is Exclude<PowerAction, "start" | "resume"> {
  return action !== "start" && action !== "resume" && action !== "migrate" && !isMore(action);
}

export function isMore(action: GuestAction): action is MoreAction {
  return MORE.has(action);
}

const MORE: ReadonlySet<GuestAction> = new Set(["clone", "template", "remove"]);
