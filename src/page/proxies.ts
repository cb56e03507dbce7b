import type { ProxyState } from '../ui/view.ts';
import { byId, element, setAttribute, setText, type Part } from './dom.ts';
import { proxyPart } from './proxy.ts';
import { LOOKS, PAGE_SIZE, select, type Choice, type LookName, type Selection } from './select.ts';

/** The list of proxies with its filter. Only rows that changed are made anew. */
export interface ProxyList {
  show(proxies: readonly ProxyState[], nowMs: number): void;
  tick(nowMs: number): void;
}

export function createProxyList(nowMs: () => number): ProxyList {
  const filter = byId('filter') as HTMLInputElement;
  const found = byId('found');
  let choice: Choice = { words: '', look: 'all', page: 0 };
  let proxies: readonly ProxyState[] = [];

  const rows = createRows();
  const tabs = createTabs((look) => choose({ look, page: 0 }));
  const pager = createPager((by) => choose({ page: choice.page + by }));
  filter.addEventListener('input', () => choose({ words: filter.value, page: 0 }));

  function choose(change: Partial<Choice>): void {
    choice = { ...choice, ...change };
    draw();
  }

  function draw(): void {
    const selection = select(proxies, choice);
    choice = { ...choice, page: selection.page };
    rows.show(selection, nowMs());
    tabs.show(selection, choice.look);
    pager.show(selection);
    setText(found, foundText(selection, choice.look));
  }

  return {
    show(next) {
      proxies = next;
      draw();
    },
    tick: rows.tick,
  };
}

interface Row {
  readonly part: Part;
  /** What it was made from. */
  readonly from: string;
}

/** The proxies of one page. */
function createRows() {
  const list = byId('proxies');
  let rows = new Map<string, Row>();
  const tick = (nowMs: number): void => {
    for (const { part } of rows.values()) part.tick(nowMs);
  };
  return {
    show({ proxies }: Selection, nowMs: number): void {
      const next = new Map<string, Row>();
      for (const { key, proxy } of proxies) {
        const from = JSON.stringify(proxy);
        const old = rows.get(key);
        next.set(key, old?.from === from ? old : { from, part: proxyPart(proxy) });
      }
      rows = next;
      tick(nowMs);
      arrange(
        list,
        Array.from(rows.values(), ({ part }) => part.node),
      );
    },
    tick,
  };
}

/** What to look at, each with how many there are. */
function createTabs(choose: (look: LookName) => void) {
  const tabs = LOOKS.map((look) => {
    const count = element('span', 'count');
    const button = element('button', 'look', look, ' ', count);
    button.dataset['look'] = look;
    button.setAttribute('type', 'button');
    button.addEventListener('click', () => choose(look));
    byId('looks').append(button);
    return { look, button, count };
  });
  return {
    show({ counts }: Selection, chosen: LookName): void {
      for (const { look, button, count } of tabs) {
        setText(count, String(counts[look]));
        setAttribute(button, 'aria-pressed', String(look === chosen));
        button.classList.toggle('some', counts[look] > 0);
      }
    },
  };
}

/** The two buttons that turn the pages. */
function createPager(turn: (by: 1 | -1) => void) {
  const [back, on] = [byId('back') as HTMLButtonElement, byId('on') as HTMLButtonElement];
  for (const [button, by] of [
    [back, -1],
    [on, 1],
  ] as const) {
    button.addEventListener('click', () => {
      turn(by);
      byId('proxies-title').scrollIntoView();
    });
  }
  return {
    show({ page, pages }: Selection): void {
      byId('pages').hidden = pages === 1;
      back.disabled = page === 0;
      on.disabled = page === pages - 1;
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
