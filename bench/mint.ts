// What one X.509-SVID costs: the whole mint against the two OpenSSL calls that no issuer can do
// without, a P-256 key pair and one signature, in the same process and interleaved.
//   node --import tsx bench/mint.ts
import { createECDH, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAudit } from '../src/audit/audit.ts';
import { createAuditing } from '../src/auditing.ts';
import { systemClock } from '../src/core/clock.ts';
import { silentLogger } from '../src/core/log.ts';
import { systemRandom } from '../src/core/random.ts';
import { parseSelectorList } from '../src/identity/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../src/identity/spiffe-id.ts';
import { openIssuer } from '../src/issuer/issuer.ts';
import { preflighted as preflight } from '../src/sds/preflight.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '31' },
    batch: { type: 'string', default: '400' },
  },
});
const rounds = Number(values.rounds);
const batch = Number(values.batch);

const issuer = await openIssuer(
  {
    trustDomain: parseTrustDomain('example.org'),
    dataDir: '',
    keyType: 'ec-p256',
    caKeyType: 'ec-p256',
    caTtlMs: 86_400_000,
    rootTtlMs: 31_536_000_000,
    x509SvidTtlMs: 3_600_000,
    crlTtlMs: 86_400_000,
    keyManager: 'memory',
    caRotation: { prepareLeft: 0.5, activateLeft: 0.1667, jitter: 0.1, ackTimeoutMs: 300_000 },
    newRootDelayMs: 120_000,
    nameConstraint: false,
  },
  { clock: systemClock, random: systemRandom, log: silentLogger },
);
const request = {
  id: parseSpiffeId('spiffe://example.org/ns/shop/sa/checkout'),
  dnsNames: ['checkout.shop.svc'],
};
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const ecdh = createECDH('prime256v1');
const toBeSigned = Buffer.alloc(450, 7);

const preflighted = preflight(
  (...args: Parameters<typeof issuer.mint>) => issuer.mint(...args),
  systemClock,
);

// A pod with a dozen labels, whose record has 1.5 kB.
const caller = {
  key: 'bench',
  credentials: { pid: 4711, uid: 101, gid: 101 },
  selectors: parseSelectorList(
    [
      'k8s:container-name:istio-proxy,k8s:ns:shop,k8s:pod-name:checkout-5d9c8b7f6-x2x7p,k8s:sa:checkout',
      'k8s:pod-uid:3d6cbf3e-7c1e-4e0a-9d5b-2f0a4a7d1c11,unix:gid:101,unix:uid:101',
      ...Array.from(
        { length: 12 },
        (_, n) => `k8s:pod-label:app.kubernetes.io/label-${n}:checkout`,
      ),
    ].join(','),
  ),
  onChange: () => () => undefined,
  gone: new AbortController().signal,
  isAlive: () => true,
  isUnchanged: () => true,
};
const folder = mkdtempSync(join(tmpdir(), 'credence-bench-'));
const audit = openAudit(join(folder, 'audit.jsonl'), {
  ...{ clock: systemClock, log: silentLogger, writer: {} },
  metrics: { recorded: () => undefined, failed: () => undefined },
});
const delivered = await preflighted(request, {});
const recorded = createAuditing(audit, 'ec-p256').signed(() => Promise.resolve(delivered));
const asked = { ...request, ttlMs: undefined };
const recipient = { caller, sourceOf: () => '/etc/credence/policy/web.yaml:12' };
const mintOptions = { signal: new AbortController().signal, recipient };

const cases = {
  'key pair + signature (raw)': () => {
    ecdh.generateKeys();
    sign('sha256', toBeSigned, privateKey);
  },
  'mint, whole': () => issuer.mint(request, {}),
  'delivered: minted and looked at once more': () => preflighted(request, {}),
  'record: what an audit in a file adds': () => recorded(asked, mintOptions),
};

const samples = new Map(Object.keys(cases).map((name) => [name, [] as number[]]));
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(cases)) {
    const before = process.cpuUsage();
    for (let n = 0; n < batch; n++) await run();
    const { user, system } = process.cpuUsage(before);
    // The first rounds warm the code up.
    if (round >= 5) samples.get(name)?.push((user + system) / batch);
  }
}
issuer.close();
audit.close();
rmSync(folder, { recursive: true });

const quantile = (list: readonly number[], q: number) =>
  [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) * q)] ?? NaN;
console.log(`node ${process.version}, ${rounds} rounds of ${batch}, CPU µs each`);
console.log('case                                          p50     p10     p90');
for (const [name, list] of samples) {
  const figures = [0.5, 0.1, 0.9].map((q) => quantile(list, q).toFixed(1).padStart(7));
  console.log(name.padEnd(42), figures.join(' '));
}
const [raw = [], mint = []] = [...samples.values()];
console.log(`mint / raw: ${(quantile(mint, 0.5) / quantile(raw, 0.5)).toFixed(2)}`);
