/** The frame of a console: its buttons above, the screen, and over it what has become of it. */

import { useRef, type ReactNode, type RefObject } from "react";
import { Button } from "@patternfly/react-core";
import { useText } from "../i18n/text";
import type { State } from "./useConsole";
import "./console.css";

interface Props {
  screen: RefObject<HTMLDivElement | null>;
  state: State;
  again: () => void;
  label: string;
  kind: "display" | "terminal";
  /** buttons of this kind of console */
  children?: ReactNode;
}

export function Screen({ screen, state, again, label, kind, children }: Props) {
  const t = useText();
  const frame = useRef<HTMLElement>(null);
  const whole = () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void frame.current?.requestFullscreen();
  };
  return (
    <section className="kv-screen" ref={frame} aria-label={label} data-state={state.kind}>
      <header>
        <span className="kv-quiet" role="status">
          {t.console.states[state.kind]}
        </span>
        <span className="kv-grow" />
        {children}
        <Button size="sm" variant="secondary" onClick={whole}>
          {t.console.fullScreen}
        </Button>
      </header>
      <div className="kv-screen-box">
        <div className="kv-screen-content" data-kind={kind} ref={screen} />
        {state.kind === "ended" && (
          <div className="kv-screen-over" role="alert">
            <p>{state.why === "" ? t.console.lost : state.why}</p>
            <Button onClick={again}>{t.console.again}</Button>
          </div>
        )}
      </div>
    </section>
  );
}
