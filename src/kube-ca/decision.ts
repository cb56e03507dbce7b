import { backoffDelay } from '../core/backoff.ts';
import { sleep, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import { ApiRefusal } from '../kubernetes/api.ts';
import { record, text, type Fields } from '../kubernetes/fields.ts';
import { deleted, type Collection } from './collection.ts';
import type { Inquiry } from './inquiry.ts';
import { mayPass, whyFailed } from './refusals.ts';
import type { Verdict } from './verdict.ts';

/** A request that is there. */
export interface Placed {
  readonly collection: Collection;
  readonly name: string;
  readonly judge: (object: Fields) => Verdict;
}

export interface DecisionDeps {
  readonly clock: Clock;
  readonly random: Random;
}

type Decision = Exclude<Verdict, { kind: 'waiting' }>;

const BACKOFF = { baseMs: 250, maxMs: 5000 };
/** A watch that ends sooner was ended by something else than its time. */
const SOON_MS = 1000;

/**
 * Looks, watches and looks again, until it is decided. Rejects with `ERR_ISSUER` when it is gone or
 * may not be seen, with the signal's reason at the deadline; whatever else fails is tried again.
 */
export async function decisionOf(
  placed: Placed,
  first: Fields,
  inquiry: Inquiry,
  { clock, random }: DecisionDeps,
): Promise<Decision> {
  const say = (why: string) => inquiry.waits(`request ${placed.name}: ${why}`);
  // Without a version a watch has nothing to go on from: it is looked at.
  let version = versionOf(first);
  let verdict = placed.judge(first);
  for (let failures = 0; verdict.kind === 'waiting';) {
    say(verdict.why);
    let wishedMs = 0;
    const beganAt = clock.monotonic();
    try {
      const isWatch = version !== '';
      const now = isWatch ? await watched(placed, version, inquiry) : await seen(placed, inquiry);
      [version, verdict] = [versionOf(now), placed.judge(now)];
      if (isWatch && clock.monotonic() - beganAt > SOON_MS) failures = 0;
      else if (isWatch || version === '') failures++;
      else continue;
    } catch (thrown) {
      inquiry.signal.throwIfAborted();
      const why = whyFailed(thrown, SHOW);
      if (!mayPass(thrown)) throw new IdentityError('ERR_ISSUER', why, { cause: thrown });
      say(why);
      failures++;
      version = '';
      wishedMs = thrown instanceof ApiRefusal ? thrown.retryAfterMs : 0;
    }
    if (verdict.kind !== 'waiting' || failures === 0) continue;
    const delayMs = Math.max(wishedMs, backoffDelay(failures - 1, BACKOFF, random));
    await sleep(clock, delayMs, { signal: inquiry.signal });
  }
  return verdict;
}

/** How it is once it is decided, or when the server has ended the watch. */
async function watched(placed: Placed, version: string, inquiry: Inquiry): Promise<Fields> {
  const { collection, name, judge } = placed;
  let decided: Fields | undefined;
  const see = (object: Fields) => {
    const verdict = judge(object);
    if (verdict.kind === 'waiting') inquiry.waits(`request ${name}: ${verdict.why}`);
    else decided = object;
    return decided !== undefined;
  };
  await collection.watch(name, version, see, { signal: inquiry.signal });
  return decided ?? (await seen(placed, inquiry));
}

async function seen({ collection, name }: Placed, { signal }: Inquiry): Promise<Fields> {
  const object = await collection.get(name, { signal });
  if (!object) throw deleted();
  return object;
}

const SHOW = { to: 'show the request', rule: 'get' };

function versionOf(object: Fields): string {
  return text(record(object['metadata'])['resourceVersion']);
}
