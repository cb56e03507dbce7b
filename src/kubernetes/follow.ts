import { sleep, type Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { ApiRefusal, type Api } from './api.ts';
import { createFailures, reasonOf, refusalIn } from './failures.ts';
import { record, text, type Fields } from './fields.ts';

/** What a list and the events after it are put into. */
export interface Mirror {
  /** All objects there are. */
  replace(objects: readonly unknown[]): void;
  put(object: unknown): void;
  remove(object: unknown): void;
  /** The server was heard: what is in here was true a moment ago. */
  heard(): void;
  /** It says that there is no such collection, or not for us: what is in here stays as it is. */
  refused?(why: 'absent' | 'forbidden'): void;
  /** It cannot be followed now, for this reason. */
  failed?(reason: string): void;
}

export interface Followed {
  /** Path of the collection, as `/api/v1/pods`. */
  readonly path: string;
  /** `fieldSelector=…`, encoded; may be empty. */
  readonly query: string;
  /** The right that it takes, for who lacks it. */
  readonly right: string;
  /** What it means that there is no such collection. */
  readonly absent?: string;
}

export interface FollowDeps {
  readonly api: Pick<Api, 'get' | 'lines'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The server ends a watch after a time between these, so that not all clients come back at once. */
const WATCH_S = { least: 240, most: 360 };
/** Beyond that time a server that said nothing, not even a bookmark, is gone. */
const GRACE_MS = 15_000;

/**
 * Lists a collection and follows what becomes of it until the signal; rejects with its reason alone.
 * Whatever fails is tried again, and the mirror keeps what it has meanwhile.
 */
export async function follow(what: Followed, mirror: Mirror, deps: FollowDeps): Promise<never> {
  const { clock, signal } = deps;
  // Any version will do at first, and is answered from the server's cache; after a gap the newest.
  let version: string | undefined;
  let anyVersion = '0';
  // Whether all was listed for an old version, and nothing was told since.
  let relisted = false;
  const failures = createFailures({ who: 'the API server', ...what }, deps);
  for (;;) {
    try {
      version ??= await listInto(mirror, what, anyVersion, deps);
      const from = version;
      // Kept line by line: a watch that breaks must not be followed by one that tells of the past.
      version = await watchInto(mirror, what, from, deps, (seen) => {
        version = seen;
        relisted = false;
        failures.over();
      });
      failures.over();
    } catch (thrown) {
      signal.throwIfAborted();
      // Its version is too old to go on from; the newest of all cannot be.
      const newest = version === undefined && anyVersion === '';
      if (thrown instanceof ApiRefusal && thrown.code === 410 && !newest) {
        [version, anyVersion] = [undefined, ''];
        const again = relisted;
        relisted = true;
        if (!again) continue;
      }
      const refusal = refusalIn(thrown);
      if (refusal) mirror.refused?.(refusal);
      mirror.failed?.(reasonOf(thrown));
      await sleep(clock, failures.add(thrown), { signal });
    }
  }
}

/** Puts all there is into the mirror; the version that watching goes on from. */
export async function listInto(
  mirror: Mirror,
  { path, query }: Followed,
  anyVersion: string,
  { api, signal }: FollowDeps,
): Promise<string> {
  const document = record(
    await api.get(`${path}?${query}&resourceVersion=${anyVersion}`, { signal }),
  );
  const version = text(record(document['metadata'])['resourceVersion']);
  const { items } = document;
  // What is no list says nothing of what there is: nobody is taken away for it.
  if (!Array.isArray(items) || version === '') throw new Error('the answer is no list');
  mirror.replace(items);
  mirror.heard();
  return version;
}

/** Follows until the server ends it, as it does every few minutes; the version to go on from. */
async function watchInto(
  mirror: Mirror,
  { path, query }: Followed,
  from: string,
  { api, clock, random, signal }: FollowDeps,
  onLine: (version: string) => void,
): Promise<string> {
  const { least, most } = WATCH_S;
  const seconds = Math.round(least + random.unit() * (most - least));
  const options = `watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}`;
  let version = from;
  const beganAt = clock.monotonic();
  await api.lines(
    `${path}?${query}&resourceVersion=${encodeURIComponent(from)}&${options}`,
    (line) => {
      const { type, object } = record(JSON.parse(line));
      if (type === 'ERROR') throw refusalOf(record(object));
      if (type === 'ADDED' || type === 'MODIFIED') mirror.put(object);
      else if (type === 'DELETED') mirror.remove(object);
      version = text(record(record(object)['metadata'])['resourceVersion']) || version;
      mirror.heard();
      onLine(version);
    },
    { signal, silenceMs: seconds * 1000 + GRACE_MS },
  );
  // An end is normal and is followed by the next watch at once, unless it comes as soon as it began.
  if (version === from && clock.monotonic() - beganAt < 1000)
    throw new Error('the watch ended at once');
  return version;
}

/** An event that carries a `Status`: 410 when the version is too old to go on from. */
function refusalOf(status: Fields): ApiRefusal {
  const { code, message } = status;
  return new ApiRefusal(typeof code === 'number' ? code : 500, text(message) || 'an error event');
}
