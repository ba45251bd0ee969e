/** Keys as X11 numbers them (keysymdef.h), which is what VNC sends. Pure. */

export const KEYS: Readonly<Record<string, number>> = {
  Backspace: 0xff08,
  Tab: 0xff09,
  Enter: 0xff0d,
  Escape: 0xff1b,
  Delete: 0xffff,
  Control: 0xffe3,
  Alt: 0xffe9,
  Meta: 0xffeb,
  ArrowLeft: 0xff51,
  ArrowUp: 0xff52,
  ArrowRight: 0xff53,
  ArrowDown: 0xff54,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, number) => [`F${number + 1}`, 0xffbe + number])),
};

const LATIN_1 = 0xff;
const UNICODE = 0x0100_0000;

/** The number of a named key or of a character. */
export function keysymOf(key: string): number {
  const named = KEYS[key];
  if (named !== undefined) return named;
  const point = key.codePointAt(0) ?? 0;
  return point <= LATIN_1 ? point : UNICODE + point;
}
