/** A console's life on the screen: it is opened, it ends with a reason, it can be opened anew. */

import { useCallback, useEffect, useRef, useState } from "react";

export type State = { kind: "opening" } | { kind: "open" } | { kind: "ended"; why: string };

export interface Session {
  close: () => void;
}

/** Opens a session in an element; calls `ended` once when it is over, with the server's sentence if there is one. */
export type Open<S extends Session> = (screen: HTMLElement, ended: (why: string) => void, opened: () => void) => Promise<S>;

/** `open` must be the same function as long as the same console is meant. */
export function useConsole<S extends Session>(open: Open<S>) {
  const screen = useRef<HTMLDivElement>(null);
  const session = useRef<S>(undefined);
  const [turn, setTurn] = useState(0);
  const [shown, setShown] = useState<{ turn: number; state: State }>({ turn: 0, state: { kind: "opening" } });
  useEffect(() => {
    const element = screen.current;
    if (!element) return;
    let left = false;
    const show = (state: State) => {
      if (!left) setShown({ turn, state });
    };
    void open(
      element,
      (why) => show({ kind: "ended", why }),
      () => show({ kind: "open" }),
    ).then(
      (opened) => {
        if (left) opened.close();
        else session.current = opened;
      },
      (error: unknown) => show({ kind: "ended", why: (error as Error).message }),
    );
    return () => {
      left = true;
      session.current?.close();
      session.current = undefined;
      element.replaceChildren();
    };
  }, [open, turn]);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  const state: State = shown.turn === turn ? shown.state : { kind: "opening" };
  return { screen, session, state, again };
}
