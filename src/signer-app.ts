import { setMaxListeners } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { createHealthServer } from './admin/admin.ts';
import { registerBuildInfo } from './admin/build-info.ts';
import { createAuditMetrics, SIGNER_EVENTS } from './audit/metrics.ts';
import { openConfiguredAudit, type AuditWriters } from './auditing.ts';
import type { Config } from './config.ts';
import type { Clock } from './core/clock.ts';
import { errorText, IdentityError } from './core/errors.ts';
import type { Logger } from './core/log.ts';
import type { Random } from './core/random.ts';
import { announceReady } from './core/ready.ts';
import { VERSION } from './core/version.ts';
import { lockDataFolder } from './data-lock.ts';
import { createDiskKeys } from './issuer/disk-keys.ts';
import type { KeyManager } from './issuer/keys.ts';
import { createMemoryKeys } from './issuer/memory-keys.ts';
import { ensurePrivateFolder } from './issuer/private-files.ts';
import { readCertificates } from './issuer/upstream-certificates.ts';
import { fromFiles } from './kubernetes/access.ts';
import { createApi, type Api } from './kubernetes/api.ts';
import { follow, type Mirror } from './kubernetes/follow.ts';
import { listenOn } from './operator.ts';
import { recordedSigning } from './signer-auditing.ts';
import { createAnswerer, REQUESTS } from './signer/answer.ts';
import { openFileRoots } from './signer/file-roots.ts';
import { createKeyRecord } from './signer/key-record.ts';
import { registerSignerMetrics } from './signer/metrics.ts';
import { collectionOf, onlyNamed, type ObjectName } from './signer/object-name.ts';
import {
  configMapPlace,
  createPublisher,
  trustBundlePlace,
  type Publisher,
  type PublishingDeps,
} from './signer/publishing.ts';
import { createRequests, type Requests } from './signer/requests.ts';
import {
  createOwnRoots,
  type OwnRoots,
  type PublishedRoots,
  type SigningRoots,
} from './signer/roots.ts';
import {
  createKeysInSecret,
  createStateStore,
  withMemory,
  type StateStore,
} from './signer/secret-store.ts';
import { auditInLog, type SigningAudit } from './signer/signing-log.ts';
import { openTokenOf } from './token-of.ts';

