/** A guest's actions where the tree was clicked with the other button, or held with a finger. */

import { useEffect, useRef } from "react";
import { Menu, MenuContent, MenuItem, MenuList } from "@patternfly/react-core";
import { choicesFor } from "../guest/choices";
import { useDoing } from "../guest/doing";
import { useText } from "../i18n/text";
import type { Cluster, Guest } from "./model";

export interface Spot {
  guest: Guest;
  x: number;
  y: number;
}

const WIDTH_PX = 200;
const HEIGHT_PX = 430;

export function GuestMenu({ spot, cluster, onClose }: { spot: Spot; cluster: Cluster; onClose: () => void }) {
  const t = useText();
  const { begin } = useDoing();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    box.current?.querySelector<HTMLElement>("button:not(:disabled)")?.focus();
    const away = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !box.current?.contains(event.target as Element)) {
        onClose();
      }
    };
    const kinds = ["pointerdown", "keydown", "wheel"] as const;
    for (const kind of kinds) window.addEventListener(kind, away);
    return () => kinds.forEach((kind) => window.removeEventListener(kind, away));
  }, [onClose]);
  const refused = !cluster.quorate;
  return (
    <div
      className="kv-menu"
      ref={box}
      style={{
        left: Math.max(8, Math.min(spot.x, window.innerWidth - WIDTH_PX)),
        top: Math.max(8, Math.min(spot.y, window.innerHeight - HEIGHT_PX)),
      }}
    >
      <Menu
        onSelect={(_, action) => {
          const choice = choicesFor(spot.guest, cluster).find((each) => each.action === action);
          onClose();
          if (choice) begin(spot.guest, choice.action);
        }}
      >
        <MenuContent>
          <MenuList aria-label={t.guest.actionsOf(spot.guest.name)}>
            {choicesFor(spot.guest, cluster).map(({ action, fits }) => (
              <MenuItem
                key={action}
                itemId={action}
                isDisabled={refused || !fits}
                description={refused && action === "start" ? t.quorum.lost : undefined}
              >
                {t.guest[action]}
              </MenuItem>
            ))}
          </MenuList>
        </MenuContent>
      </Menu>
    </div>
  );
}
