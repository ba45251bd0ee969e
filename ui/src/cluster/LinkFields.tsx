/** Which of the node's addresses each link uses, and how it ranks. */

import { Button, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import TrashIcon from "@patternfly/react-icons/dist/esm/icons/trash-icon";
import { useText } from "../i18n/text";
import { Help } from "../shell/form";
import { MOST_LINKS, withOneMore, type Link, type Own } from "./links";

interface Props {
  links: Link[];
  own: Own[];
  /** The cluster's links, when there is one already: their number is fixed, the priority is not ours to give. */
  peers?: ReadonlyMap<number, string>;
  errors: Readonly<Record<string, string>>;
  onChange: (links: Link[]) => void;
}

export function LinkFields({ links, own, peers, errors, onChange }: Props) {
  const t = useText();
  const change = (number: number, part: Partial<Link>) =>
    onChange(links.map((link) => (link.number === number ? { ...link, ...part } : link)));
  const ranked = peers === undefined;
  return (
    <section className="kv-links" aria-label={t.links.title}>
      <h3>{t.links.title}</h3>
      <p className="kv-quiet">{t.links.hint}</p>
      {links.map((link) => (
        <LinkRow
          key={link.number}
          link={link}
          own={own}
          peer={peers?.get(link.number)}
          ranked={ranked}
          error={errors[`link${link.number}`]}
          onChange={(part) => change(link.number, part)}
          onRemove={
            ranked && link.number > 0 ? () => onChange(links.filter(({ number }) => number !== link.number)) : undefined
          }
        />
      ))}
      {ranked && (
        <div>
          <Button
            size="sm"
            variant="secondary"
            isDisabled={links.length >= MOST_LINKS}
            onClick={() => onChange(withOneMore(links, own))}
          >
            {t.links.add}
          </Button>
        </div>
      )}
      {ranked && links.length > 1 && <p className="kv-quiet">{t.links.priorityHint}</p>}
    </section>
  );
}

interface RowProps {
  link: Link;
  own: Own[];
  peer: string | undefined;
  ranked: boolean;
  error: string | undefined;
  onChange: (part: Partial<Link>) => void;
  onRemove: (() => void) | undefined;
}

function LinkRow({ link, own, peer, ranked, error, onChange, onRemove }: RowProps) {
  const t = useText();
  const id = `link${link.number}`;
  const known = own.some(({ address }) => address === link.address);
  const lost = peer !== undefined && link.address === "" ? t.links.noneFits : undefined;
  const hint = peer === undefined ? undefined : t.links.peers(peer);
  const validated = error === undefined ? "default" : "error";
  return (
    <div className="kv-link-row" data-ranked={ranked}>
      <label htmlFor={id}>{t.cluster.link(link.number)}</label>
      <div>
        <FormSelect
          id={id}
          aria-label={t.links.address(link.number)}
          value={link.address}
          validated={validated}
          onChange={(_, address) => onChange({ address })}
        >
          {!known && <FormSelectOption value={link.address} label={link.address || t.links.choose} />}
          {own.map(({ address, iface }) => (
            <FormSelectOption key={address} value={address} label={`${address} (${iface})`} />
          ))}
        </FormSelect>
        <Help id={id} hint={[hint, lost].filter(Boolean).join(". ")} error={error} />
      </div>
      {ranked && (
        <TextInput
          aria-label={t.links.priority(link.number)}
          placeholder={t.links.priorityShort}
          inputMode="numeric"
          value={link.priority}
          onChange={(_, priority) => onChange({ priority: priority.replace(/\D/g, "").slice(0, 3) })}
        />
      )}
      {onRemove && (
        <Button variant="plain" aria-label={t.links.remove(link.number)} icon={<TrashIcon />} onClick={onRemove} />
      )}
    </div>
  );
}
