/** Language, appearance, log out. */

import { lazy, Suspense, useState } from "react";
import {
  Dropdown,
  DropdownGroup,
  DropdownItem,
  DropdownList,
  Divider,
  MenuToggle,
} from "@patternfly/react-core";
import UserIcon from "@patternfly/react-icons/dist/esm/icons/user-icon";
import { logOut } from "../api/session";
import { LANGUAGES, useLanguage, type Language } from "../i18n/text";
import { useTheme } from "./theme";

/** Fetched when it is first opened: few visits need it. */
const AccountDialog = lazy(async () => ({
  default: (await import("../account/AccountDialog")).AccountDialog,
}));

export function UserMenu({ user }: { user: string }) {
  const { t, language, setLanguage } = useLanguage();
  const [theme, setTheme] = useTheme();
  const [open, setOpen] = useState(false);
  const [account, setAccount] = useState(false);
  return (
    <>
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={() => setOpen(false)}
        popperProps={{ position: "right" }}
        toggle={(toggle) => (
          <MenuToggle
            ref={toggle}
            className="kv-usermenu"
            variant="plainText"
            isExpanded={open}
            aria-label={t.shell.userMenu(user)}
            icon={<UserIcon />}
            onClick={() => setOpen(!open)}
          >
            <span className="kv-username">{user}</span>
          </MenuToggle>
        )}
      >
        <DropdownList>
          <DropdownItem onClick={() => setAccount(true)}>{t.account.open}</DropdownItem>
        </DropdownList>
        <Divider />
        <DropdownGroup label={t.shell.language}>
          <DropdownList>
            {(Object.keys(LANGUAGES) as Language[]).map((key) => (
              <DropdownItem key={key} isSelected={key === language} onClick={() => setLanguage(key)}>
                {LANGUAGES[key].name}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
        <Divider />
        <DropdownGroup label={t.shell.theme}>
          <DropdownList>
            <DropdownItem isSelected={theme === "light"} onClick={() => setTheme("light")}>
              {t.shell.light}
            </DropdownItem>
            <DropdownItem isSelected={theme === "dark"} onClick={() => setTheme("dark")}>
              {t.shell.dark}
            </DropdownItem>
          </DropdownList>
        </DropdownGroup>
        <Divider />
        <DropdownList>
          <DropdownItem onClick={() => logOut()}>{t.shell.logout}</DropdownItem>
        </DropdownList>
      </Dropdown>
      {account && (
        <Suspense>
          <AccountDialog user={user} onClose={() => setAccount(false)} />
        </Suspense>
      )}
    </>
  );
}
