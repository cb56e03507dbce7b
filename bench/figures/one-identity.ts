import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, type Part, planFleet, SERVED_WITHIN_MS } from '../bench.ts';
import { startWorker } from '../client/worker-handle.ts';
import { type Grant, type Home, writePolicy } from '../credence.ts';
import type { Server } from '../server.ts';

const IDENTITIES = 100;
const CONNECTIONS = 1000;
const FIRST_UID = 62_000;
/** A push that should not have been has come by then. */
const LISTEN_MS = 500;

/** An identity for each of a hundred users. */
export const IDENTITY_GRANTS: readonly Grant[] = Array.from({ length: IDENTITIES }, (_, n) => ({
  uid: FIRST_UID + n,
}));

/**
 * A policy that differs in one identity: only the streams that carry its certificate may hear of
 * it, and nobody else may be pushed anything.
 */
export function oneIdentity(bench: Bench, server: Server, home: Home): Part {
  return {
    name: 'one identity of many',
    needsRoot: true,
    async run() {
      await using changed = startWorker();
      await using others = startWorker();
      const [theirs, ...rest] = IDENTITY_GRANTS.map(({ uid }) => uid);
      const ours = CONNECTIONS / IDENTITIES;
      const certificate = bench.options.names[0] ?? '';
      const names = [certificate, certificate];
      const timeoutMs = SERVED_WITHIN_MS;
      await changed.ask({
        kind: 'open',
        plan: planFleet(bench, server, ours, { names, uids: [theirs ?? 0] }),
        timeoutMs,
      });
      await others.ask({
        kind: 'open',
        plan: planFleet(bench, server, CONNECTIONS - ours, { names, uids: rest }),
        timeoutMs,
      });
      const took: number[] = [];
      const messages: number[] = [];
      const strays: number[] = [];
      for (let change = 0; change < bench.effort.changes; change++) {
        const before = await changed.ask({ kind: 'counts' });
        const othersBefore = await others.ask({ kind: 'counts' });
        const dnsNames = [`change-${change}.example.org`];
        const grants = IDENTITY_GRANTS.map((grant) =>
          grant.uid === theirs ? { ...grant, dnsNames } : grant,
        );
        const total = before.deliveries + ours * names.length;
        const [{ reachedMs }, renamedMs] = await Promise.all([
          changed.ask({ kind: 'await-deliveries', total, timeoutMs }),
          writePolicy(home.policy, grants),
        ]);
        took.push(reachedMs - renamedMs);
        await sleep(LISTEN_MS);
        const after = await changed.ask({ kind: 'counts' });
        const othersAfter = await others.ask({ kind: 'counts' });
        messages.push(after.deliveries - before.deliveries);
        strays.push(othersAfter.deliveries - othersBefore.deliveries);
      }
      const total = (CONNECTIONS * names.length).toLocaleString('en-US');
      const streams = ours * names.length;
      return [
        {
          name: `policy changes one identity: messages to its ${streams} streams of ${total}`,
          unit: '',
          runs: messages,
          bound: { goal: streams, stretch: streams },
        },
        {
          name: 'policy changes one identity: messages to all others',
          unit: '',
          runs: strays,
          bound: { goal: 0, stretch: 0 },
        },
        {
          name: 'policy changes one identity: rename to last acknowledgement',
          unit: 'ms',
          runs: took,
        },
      ];
    },
  };
}
