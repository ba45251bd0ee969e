/** Where to, and how: online while it runs, offline while it doesn't. */

import { useState } from "react";
import {
  Alert,
  Button,
  Form,
  FormGroup,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  Radio,
} from "@patternfly/react-core";
import { migrate } from "../api/actions";
import { useMigrationCheck } from "../api/live";
import { useLanguage } from "../i18n/text";
import { bytes } from "../i18n/units";
import { useTaskFocus } from "../tasks/focus";
import type { Cluster, Guest } from "../tree/model";
import { localDisks, targetsFor, type Target } from "./migration";

interface Props {
  guest: Guest;
  cluster: Cluster;
  onClose: () => void;
}

export function MigrateDialog({ guest, cluster, onClose }: Props) {
  const { t, language } = useLanguage();
  const { follow } = useTaskFocus();
  const check = useMigrationCheck(guest.node, guest.vmid).data;
  const [picked, setPicked] = useState<string>();
  const [failure, setFailure] = useState<string>();
  const [working, setWorking] = useState(false);
  const targets = targetsFor(guest, cluster.nodes, check, t);
  const possible = targets.filter((target) => target.obstacle === undefined);
  const target = possible.find(({ name }) => name === picked) ?? possible[0];
  const online = guest.state === "running" || guest.state === "paused";
  const disks = localDisks(check);
  const resources = check?.local_resources ?? [];

  const submit = async () => {
    if (!target) return;
    setWorking(true);
    setFailure(undefined);
    try {
      const withLocalDisks = online && disks.length > 0;
      follow(await migrate(guest.node, guest.vmid, { target: target.name, online, withLocalDisks }));
      onClose();
    } catch (error) {
      setFailure((error as Error).message);
      setWorking(false);
    }
  };
  const describe = (each: Target): string | undefined =>
    each.obstacle ??
    (each.freeMemory === undefined ? undefined : t.migrate.free(bytes(each.freeMemory, language)));
  return (
    <Modal isOpen variant="small" aria-labelledby="migrate-title" onClose={onClose}>
      <ModalHeader title={t.migrate.title(`${guest.vmid} ${guest.name}`)} labelId="migrate-title" />
      <ModalBody>
        <Form id="migrate" onSubmit={(event) => event.preventDefault()}>
          {failure && <Alert isInline variant="danger" role="alert" title={failure} />}
          <FormGroup role="radiogroup" fieldId="target" label={t.migrate.target} isStack>
            {targets.map((each) => (
              <Radio
                key={each.name}
                id={`target-${each.name}`}
                name="target"
                label={each.name}
                description={describe(each)}
                isDisabled={each.obstacle !== undefined}
                isChecked={each.name === target?.name}
                onChange={() => setPicked(each.name)}
              />
            ))}
            {targets.length === 0 && <p className="kv-quiet">{t.migrate.noTarget}</p>}
          </FormGroup>
          <FormGroup role="radiogroup" fieldId="mode" label={t.migrate.mode} isStack>
            <Radio
              id="mode-online"
              name="mode"
              label={t.migrate.online}
              description={online ? t.migrate.onlineText : t.migrate.onlineNeedsRunning}
              isDisabled={!online}
              isChecked={online}
              readOnly
            />
            <Radio
              id="mode-offline"
              name="mode"
              label={t.migrate.offline}
              description={online ? t.migrate.offlineNeedsStopped : t.migrate.offlineText}
              isDisabled={online}
              isChecked={!online}
              readOnly
            />
          </FormGroup>
          {disks.length > 0 && <Alert isInline isPlain variant="info" title={t.migrate.localDisks(disks.join(", "))} />}
          {resources.length > 0 && (
            <Alert isInline isPlain variant="warning" title={t.migrate.localResources(resources.join(", "))} />
          )}
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button isDisabled={!target || working} isLoading={working} onClick={() => void submit()}>
          {t.migrate.submit}
        </Button>
        <Button variant="link" onClick={onClose}>
          {t.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
