/** The few pieces that every view is made of: a card, a list of facts, a usage bar. */

import type { ReactNode } from "react";
import { useLanguage } from "../i18n/text";
import { bytes, percent } from "../i18n/units";

/** A titled box. */
export function Panel({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <section className="kv-panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

export type Fact = readonly [name: string, value: ReactNode];

/** Names and values; a fact without a value is left out. */
export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <dl className="kv-facts">
      {facts
        .filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A share (0 to 1) as a bar with its words; `tight` from 80 %, `full` from 95 %. */
export function Usage({ share, text, name }: { share: number; text: string; name: string }) {
  const shown = Math.min(1, Math.max(0, share));
  const level = shown >= 0.95 ? "full" : shown >= 0.8 ? "tight" : "fine";
  return (
    <span className="kv-usage" data-level={level}>
      <span
        className="kv-meter"
        role="meter"
        aria-label={name}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(shown * 100)}
        aria-valuetext={text}
      >
        <span style={{ width: `${shown * 100}%` }} />
      </span>
      <span>{text}</span>
    </span>
  );
}

/** CPU time used, of how many CPUs. */
export function CpuUsage({ share, cpus }: { share: number | undefined; cpus: number | undefined }) {
  const { t, language } = useLanguage();
  if (share === undefined || cpus === undefined) return null;
  return <Usage name={t.fact.cpu} share={share} text={t.fact.ofCpus(percent(share, language), cpus)} />;
}

/** Bytes used, of how many. */
export function ByteUsage({ name, used, total }: { name: string; used: number | undefined; total: number | undefined }) {
  const { t, language } = useLanguage();
  if (used === undefined || !total) return null;
  const text = t.fact.ofBytes(bytes(used, language), bytes(total, language));
  return <Usage name={name} share={used / total} text={text} />;
}
