import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { parseConfig } from '../../src/config.ts';
import { IdentityError } from '../../src/core/errors.ts';
import { systemRandom } from '../../src/core/random.ts';
import type { TrustBundle } from '../../src/identity/bundle.ts';
import { selector } from '../../src/identity/selector.ts';
import { openIssuer, type Issuer } from '../../src/issuer/issuer.ts';
import { compilePolicy, type Policy } from '../../src/policy/policy.ts';
import { createServing, type Serving } from '../../src/serving.ts';
import { svidIssuer } from '../../src/signing.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { fakeCaller } from './identities.ts';
import { FakeLogger, issuerConfig } from './issuer.ts';

const SVID_TTL_MS = 60_000;
const CA_TTL_MS = 600_000;
/** Shorter than any limit of the daemon: what is being signed is ready when the clock moves on. */
const STEP_MS = 2000;

/** An entry: this process may hold this identity, the highest priority first. */
export interface Grant {
  readonly process: number;
  readonly id: string;
  readonly priority: number;
}

/** The daemon from the socket to the issuer, with a clock and made-up processes. */
export interface TestServing extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly registry: Registry;
  readonly log: FakeLogger;
  readonly serving: Serving;
  /** Signing fails with this. */
  fault: IdentityError | undefined;
  /** Signatures that failed. */
  failures: number;
  /** Where a process connects. */
  path(process: number): string;
  /** What rises whenever the daemon does something. */
  events(): number;
  setPolicy(grants: readonly Grant[]): void;
  /** Roots that are trusted beside the issuer's own. */
  setMoreRoots(count: number): void;
  /** PEM of the roots of the own trust domain. */
  roots(): string;
  /** The process ends; the next connection is from another one. */
  endProcess(process: number): void;
  /** Moves on, giving the daemon all the time that it needs on the way. */
  advance(ms: number): Promise<void>;
}

export async function startServing(
  processes: number,
  settings = 'limits: { requests_per_second: 1000000 }',
): Promise<TestServing> {
  const dir = await mkdtemp(join(tmpdir(), 'credence-protocol-'));
  const clock = new FakeClock();
  const log = new FakeLogger();
  const registry = new Registry();
  const config = parseConfig(
    `trust_domain: example.org\nnode_name: node-1\n${settings}\n`,
    join(dir, 'credence.yaml'),
    {},
  );
  const deps = { clock, random: systemRandom, log };
  const limits = { x509SvidTtlMs: SVID_TTL_MS, caTtlMs: CA_TTL_MS };
  const issuer = await openIssuer(issuerConfig(limits), deps);
  const others = await Promise.all([0, 1].map(() => openIssuer(issuerConfig(), deps)));
  const bundles = [0, 1, 2].map((n) => bundleOf(issuer, others.slice(0, n), n));
  let bundle = bundles[0];
  let policy: Policy = compilePolicy([]);
  let busy = 0;
  let events = 0;
  const policyReaders = new Set<() => void>();
  const bundleReaders = new Set<() => void>();
  const sockets = new Set<Socket>();

  const serving = createServing({
    config,
    entitlements: {
      match: (selectors) => policy.match(selectors),
      onChange: (listener) => (policyReaders.add(listener), () => policyReaders.delete(listener)),
    },
    issuer: svidIssuer(async (request, options) => {
      busy++;
      try {
        if (running.fault) {
          running.failures++;
          throw running.fault;
        }
        return await issuer.mint(request, options);
      } finally {
        busy--;
        events++;
      }
    }),
    bundle: {
      current: () => bundle,
      onChange: (listener) => (bundleReaders.add(listener), () => bundleReaders.delete(listener)),
    },
    connections: 1000,
    foreign: { get: () => undefined, onChange: () => () => undefined },
    ...{ registry, clock, random: systemRandom, log },
  });

  let pids = 0;
  const callers = Array.from({ length: processes }, (_, n) => caller(n));
  function caller(process: number) {
    // Each process is a user of its own, and a new one after each end.
    return { ...fakeCaller(++pids + 1000 * process, process), connections: new Set<Socket>() };
  }
  const path = (process: number) => join(dir, `${process}.sock`);
  let connections = 0;
  const servers = await Promise.all(
    callers.map((_, process) =>
      listen(path(process), (socket) => {
        const who = callers[process];
        if (!who) return;
        const id = `connection-${++connections}`;
        Object.defineProperty(socket, 'remoteAddress', { value: id });
        sockets.add(socket);
        who.connections.add(socket);
        socket.once('close', () => {
          sockets.delete(socket);
          events++;
        });
        const { credentials } = who;
        const connection = { id, credentials, caller: () => Promise.resolve(who) };
        serving.serve(socket, { ...connection, close: () => undefined });
      }),
    ),
  );

  const running: TestServing = {
    ...{ clock, registry, log, serving, path },
    fault: undefined,
    failures: 0,
    events: () => [...sockets].reduce((sum, s) => sum + s.bytesRead, events + sockets.size),
    setPolicy(grants) {
      policy = compilePolicy(grants.map(entryOf));
      for (const listener of policyReaders) listener();
    },
    setMoreRoots(count) {
      bundle = bundles[count];
      for (const listener of bundleReaders) listener();
    },
    roots: () => (bundle?.x509Authorities ?? []).map(({ der }) => pemOf(der)).join(''),
    endProcess(process) {
      const ended = callers[process];
      callers[process] = caller(process);
      ended?.kill(new IdentityError('ERR_PEER_GONE', 'the process has ended'));
    },
    async advance(ms) {
      for (let left = ms; left > 0; left -= STEP_MS) {
        await clock.advance(Math.min(left, STEP_MS));
        while (busy > 0) await settle();
        await settle();
      }
    },
    async [Symbol.asyncDispose]() {
      const closing = serving.close();
      for (const server of servers) server.close();
      await closing;
      for (const socket of sockets) socket.destroy();
      for (const one of [issuer, ...others]) one.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return running;
}

function listen(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });
}

function bundleOf(own: Issuer, others: readonly Issuer[], sequence: number): TrustBundle {
  const more = others.flatMap((issuer) => issuer.bundle().x509Authorities);
  const { trustDomain, x509Authorities } = own.bundle();
  return { trustDomain, sequence: sequence + 1, x509Authorities: [...x509Authorities, ...more] };
}

function entryOf({ process, id, priority }: Grant) {
  return {
    spiffeId: id,
    selectors: [selector('unix', `uid:${process}`)],
    x509SvidTtlMs: undefined,
    jwtSvidTtlMs: undefined,
    dnsNames: [],
    federatesWith: [],
    hint: '',
    priority,
    source: 'policy.yaml:1',
  };
}

function pemOf(der: Uint8Array): string {
  return new X509Certificate(der).toString();
}

/** Whether leaf and key belong together, are for this identity and valid at this time. */
export function certificateFault(
  { chain, key }: { readonly chain: string; readonly key: string },
  id: string | undefined,
  nowMs: number,
): string | undefined {
  const leaf = new X509Certificate(chain);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) return 'a key that does not fit its leaf';
  if (id !== undefined && leaf.subjectAltName !== `URI:${id}`) {
    return `${leaf.subjectAltName ?? ''} instead of ${id}`;
  }
  const valid = Date.parse(leaf.validFrom) <= nowMs && nowMs < Date.parse(leaf.validTo);
  return valid ? undefined : `a certificate of another time, until ${leaf.validTo}`;
}
