/** Which consoles a guest has, by its configuration. Pure. */

/** `display`, `serial0`, …; what it shows by itself comes first. */
export function consolesOf(config: Readonly<Record<string, string | number>>): string[] {
  const serial = Object.keys(config)
    .filter((key) => /^serial\d$/.test(key) && config[key] === "socket")
    .sort();
  const vga = displayOf(config);
  if (vga === "none") return serial;
  if (vga.startsWith("serial")) return [...serial].sort((a, b) => Number(b === vga) - Number(a === vga));
  return ["display", ...serial];
}

/** Whether its display is had by SPICE too, with a program beside the browser. */
export function hasSpice(config: Readonly<Record<string, string | number>>): boolean {
  return displayOf(config).startsWith("qxl");
}

function displayOf(config: Readonly<Record<string, string | number>>): string {
  return String(config.vga ?? "std").replace(/^type=/, "").split(",")[0] ?? "";
}