export interface SignerAppDeps extends AuditWriters {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The running signer. */
export interface SignerApp {
  /** Where probes and metrics are served, as bound. */
  readonly port: number | undefined;
  close(): void;
}

/** What the parts of one signer share. */
interface Parts extends SignerAppDeps {
  readonly audit: SigningAudit;
  readonly config: Config;
  readonly api: Api;
  readonly store: StateStore;
  readonly signal: AbortSignal;
}

/**
 * Starts the signer: it follows requests and the state that replicas share, looks after the roots
 * and keeps them where nodes read them. Throws `ERR_CONFIG`, `ERR_KEY_STORE` or `ERR_SOCKET`.
 */
export async function startSigner(config: Config, deps: SignerAppDeps): Promise<SignerApp> {
  const { clock, log } = deps;
  const { signer } = config;
  const stop = new AbortController();
  // As many wait with it as there are calls at once.
  setMaxListeners(0, stop.signal);
  const api = createApi(accessOf(config, clock), clock);
  const closing: (() => void)[] = [() => stop.abort(), () => api.close()];
  const close = () => {
    for (const one of closing) one();
  };
  try {
    const secretKeys = signer.keys === 'secret' ? createKeysInSecret() : undefined;
    const { secret } = signer;
    const { trustDomain } = config;
    const store = withMemory(createStateStore({ api, secret, trustDomain }, secretKeys), log);
    const registry = new Registry();
    const metrics = () => createAuditMetrics(registry, SIGNER_EVENTS);
    const records = openConfiguredAudit(config, { ...deps, metrics });
    if (records) closing.push(() => records.close());
    const audit = records ? recordedSigning(records) : auditInLog(log);
    const parts: Parts = { ...deps, config, api, store, audit, signal: stop.signal };
    const roots = config.issuer.upstream
      ? openFiles(parts)
      : ownRoots(parts, secretKeys ?? (await openKeys(config, deps, (done) => closing.push(done))));
    const heard = createHeard(clock);
    const extraRoots = openExtraRoots(signer.extraRootsFile, log);
    const publishers = publishersOf(parts, roots, extraRoots);
    registerBuildInfo(registry, VERSION, clock.now());
    const counted: { requests?: Requests } = {};
    const outcome = registerSignerMetrics(registry, {
      state: () => roots.current(),
      waiting: () => counted.requests?.waiting() ?? 0,
      heardSeconds: heard.seconds,
      areRootsTold: () => publishers.every((one) => one.isRight()),
    });
    const requests = (counted.requests = requestsOf(parts, roots, outcome));
    const reasons = () => [
      ...(heard.seconds() === undefined ? ['the API server was not heard of yet'] : []),
      ...(roots.current() ? [] : ['the roots are not known yet']),
      ...(publishers[0]?.isRight() === false ? ['nodes do not find the roots yet'] : []),
    ];
    const address = config.telemetry.metricsAddress;
    const view = { notReady: reasons, metrics: () => registry.metrics() };
    const health = createHealthServer(view, { clock, log, connections: MAX_CONNECTIONS });
    const door = address && (await listenOn(health, address));
    closing.push(() => {
      health.close();
      health.closeAllConnections();
    });
    begin(parts, { requests, roots, publishers, mirror: heard.around(requests.mirror) });
    void announceReady(reasons, { trust_domain: config.trustDomain }, { ...parts }).catch(
      () => undefined,
    );
    return { port: door?.port, close };
  } catch (thrown) {
    close();
    throw thrown;
  }
}

/** At once, on the port of probes and metrics. */
const MAX_CONNECTIONS = 64;

function accessOf({ signer }: Config, clock: Clock) {
  const { apiServer, caFile: ca, tokenFile: token } = signer;
  if (apiServer) return fromFiles({ ...apiServer, ca, token }, clock);
  throw new IdentityError('ERR_CONFIG', 'signer.api_server: expected host:port, as this is no pod');
}

/** Where issuer.key_manager.type says. */
async function openKeys(
  config: Config,
  deps: SignerAppDeps,
  atEnd: (done: () => void) => void,
): Promise<KeyManager> {
  const { issuer, dataDir } = config;
  if (issuer.keyManager === 'memory') return createMemoryKeys();
  atEnd(lockDataFolder(dataDir));
  const token = await openTokenOf(config, deps);
  if (token) {
    atEnd(() => token.close());
    return token;
  }
  ensurePrivateFolder(dataDir);
  return createDiskKeys(join(dataDir, 'signer-keys'));
}

function openFiles({ config, ...deps }: Parts): SigningRoots {
  const { trustDomain, issuer, signer } = config;
  if (!issuer.upstream) throw new TypeError('no files to open');
  const { newRootDelayMs } = signer;
  return openFileRoots({ trustDomain, files: issuer.upstream, newRootDelayMs }, deps);
}

function ownRoots({ config, ...deps }: Parts, keys: KeyManager): OwnRoots {
  const { trustDomain, issuer, signer } = config;
  const { caKeyType, rootTtlMs } = issuer;
  return createOwnRoots({ ...signer, trustDomain, caKeyType, rootTtlMs }, { ...deps, keys });
}

function requestsOf(
  parts: Parts,
  roots: SigningRoots,
  outcome: Parameters<typeof createRequests>[0]['outcome'],
) {
  const { config, api, clock, log, signal } = parts;
  const { signer, trustDomain } = config;
  const record = createKeyRecord({ api, configMap: signer.keyRecord, clock, log, signal });
  const rules = { ...signer, trustDomain, signerName: signer.name };
  let requests: Requests | undefined;
  const answer = createAnswerer(rules, {
    ...parts,
    ...{ record, roots },
    keyWasSeen: (keyId, uid) => requests?.keyWasSeen(keyId, uid) ?? false,
    isAnswered: (uid) => requests?.isAnswered(uid) ?? false,
  });
  return (requests = createRequests({ ...parts, answer, outcome, signerName: signer.name }));
}

/** The ConfigMap first. */
function publishersOf(
  parts: Parts,
  roots: SigningRoots | OwnRoots,
  extraRoots: () => readonly Buffer[],
): readonly Publisher[] {
  const { signer } = parts.config;
  const fresh: PublishingDeps['fresh'] = async (o) => roots.published(await roots.fresh(o));
  const told = ({ names }: PublishedRoots) => 'seen' in roots && roots.seen(names);
  const common = { ...parts, fresh, extraRoots };
  const map = createPublisher(configMapPlace(signer.rootsConfigMap), { ...common, told });
  if (signer.trustBundle === undefined) return [map];
  const place = trustBundlePlace(signer.trustBundle, signer.name, parts.api);
  return [map, createPublisher(place, { ...common, told: () => undefined })];
}

interface Begun {
  readonly requests: Requests;
  readonly roots: SigningRoots | OwnRoots;
  readonly publishers: readonly Publisher[];
  readonly mirror: Mirror;
}

function begin(parts: Parts, { roots, publishers, mirror }: Begun): void {
  const { config, log, signal } = parts;
  const { name, secret, rootsConfigMap } = config.signer;
  const look = () => {
    for (const one of publishers) one.look();
  };
  const run = (task: Promise<never>) =>
    void task.catch((thrown: unknown) => {
      if (!signal.aborted) log.error({ err: thrown }, 'a task of the signer has ended');
    });
  const query = `fieldSelector=${encodeURIComponent(`spec.signerName=${name}`)}`;
  run(follow({ path: REQUESTS, query, right: RIGHTS.requests }, mirror, parts));
  const followOne = (
    kind: 'secrets' | 'configmaps',
    object: ObjectName,
    changed: (o: unknown) => void,
  ) =>
    run(
      follow(
        { path: collectionOf(kind, object), query: onlyNamed(object.name), right: RIGHTS[kind] },
        everyChange(changed),
        parts,
      ),
    );
  if ('run' in roots) {
    run(roots.run());
    roots.onChange(look);
    followOne('secrets', secret, (object) => (object === undefined ? look() : roots.take(object)));
  } else followOne('secrets', secret, look);
  followOne('configmaps', rootsConfigMap, () => publishers[0]?.look());
  for (const one of publishers) run(one.run());
}

const RIGHTS = {
  requests: 'get, list, watch of certificatesigningrequests',
  secrets: 'get, list, watch, update of its Secret, and create of secrets',
  configmaps: 'get, list, watch, update of its ConfigMaps, and create of configmaps',
};

/** Calls with each object, and with none when one is gone. */
function everyChange(changed: (object: unknown) => void): Mirror {
  return {
    replace: (objects) => (objects.length === 0 ? changed(undefined) : objects.forEach(changed)),
    put: changed,
    remove: () => changed(undefined),
    heard: () => undefined,
  };
}

/** When the API server has last told of requests. */
function createHeard(clock: Clock) {
  let atMs: number | undefined;
  return {
    seconds: () => (atMs === undefined ? undefined : (clock.monotonic() - atMs) / 1000),
    around: (mirror: Mirror): Mirror => ({ ...mirror, heard: () => (atMs = clock.monotonic()) }),
  };
}

const MAX_ROOTS_BYTES = 262_144;

/** Read at each use, as a mounted file changes; what is no good leaves the one before. */
function openExtraRoots(file: string | undefined, log: Logger): () => readonly Buffer[] {
  if (file === undefined) return () => [];
  let said = '';
  const read = () => {
    if (statSync(file).size > MAX_ROOTS_BYTES) throw new Error(`${file} is too large`);
    return readCertificates(readFileSync(file), file).map(({ der }) => der);
  };
  let last: readonly Buffer[];
  try {
    last = read();
  } catch (thrown) {
    throw new IdentityError('ERR_CONFIG', `signer.roots.extra_roots_file: ${errorText(thrown)}`);
  }
  return () => {
    try {
      last = read();
      said = '';
    } catch (thrown) {
      const reason = errorText(thrown);
      if (reason !== said) log.warn({ path: file, reason }, 'further roots stay as they were');
      said = reason;
    }
    return last;
  };
}
