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
    return `${streams.length} ${streams.length === 1 ? 'stream' : 'streams'}${since}`;
  });
  const list = element('ul', 'secrets', ...secrets.map(({ node }) => node));
  for (const reason of streams.flatMap(({ waiting }) => waiting)) {
    list.append(element('li', 'waiting', element('bdi', '', `waiting: ${reason}`)));
  }
  if (list.childElementCount === 0) list.append(element('li', 'fine', 'has asked for nothing yet'));
  return {
    node: element('li', 'proxy', identity(proxy, age.node), list),
    tick(nowMs) {
      age.tick(nowMs);
      for (const secret of secrets) secret.tick(nowMs);
    },
  };
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
