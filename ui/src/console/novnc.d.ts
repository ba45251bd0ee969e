declare module "@novnc/novnc" {
  export interface Options {
    shared?: boolean;
    credentials?: { username?: string; password?: string; target?: string };
  }

  /** A VNC client in an element; see noVNC's docs/API.md. */
  export default class RFB extends EventTarget {
    constructor(target: HTMLElement, urlOrChannel: string | WebSocket, options?: Options);
    scaleViewport: boolean;
    background: string;
    focusOnClick: boolean;
    focus(): void;
    blur(): void;
    disconnect(): void;
    sendCtrlAltDel(): void;
    sendKey(keysym: number, code: string | null, down?: boolean): void;
  }
}
