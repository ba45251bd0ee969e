/**
 * xterm writes its rules into style elements, which the page's Content-Security-Policy forbids. It is given a
 * document that hands it something else instead: what is written there becomes a style sheet of the document's own.
 */

/** An element made in another way than by what xterm calls. */
function made(tag: string): HTMLElement {
  return document.createElementNS("http://www.w3.org/1999/xhtml", tag);
}

class Rules {
  readonly sheet = new CSSStyleSheet();

  /** What stands in the tree where xterm puts its style element. */
  element(): HTMLElement {
    const element = made("span");
    element.hidden = true;
    const { sheet } = this;
    Object.defineProperty(element, "textContent", { set: (text: string) => sheet.replaceSync(text), get: () => "" });
    const remove = element.remove.bind(element);
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
      remove();
    };
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    return element;
  }
}

/** Opens a terminal; xterm 6.0.0 makes one of its style elements by the page's own document, whatever it is given. */
export function opened(open: () => void): void {
  const value = (tag: string) => (tag === "style" ? new Rules().element() : made(tag));
  Object.defineProperty(document, "createElement", { value, configurable: true });
  try {
    open();
  } finally {
    Reflect.deleteProperty(document, "createElement"); // the prototype's is back
  }
}

/** The document as xterm may have it. */
export function strictDocument(): Document {
  return new Proxy(document, {
    get(target, name) {
      if (name === "createElement") {
        return (tag: string) => (tag === "style" ? new Rules().element() : target.createElement(tag));
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  });
}
