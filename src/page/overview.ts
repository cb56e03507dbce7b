import type { AuthorityState, PolicyState, StatusPage, UpstreamState } from '../ui/view.ts';
import { byId, element, setText, ticking, type Part } from './dom.ts';
import { gauge } from './gauge.ts';
import { span } from './time.ts';

/** Everything above the proxies: who this is, whether it is ready, authorities, policy, SVIDs. */
export interface Overview {
  show(status: StatusPage): void;
  tick(nowMs: number): void;
  /** Whether all of it is still so: of a daemon that is gone only lives go on to their end. */
  setLive(isLive: boolean): void;
}

export function createOverview(): Overview {
  let parts: readonly Part[] = [];
  let from = '';
  let up: Part | undefined;
  let isLive = true;
  let notReady: readonly string[] = [];
  return {
    show(status) {
      const text = JSON.stringify({ ...status, proxies: [] });
      if (text === from) return;
      from = text;
      document.title = `${status.trustDomain} on ${status.nodeName} - Credence`;
      setText(byId('trust-domain'), status.trustDomain);
      up = ticking('', (nowMs) =>
        status.startedAtMs === null ? '' : `up ${span(nowMs - status.startedAtMs)}`,
      );
      const who = [`node ${status.nodeName}`, `credence ${status.version}`];
      byId('who').replaceChildren(...who.map((part) => element('bdi', '', part)), up.node);
      notReady = status.notReady;
      showReadiness(notReady, isLive);
      const authorities = [
        ...status.authorities.map(authorityPart),
        ...behindParts(status.bundleReaders),
        ...(status.upstream ? upstreamParts(status.upstream) : []),
      ];
      byId('authorities').replaceChildren(...authorities.map(({ node }) => node));
      const policy = policyParts(status.policy);
      byId('policy').replaceChildren(...policy.map(({ node }) => node));
      const svids = svidParts(status.rotation);
      byId('svids').replaceChildren(...svids.map(({ node }) => node));
      parts = [...authorities, ...policy, ...svids];
    },
    tick(nowMs) {
      if (isLive) up?.tick(nowMs);
      for (const part of parts) part.tick(nowMs);
    },
    setLive(now) {
      if (now === isLive) return;
      isLive = now;
      showReadiness(notReady, isLive);
    },
  };
}

function showReadiness(notReady: readonly string[], isLive: boolean): void {
  const shown = byId('ready');
  const text = notReady.length === 0 ? 'ready' : `not ready: ${notReady.join(', ')}`;
  shown.dataset['tone'] = isLive ? (notReady.length === 0 ? 'good' : 'over') : 'past';
  setText(shown, isLive ? text : `was ${text}`);
}

function authorityPart(authority: AuthorityState): Part {
  const { slot, serial, keyType, notBeforeMs, notAfterMs, tainted, revoked } = authority;
  const life = gauge(
    { beginMs: notBeforeMs, endMs: notAfterMs, turnMs: null },
    `life of the authority ${slot}`,
  );
  const named = element('span', 'name', slot);
  const fine = [keyType, serial === null ? null : `serial ${serial}`];
  for (const text of fine) if (text !== null) named.append(element('bdi', 'fine', text));
  if (tainted) named.append(element('span', 'fault', revoked ? 'tainted, revoked' : 'tainted'));
  return { node: element('li', 'authority', named, life.node), tick: (nowMs) => life.tick(nowMs) };
}

/** One line, while the next authority has proxies to wait for. */
function behindParts({ readers, behind }: StatusPage['bundleReaders']): readonly Part[] {
  if (readers === null || behind === null || behind === 0) return [];
  const text = `${behind} of ${readers} proxies: bundle not acknowledged as it is now`;
  const said = ticking('fine', () => text);
  return [{ node: element('li', 'authority', said.node), tick: (nowMs) => said.tick(nowMs) }];
}

/** One line, where the last change of the files was refused. */
function upstreamParts({ lastError, lastErrorAtMs }: UpstreamState): readonly Part[] {
  if (lastError === null) return [];
  const refusedAt = (nowMs: number) =>
    lastErrorAtMs === null ? '' : ` ${span(nowMs - lastErrorAtMs)} ago`;
  const said = ticking('fault', (nowMs) => `last change refused${refusedAt(nowMs)}: ${lastError}`);
  return [{ node: element('li', 'authority', said.node), tick: (nowMs) => said.tick(nowMs) }];
}

function policyParts(policy: PolicyState): readonly Part[] {
  const { entries, revision, loadedAtMs, warnings, lastError, lastErrorAtMs } = policy;
  const lines = [
    ticking('figure', () => `${entries ?? '?'} ${entries === 1 ? 'entry' : 'entries'}`),
    ticking('fine', (nowMs) =>
      [
        revision === null ? '' : `revision ${revision}`,
        loadedAtMs === null ? '' : `loaded ${span(nowMs - loadedAtMs)} ago`,
      ]
        .filter(Boolean)
        .join(', '),
    ),
    ...(warnings
      ? [
          ticking(
            'fine',
            () => `${warnings} ${warnings === 1 ? 'warning' : 'warnings'}, see credence check`,
          ),
        ]
      : []),
  ];
  if (lastError === null) return lines;
  const refusedAt = (nowMs: number) =>
    lastErrorAtMs === null ? '' : ` ${span(nowMs - lastErrorAtMs)} ago`;
  return [
    ...lines,
    ticking('fault', (nowMs) => `last change refused${refusedAt(nowMs)}: ${lastError}`),
  ];
}

function svidParts({ held, due, earliestNotAfterMs }: StatusPage['rotation']): readonly Part[] {
  return [
    ticking('figure', () => `${held ?? '?'} held`),
    ticking((due ?? 0) > 0 ? 'overdue' : 'fine', () => `${due ?? '?'} overdue for renewal`),
    ticking('fine', (nowMs) =>
      earliestNotAfterMs === null ? '' : `the first expires in ${span(earliestNotAfterMs - nowMs)}`,
    ),
  ];
}
