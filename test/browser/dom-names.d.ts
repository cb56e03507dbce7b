/**
 * Names that the driver's declarations take from the DOM's. The DOM itself is not declared for code that
 * runs in Node: there it would hide mistakes.
 */
type Node = object;
type HTMLElement = object;
type SVGElement = object;
type HTMLElementTagNameMap = Record<'a', object>;
