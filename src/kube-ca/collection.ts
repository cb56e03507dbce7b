import { sleep, type Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { record, text, type Fields } from '../kubernetes/fields.ts';
import { whyFailed } from './refusals.ts';

type Signal = { readonly signal: AbortSignal };

/** Requests of one kind at an API server. Everything rejects with `ERR_ISSUER`, or as noted. */
export interface Collection {
  /** The object as the server has made it; undefined when there is one of that name. */
  create(body: object, options: Signal): Promise<Fields | undefined>;
  /** Rejects as `Api` does; undefined when there is none. */
  get(name: string, options: Signal): Promise<Fields | undefined>;
  /**
   * Calls `see` for what becomes of one from that version on, until `see` says that it has seen
   * enough, or the server ends it, which it does soon. Rejects as `Api` does.
   */
  watch(
    name: string,
    version: string,
    see: (object: Fields) => boolean,
    options: Signal,
  ): Promise<void>;
  /** Names of those with a label. */
  labelled(selector: string, options: Signal): Promise<readonly string[]>;
  remove(name: string, options: Signal): Promise<void>;
}

export interface CollectionParts {
  readonly api: Pick<Api, 'get' | 'send' | 'lines' | 'delete'>;
  readonly clock: Clock;
  readonly path: string;
  /** The rule of RBAC that allows these verbs, as one writes it. */
  readonly rule: (verbs: readonly string[]) => string;
}

/** So soon is the object looked at anew, whatever a watch says or does not say. */
const WATCH_S = 20;
const GRACE_MS = 5000;
/** A server that has too much to do is asked again so often. */
const ATTEMPTS = 3;

export function createCollection({ api, clock, path, rule }: CollectionParts): Collection {
  const one = (name: string) => `${path}/${encodeURIComponent(name)}`;

  function failed(to: string, verbs: readonly string[]) {
    return (thrown: unknown): never => {
      const why = whyFailed(thrown, { to, rule: rule(verbs) });
      throw new IdentityError('ERR_ISSUER', why, { cause: thrown });
    };
  }

  return {
    async create(body, { signal }) {
      for (let attempt = 1; ; attempt++) {
        try {
          return record(await api.send('POST', path, body, { signal }));
        } catch (thrown) {
          if (isCode(thrown, 409)) return undefined;
          // The token is read anew for the next attempt.
          const again = isCode(thrown, 429) || isCode(thrown, 401);
          if (!again || attempt === ATTEMPTS || signal.aborted) {
            return failed('create the request', ['create'])(thrown);
          }
          await sleep(clock, Math.max(thrown.retryAfterMs, 250), { signal });
        }
      }
    },
    async get(name, { signal }) {
      try {
        return record(await api.get(one(name), { signal }));
      } catch (thrown) {
        if (isCode(thrown, 404)) return undefined;
        if (isCode(thrown, 403)) return failed('show the request', ['get'])(thrown);
        throw thrown;
      }
    },
    async watch(name, version, see, { signal }) {
      const query = new URLSearchParams({
        fieldSelector: `metadata.name=${name}`,
        resourceVersion: version,
        ...{ watch: 'true', timeoutSeconds: String(WATCH_S) },
      });
      const enough = new AbortController();
      const options = {
        signal: AbortSignal.any([signal, enough.signal]),
        silenceMs: WATCH_S * 1000 + GRACE_MS,
      };
      try {
        await api.lines(
          `${path}?${query.toString()}`,
          (line) => {
            if (!enough.signal.aborted && see(changed(line, name))) enough.abort();
          },
          options,
        );
      } catch (thrown) {
        if (enough.signal.aborted) return;
        if (isCode(thrown, 403)) failed('follow the request', ['watch'])(thrown);
        throw thrown;
      }
    },
    async labelled(selector, { signal }) {
      const query = new URLSearchParams({ labelSelector: selector, limit: '100' });
      const answer = record(
        await api
          .get(`${path}?${query.toString()}`, { signal })
          .catch(failed('list the requests', ['list'])),
      );
      const { items } = answer;
      return (Array.isArray(items) ? items : []).map(nameOf).filter((name) => name !== '');
    },
    async remove(name, { signal }) {
      await api
        .delete(one(name), { signal })
        .catch((thrown: unknown) => isCode(thrown, 404) || failed('delete it', ['delete'])(thrown));
    },
  };
}

/** The object of an event of a watch. */
function changed(line: string, name: string): Fields {
  const { type, object } = record(parsed(line));
  if (type === 'ERROR') {
    const { code, message } = record(object);
    throw new ApiRefusal(typeof code === 'number' ? code : 500, text(message));
  }
  // The server selects them; what it sends besides is nothing of ours.
  if (nameOf(object) !== name) return {};
  if (type === 'DELETED') throw deleted();
  return record(object);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    throw new Error('the watch sent no JSON');
  }
}

/** Somebody has taken the request away. */
export const deleted = () =>
  new IdentityError('ERR_ISSUER', 'the request was deleted before it was signed');

export const nameOf = (object: unknown) => text(record(record(object)['metadata'])['name']);

function isCode(thrown: unknown, code: number): thrown is ApiRefusal {
  return thrown instanceof ApiRefusal && thrown.code === code;
}
