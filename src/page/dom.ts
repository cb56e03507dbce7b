/** A piece of the page that changes with the time. */
export interface Part {
  readonly node: HTMLElement;
  /** Shows the moment; milliseconds of the daemon's wall clock. */
  tick(nowMs: number): void;
}

/**
 * An element with a class, texts and other elements in it. Texts become text nodes: what a proxy
 * called itself is never markup.
 */
export function element(
  tag: string,
  className: string,
  ...content: readonly (Node | string)[]
): HTMLElement {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  made.append(...content);
  return made;
}

/** The element with this id of the page's own text. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new TypeError(`the page has no #${id}`);
  return found;
}

/** Writes a text only when it is another one: what has not changed is not drawn again. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** The same for an attribute. */
export function setAttribute(node: HTMLElement, name: string, value: string): void {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** An element whose text depends on the moment. */
export function ticking(className: string, textAt: (nowMs: number) => string): Part {
  const node = element('span', className);
  return { node, tick: (nowMs) => setText(node, textAt(nowMs)) };
}
