/** After a join: which certificate this page shows, and the click that takes the cluster's (W9). */

import { useState } from "react";
import { Alert, Button } from "@patternfly/react-core";
import { takeCertificate, usePageCertificate } from "../api/cluster";
import { useText } from "../i18n/text";
import { Failure, useAttempt } from "../shell/form";
import { Facts } from "../shell/parts";

/** How long the server gets to take it up before the page is loaded again. */
const TAKEN_UP_MS = 1500;

/** Nothing where the page does not show the certificate from before a join. */
export function Certificate({ node, boxed = false }: { node: string; boxed?: boolean }) {
  const t = useText();
  const shown = usePageCertificate(node).data;
  const { failure, working, attempt } = useAttempt();
  const [taken, setTaken] = useState(false);
  if (taken) return <Alert isInline variant="success" title={t.certificate.taken} />;
  if (shown?.shows !== "former") return null;
  const take = () =>
    attempt(async () => {
      await takeCertificate(node);
      setTaken(true);
      setTimeout(() => location.reload(), TAKEN_UP_MS);
    });
  return (
    <section className={boxed ? "kv-panel kv-certificate" : "kv-certificate"} aria-label={t.certificate.title}>
      <Alert isInline variant="info" title={t.certificate.former}>
        <p>{t.certificate.text}</p>
      </Alert>
      <Facts
        facts={[
          [t.certificate.present, <span className="kv-mono">{shown.fingerprint}</span>],
          [t.certificate.clusters, <span className="kv-mono">{shown.cluster_fingerprint}</span>],
        ]}
      />
      <Failure text={failure} />
      <div>
        <Button size="sm" isLoading={working} isDisabled={working} onClick={() => void take()}>
          {t.certificate.take}
        </Button>
      </div>
    </section>
  );
}
