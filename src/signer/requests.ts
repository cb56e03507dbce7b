import { backoffDelay } from '../core/backoff.ts';
import { sleep, type Clock } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { Mirror } from '../kubernetes/follow.ts';
import { uidOf, type Outcome } from './answer.ts';
import { progressOf } from './conditions.ts';
import { keyIdOf } from './judge.ts';
import { record, text } from '../kubernetes/fields.ts';

export interface RequestsDeps {
  readonly answer: (request: unknown) => Promise<Outcome>;
  readonly outcome: (outcome: Outcome | 'failed') => void;
  readonly signerName: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** All requests for our signer name, those that wait being answered a few at a time. */
export interface Requests {
  readonly mirror: Mirror;
  /** Whether another request for this key has been answered. */
  keyWasSeen(keyId: Buffer, requestUid: string): boolean;
  isAnswered(requestUid: string): boolean;
  waiting(): number;
}

/** Each takes a handful of calls; the server is not to notice a herd. */
const AT_ONCE = 16;
const RETRY = { baseMs: 500, maxMs: 30_000 };

export function createRequests(deps: RequestsDeps): Requests {
  const { answer, outcome, signerName, clock, random, log, signal } = deps;
  const objects = new Map<string, unknown>();
  const byKey = new Map<string, Set<string>>();
  const keys = new Map<string, string>();
  const waiting: string[] = [];
  const busy = new Set<string>();
  /** Of which the watch has yet to tell what we did. */
  const answered = new Set<string>();
  let running = 0;
  const isOver = () => signal.aborted;
  let said = '';

  function put(object: unknown): void {
    if (text(record(record(object)['spec'])['signerName']) !== signerName) return;
    const uid = uidOf(object);
    if (uid === '') return;
    if (!objects.has(uid)) index(object, uid);
    objects.set(uid, object);
    if (progressOf(object).isDone || busy.has(uid) || answered.has(uid)) return;
    busy.add(uid);
    waiting.push(uid);
    start();
  }

  function index(object: unknown, uid: string): void {
    const key = keyIdOf(object)?.toString('hex');
    if (key === undefined) return;
    keys.set(uid, key);
    byKey.set(key, (byKey.get(key) ?? new Set()).add(uid));
  }

  function remove(uid: string): void {
    objects.delete(uid);
    answered.delete(uid);
    const key = keys.get(uid) ?? '';
    keys.delete(uid);
    const same = byKey.get(key);
    same?.delete(uid);
    if (same?.size === 0) byKey.delete(key);
  }

  function start(): void {
    while (running < AT_ONCE && waiting.length > 0) {
      // Any of them: replicas that began at the same end would do all work twice.
      const at = Math.floor(random.unit() * waiting.length);
      const [uid = ''] = waiting.splice(at, 1);
      running++;
      void work(uid).finally(() => {
        running--;
        busy.delete(uid);
        start();
      });
    }
  }

  /** Until it is answered, or gone. */
  async function work(uid: string): Promise<void> {
    for (let failures = 0; !isOver();) {
      const object = objects.get(uid);
      if (object === undefined || progressOf(object).isDone) return;
      try {
        outcome(await answer(object));
        answered.add(uid);
        said = '';
        return;
      } catch (thrown) {
        if (isOver()) return;
        outcome('failed');
        const reason = errorText(thrown);
        // An outage concerns all of them alike.
        if (reason !== said) log.warn({ reason }, 'a request for a CA cannot be answered now');
        said = reason;
      }
      // The others have their turn meanwhile.
      running--;
      start();
      await sleep(clock, backoffDelay(failures++, RETRY, random), { signal }).catch(
        () => undefined,
      );
      running++;
    }
  }

  return {
    mirror: {
      replace(all) {
        const there = new Set(all.map(uidOf));
        for (const uid of [...objects.keys()]) if (!there.has(uid)) remove(uid);
        for (const object of all) put(object);
      },
      put,
      remove: (object) => remove(uidOf(object)),
      heard: () => undefined,
    },
    keyWasSeen: (keyId, requestUid) =>
      [...(byKey.get(keyId.toString('hex')) ?? [])].some(
        (uid) => uid !== requestUid && (answered.has(uid) || progressOf(objects.get(uid)).isDone),
      ),
    isAnswered: (uid) => progressOf(objects.get(uid)).isDone,
    waiting: () => busy.size,
  };
}
