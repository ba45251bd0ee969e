/** Numbers as people read them. */

import type { Language } from "./text";

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 1610612736 -> "1.5 GiB" (three digits at most). */
export function bytes(count: number, language: Language): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BINARY.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toLocaleString(language, { maximumFractionDigits: digits })} ${BINARY[unit] ?? ""}`;
}

/** 0.1234 -> "12.3 %". */
export function percent(share: number, language: Language): string {
  return `${(share * 100).toLocaleString(language, { maximumFractionDigits: share < 0.1 ? 1 : 0 })} %`;
}

/** Seconds as "3d 4h", "4h 05m", "5m 06s" or "6s": the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24];
  const [minutes, rest] = [Math.floor(whole / 60) % 60, whole % 60];
  if (days > 0) return `${days}d ${hours}h`;
  if (hours > 0) return `${hours}h ${two(minutes)}m`;
  return minutes > 0 ? `${minutes}m ${two(rest)}s` : `${rest}s`;
}

/** Unix seconds as the time of day today, with the date otherwise. */
export function moment(seconds: number, language: Language, now: Date): string {
  const when = new Date(seconds * 1000);
  const time = when.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (when.toDateString() === now.toDateString()) return time;
  return `${when.toLocaleDateString(language, { month: "short", day: "numeric" })} ${time}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}
