import { sleep } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { createFailures } from '../kubernetes/failures.ts';
import { list, record, text } from '../kubernetes/fields.ts';
import { follow, type Followed, type FollowDeps, type Mirror } from '../kubernetes/follow.ts';
import { nameOf } from './collection.ts';
import type { RootsSink } from './known-roots.ts';

/** Where the roots of a ConfigMap are, as cert-manager and the API server name it. */
const KEY = 'ca.crt';
/** Where the signer tells which of them are to be left. */
const TAINTED = 'tainted';
const IDENTIFIER = /^[0-9a-f]{40}$/;
const MAX_TAINTED = 64;
const GROUP = '/apis/certificates.k8s.io';
/** The newest first. */
const VERSIONS = ['v1', 'v1beta1', 'v1alpha1'];
const RESOURCE = 'clustertrustbundles';

/** Follows a ConfigMap until the signal; rejects with its reason alone. */
export function followConfigMap(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  roots: RootsSink,
  deps: FollowDeps,
): Promise<never> {
  const what = {
    path: `/api/v1/namespaces/${namespace}/configmaps`,
    query: named(name),
    right: `configmaps ${name} in ${namespace}: list, watch`,
  };
  const pem = (object: unknown) => text(record(record(object)['data'])[KEY]);
  const absent = `ConfigMap ${namespace}/${name} is not there, or has no ${KEY}`;
  const tainted = (object: unknown) => identifiersIn(text(record(record(object)['data'])[TAINTED]));
  return follow(what, mirrorOf({ name, pem, tainted, absent }, roots), deps);
}

/** Those of roots that are to be left, one a line; what is none is no matter. */
function identifiersIn(lines: string): readonly string[] {
  const found = lines.split('\n').map((line) => line.trim());
  return found.filter((line) => IDENTIFIER.test(line)).slice(0, MAX_TAINTED);
}

/** Follows a ClusterTrustBundle, by whichever version of the API the server has. */
export async function followTrustBundle(
  name: string,
  roots: RootsSink,
  deps: FollowDeps,
): Promise<never> {
  const { signal } = deps;
  const pem = (object: unknown) => text(record(record(object)['spec'])['trustBundle']);
  const absent = `ClusterTrustBundle ${name} is not there, or is empty`;
  for (;;) {
    const version = await findVersion(deps);
    // After an upgrade of the server it may be another one.
    const gone = new AbortController();
    const mirror: Mirror = {
      ...mirrorOf({ name, pem, absent }, roots),
      refused: (why) => why === 'absent' && gone.abort(new IdentityError('ERR_ISSUER', why)),
    };
    const what = {
      path: `${GROUP}/${version}/${RESOURCE}`,
      query: named(name),
      right: `clustertrustbundles ${name}: list, watch`,
    };
    const until = { ...deps, signal: AbortSignal.any([signal, gone.signal]) };
    await follow(what, mirror, until).catch(() => signal.throwIfAborted());
  }
}

const named = (name: string) => `fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`;

/** The one object; what else the server sends is not looked at. */
function mirrorOf(
  one: {
    readonly name: string;
    readonly pem: (object: unknown) => string;
    readonly tainted?: (object: unknown) => readonly string[];
    readonly absent: string;
  },
  roots: RootsSink,
): Mirror {
  const take = (object: unknown) => {
    const pem = one.pem(object);
    if (pem === '') roots.missing(one.absent);
    else roots.take(pem, one.tainted?.(object));
  };
  return {
    replace(objects) {
      const there = objects.find((object) => nameOf(object) === one.name);
      if (there === undefined) roots.missing(one.absent);
      else take(there);
    },
    put(object) {
      if (nameOf(object) === one.name) take(object);
    },
    remove(object) {
      if (nameOf(object) === one.name) roots.missing(one.absent);
    },
    heard: () => undefined,
  };
}

async function findVersion({ api, clock, random, log, signal }: FollowDeps): Promise<string> {
  const asked: Omit<Followed, 'query'> & { who: string } = {
    who: 'the API server',
    path: GROUP,
    right: `${GROUP}: get`,
    absent: 'there is no ClusterTrustBundle: the feature gate and the API are switched on together',
  };
  const failures = createFailures(asked, { random, log });
  for (;;) {
    try {
      for (const version of VERSIONS) {
        if (await serves(api, version, signal)) {
          failures.over();
          return version;
        }
      }
      throw new ApiRefusal(404, `no version of ${RESOURCE}`);
    } catch (thrown) {
      signal.throwIfAborted();
      await sleep(clock, failures.add(thrown), { signal });
    }
  }
}

async function serves(
  api: Pick<Api, 'get'>,
  version: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const { resources } = record(await api.get(`${GROUP}/${version}`, { signal }));
    return list(resources).some((one) => record(one)['name'] === RESOURCE);
  } catch (thrown) {
    if (thrown instanceof ApiRefusal && thrown.code === 404) return false;
    throw thrown;
  }
}
