import type { ProxyState } from '../ui/view.ts';
import { byId, element, setAttribute, setText, type Part } from './dom.ts';
import { proxyPart } from './proxy.ts';
import { LOOKS, PAGE_SIZE, select, type Choice, type LookName, type Selection } from './select.ts';

interface Row {
  readonly part: Part;
  /** What it was made from. */
  readonly from: string;
}

/** The list of proxies with its filter. Only rows that changed are made anew. */
export interface ProxyList {
  show(proxies: readonly ProxyState[], nowMs: number): void;
  tick(nowMs: number): void;
}

export function createProxyList(nowMs: () => number): ProxyList {
  const list = byId('proxies');
  const filter = byId('filter') as HTMLInputElement;
  const found = byId('found');
  const [back, on] = [byId('back') as HTMLButtonElement, byId('on') as HTMLButtonElement];
  let choice: Choice = { words: '', look: 'all', page: 0 };
  let proxies: readonly ProxyState[] = [];
  let rows = new Map<string, Row>();

  const tabs = LOOKS.map((look) => {
    const count = element('span', 'count');
    const button = element('button', 'look', look, ' ', count);
    button.dataset['look'] = look;
    button.setAttribute('type', 'button');
    button.addEventListener('click', () => choose({ look, page: 0 }));
    byId('looks').append(button);
    return { look, button, count };
  });

  function choose(change: Partial<Choice>): void {
    choice = { ...choice, ...change };
    draw();
  }
  filter.addEventListener('input', () => choose({ words: filter.value, page: 0 }));
  back.addEventListener('click', () => turn(-1));
  on.addEventListener('click', () => turn(1));
  function turn(by: number): void {
    choose({ page: choice.page + by });
    byId('proxies-title').scrollIntoView();
  }

  function draw(): void {
    const selection = select(proxies, choice);
    choice = { ...choice, page: selection.page };
    const now = nowMs();
    const next = new Map<string, Row>();
    for (const { key, proxy } of selection.proxies) {
      const from = JSON.stringify(proxy);
      const old = rows.get(key);
      const row = old?.from === from ? old : { from, part: proxyPart(proxy) };
      row.part.tick(now);
      next.set(key, row);
    }
    rows = next;
    arrange(
      list,
      Array.from(rows.values(), ({ part }) => part.node),
    );
    for (const { look, button, count } of tabs) {
      setText(count, String(selection.counts[look]));
      setAttribute(button, 'aria-pressed', String(look === choice.look));
      button.classList.toggle('some', selection.counts[look] > 0);
    }
    setText(found, foundText(selection, choice.look));
    byId('pages').hidden = selection.pages === 1;
    back.disabled = selection.page === 0;
    on.disabled = selection.page === selection.pages - 1;
  }

  return {
    show(next) {
      proxies = next;
      draw();
    },
    tick(now) {
      for (const { part } of rows.values()) part.tick(now);
    },
  };
}

/** Puts the nodes in this order and moves none that is in its place. */
function arrange(list: HTMLElement, nodes: readonly HTMLElement[]): void {
  const wanted = new Set<Element>(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, n) => {
    const there = list.children[n];
    if (there !== node) list.insertBefore(node, there ?? null);
  });
}

function foundText({ found, page, pages }: Selection, look: LookName): string {
  if (found === 0) return look === 'all' ? 'no proxy' : `no proxy: ${look}`;
  if (pages === 1) return found === 1 ? '1 proxy' : `${found} proxies`;
  const first = page * PAGE_SIZE;
  return `${first + 1} to ${Math.min(first + PAGE_SIZE, found)} of ${found} proxies`;
}
