import type { ProxyState } from '../ui/view.ts';
import { element, ticking, type Part } from './dom.ts';
import { secretPart } from './secret.ts';
import { span } from './time.ts';

/** One proxy with all it was sent, on whichever of its streams. */
export function proxyPart(proxy: ProxyState): Part {
  const { streams } = proxy;
  const secrets = streams.flatMap((stream) => stream.secrets.map(secretPart));
  const opened = streams.map(({ openedAtMs }) => openedAtMs).filter((ms) => ms !== null);
  const age = ticking('fine', (nowMs) => {
    const since = opened.length === 0 ? '' : `, oldest ${span(nowMs - Math.min(...opened))}`;
    const kinds = kindsText(proxy);
    const many = `${streams.length} ${streams.length === 1 ? 'stream' : 'streams'}`;
    return `${many}${kinds === '' ? '' : ` (${kinds})`}${since}`;
  });
  const list = element('ul', 'secrets', ...secrets.map(({ node }) => node));
  const hidden = streams.reduce((sum, { absentNotShown }) => sum + absentNotShown, 0);
  if (hidden > 0) list.append(element('li', 'fine', `and ${hidden} more that were denied`));
  const isWaited = (reason: string) => streams.some(({ waiting }) => waiting.includes(reason));
  const untold = proxy.refusals.filter(({ reason }) => !isWaited(reason));
  const refusals = untold.map(({ reason, atMs }) =>
    ticking(
      '',
      (nowMs) => `refused${atMs === null ? '' : ` ${span(nowMs - atMs)} ago`}: ${reason}`,
    ),
  );
  for (const { node } of refusals) list.append(element('li', 'waiting', element('bdi', '', node)));
  for (const reason of streams.flatMap(({ waiting }) => waiting)) {
    list.append(element('li', 'waiting', element('bdi', '', `waiting: ${reason}`)));
  }
  if (list.childElementCount === 0) list.append(element('li', 'fine', 'has asked for nothing yet'));
  return {
    node: element('li', 'proxy', identity(proxy, age.node), list),
    tick(nowMs) {
      age.tick(nowMs);
      for (const part of [...secrets, ...refusals]) part.tick(nowMs);
    },
  };
}

/** How many streams of which protocol, as in `2 sotw, 1 delta`. */
function kindsText({ streams }: ProxyState): string {
  const counts = new Map<string, number>();
  for (const { kind } of streams) if (kind !== null) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return Array.from(counts, ([kind, n]) => `${n} ${kind}`).join(', ');
}

function identity({ pid, uid, user, nodeId, envoyVersion }: ProxyState, age: HTMLElement) {
  const who = user === null ? `uid ${uid ?? '?'}` : `${user} (uid ${uid ?? '?'})`;
  const what = [envoyVersion === null ? [] : `Envoy ${envoyVersion}`].flat();
  return element(
    'div',
    'identity',
    element('h3', '', element('bdi', '', nodeId ?? 'says no node')),
    element('span', 'fine', `pid ${pid ?? '?'}`),
    element('span', 'fine', element('bdi', '', who)),
    ...what.map((text) => element('span', 'fine', element('bdi', '', text))),
    age,
  );
}
