/** My account: password, second factors, API tokens. */

import { useState } from "react";
import { Modal, ModalBody, ModalHeader, Tab, Tabs, TabTitleText } from "@patternfly/react-core";
import { useClusterStatus } from "../api/live";
import { useText } from "../i18n/text";
import { FactorsTab } from "./FactorsTab";
import { PasswordTab } from "./PasswordTab";
import { TokensTab } from "./TokensTab";

export function AccountDialog({ user, onClose }: { user: string; onClose: () => void }) {
  const t = useText();
  const [tab, setTab] = useState<string | number>("factors");
  const cluster = useClusterStatus().data?.find((row) => row.type === "cluster")?.name;
  const issuer = [t.product, cluster].filter(Boolean).join(" ");
  return (
    <Modal isOpen variant="medium" aria-labelledby="account-title" onClose={onClose}>
      <ModalHeader title={t.account.title} description={user} labelId="account-title" />
      <ModalBody>
        <Tabs activeKey={tab} onSelect={(_, key) => setTab(key)} mountOnEnter unmountOnExit>
          <Tab eventKey="factors" title={<TabTitleText>{t.account.factors}</TabTitleText>}>
            <FactorsTab user={user} issuer={issuer} />
          </Tab>
          <Tab eventKey="tokens" title={<TabTitleText>{t.account.tokens}</TabTitleText>}>
            <TokensTab user={user} />
          </Tab>
          <Tab eventKey="password" title={<TabTitleText>{t.login.password}</TabTitleText>}>
            <PasswordTab user={user} />
          </Tab>
        </Tabs>
      </ModalBody>
    </Modal>
  );
}
