/** A small menu behind a button: of words, or of three dots with a name for who can't see them. */

import { useState, type ReactNode } from "react";
import { Dropdown, DropdownList, MenuToggle } from "@patternfly/react-core";
import EllipsisIcon from "@patternfly/react-icons/dist/esm/icons/ellipsis-v-icon";

interface MenuProps {
  label: string;
  look?: "default" | "secondary" | "dots";
  isDisabled?: boolean;
  /** where the menu hangs in the page: beside its button instead of at the body's end */
  isInline?: boolean;
  /** its items */
  children: ReactNode;
}

export function Menu({ label, look = "default", isDisabled = false, isInline = false, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const shared = { size: "sm", isExpanded: open, isDisabled, onClick: () => setOpen(!open) } as const;
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={() => setOpen(false)}
      popperProps={{ position: "end", ...(isInline ? { appendTo: "inline" as const } : {}) }}
      toggle={(ref) =>
        look === "dots" ? (
          <MenuToggle ref={ref} {...shared} variant="plain" aria-label={label} icon={<EllipsisIcon />} />
        ) : (
          <MenuToggle ref={ref} {...shared} variant={look}>
            {label}
          </MenuToggle>
        )
      }
    >
      <DropdownList>{children}</DropdownList>
    </Dropdown>
  );
}
