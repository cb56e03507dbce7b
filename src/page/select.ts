import type { ProxyState, StreamState } from '../ui/view.ts';

/** Ways to look at the proxies; each but the first names something that an operator should know of. */
export const LOOKS = ['all', 'refused', 'unanswered', 'waiting'] as const;
export type LookName = (typeof LOOKS)[number];

/** As many as a person reads, and as few as a browser draws in a moment. */
export const PAGE_SIZE = 50;

/** What is asked for: words that all have to be found, a look, a page counted from 0. */
export interface Choice {
  readonly words: string;
  readonly look: LookName;
  readonly page: number;
}

export interface Selection {
  readonly proxies: readonly { readonly key: string; readonly proxy: ProxyState }[];
  /** How many each look has, whatever words are asked for. */
  readonly counts: Readonly<Record<LookName, number>>;
  /** How many fit, on all pages. */
  readonly found: number;
  readonly page: number;
  readonly pages: number;
}

/** The proxies that fit, those with trouble first; a page that is not there becomes the last. */
export function select(proxies: readonly ProxyState[], choice: Choice): Selection {
  const all = keyed(proxies).map((item) => ({ ...item, looks: looksOf(item.proxy) }));
  const count = (look: LookName) => all.filter(({ looks }) => looks.has(look)).length;
  const words = choice.words.toLowerCase().split(/\s+/).filter(Boolean);
  const fitting = all
    .filter(({ looks, proxy }) => looks.has(choice.look) && hasWords(proxy, words))
    .sort((a, b) => rank(a.looks) - rank(b.looks) || (a.proxy.pid ?? 0) - (b.proxy.pid ?? 0));
  const pages = Math.max(Math.ceil(fitting.length / PAGE_SIZE), 1);
  const page = Math.min(Math.max(choice.page, 0), pages - 1);
  return {
    proxies: fitting.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE),
    counts: {
      all: all.length,
      refused: count('refused'),
      unanswered: count('unanswered'),
      waiting: count('waiting'),
    },
    found: fitting.length,
    page,
    pages,
  };
}

/** A name for each connection that stays the same from one answer to the next. */
function keyed(proxies: readonly ProxyState[]) {
  const seen = new Map<string, number>();
  return proxies.map((proxy) => {
    const name = JSON.stringify([proxy.pid, proxy.uid, proxy.nodeId]);
    const nth = seen.get(name) ?? 0;
    seen.set(name, nth + 1);
    return { key: `${name} ${nth}`, proxy };
  });
}

function looksOf({ streams }: ProxyState): ReadonlySet<LookName> {
  const looks = new Set<LookName>(['all']);
  for (const { waiting, secrets } of streams) {
    if (waiting.length > 0) looks.add('waiting');
    for (const secret of secrets) {
      if (secret.refused !== null) looks.add('refused');
      if (secret.state === 'unanswered') looks.add('unanswered');
    }
  }
  return looks;
}

function rank(looks: ReadonlySet<LookName>): number {
  return looks.has('refused') ? 0 : looks.has('waiting') ? 1 : looks.has('unanswered') ? 2 : 3;
}

function hasWords(proxy: ProxyState, words: readonly string[]): boolean {
  if (words.length === 0) return true;
  const { pid, uid, user, nodeId, envoyVersion, refusals, streams } = proxy;
  const text = [
    `pid ${pid}`,
    `uid ${uid}`,
    user,
    nodeId,
    envoyVersion,
    ...refusals.map(({ reason }) => reason),
    ...streams.flatMap(textsOf),
  ]
    .filter((part) => part !== null)
    .join('\n')
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

const textsOf = ({ waiting, secrets }: StreamState) => [
  ...waiting,
  ...secrets.flatMap(({ name, spiffeId, serial, refused, inUse }) => [
    ...[name, spiffeId, serial, inUse?.serial ?? null, refused?.text ?? null],
  ]),
];
