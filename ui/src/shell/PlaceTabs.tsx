/** The tabs of a place, as links: each has an address of its own. */

import { Tab, Tabs, TabsComponent, TabTitleText } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import { hrefOf, TABS, type Route } from "./route";

export function PlaceTabs({ route }: { route: Exclude<Route, { view: "storage" }> }) {
  const t = useText();
  return (
    <Tabs
      className="kv-tabs"
      component={TabsComponent.nav}
      aria-label={t.tab.label}
      activeKey={route.tab ?? "summary"}
    >
      {TABS[route.view].map((tab) => (
        <Tab
          key={tab}
          eventKey={tab}
          href={hrefOf({ ...route, tab } as Route)}
          title={<TabTitleText>{t.tab[tab]}</TabTitleText>}
        />
      ))}
    </Tabs>
  );
}
