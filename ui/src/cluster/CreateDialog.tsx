/** Create Cluster: a name and up to eight links. */

import { useState } from "react";
import { createCluster, useNetwork } from "../api/cluster";
import { useText } from "../i18n/text";
import { Field, useAttempt } from "../shell/form";
import { useTaskFocus } from "../tasks/focus";
import { Dialog } from "../shell/Dialog";
import { LinkFields } from "./LinkFields";
import { linkParameters, ownAddresses, type Link } from "./links";

const NAME = /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/;
export const LINK_NAMES = Array.from({ length: 8 }, (_, number) => `link${number}`);

/** `address` is the one that the node's name stands for. */
export function CreateDialog({ node, address, onClose }: { node: string; address: string; onClose: () => void }) {
  const t = useText();
  const { follow } = useTaskFocus();
  const own = ownAddresses(useNetwork(node).data ?? []);
  const [name, setName] = useState("");
  const [links, setLinks] = useState<Link[]>([{ number: 0, address, priority: "" }]);
  const { errors, attempt, ...state } = useAttempt("clustername", ...LINK_NAMES);
  const wrong = name !== "" && !(NAME.test(name) && name.length <= 15) ? t.create.nameHint : undefined;
  const submit = () =>
    attempt(async () => {
      follow(await createCluster(name, linkParameters(links)));
      onClose();
    });
  return (
    <Dialog
      title={t.create.title}
      attempt={state}
      submit={t.create.submit}
      ready={name !== "" && wrong === undefined}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>{t.create.text}</p>
      <Field
        id="clustername"
        label={t.create.name}
        value={name}
        onChange={setName}
        hint={t.create.nameHint}
        error={errors.clustername ?? wrong}
      />
      <LinkFields links={links} own={own} errors={errors} onChange={setLinks} />
    </Dialog>
  );
}
