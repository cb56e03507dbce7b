// What one X.509-SVID costs with the CA's key on a token (SoftHSM2), and how much processor time one turn of
// the event loop takes meanwhile; the same with a key in this process, and doing nothing, beside it.
//   node --import tsx bench/token.ts        (needs softhsm2 and opensc)
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../src/core/clock.ts';
import { silentLogger } from '../src/core/log.ts';
import { systemRandom } from '../src/core/random.ts';
import { parseSpiffeId, parseTrustDomain } from '../src/identity/spiffe-id.ts';
import { openIssuer } from '../src/issuer/issuer.ts';
import type { KeyManager } from '../src/issuer/keys.ts';
import { openTokenKeys } from '../src/pkcs11/token-keys.ts';
import { startTokenProcess } from '../src/pkcs11/token-process.ts';
import { measureTurns } from '../test/support/loop-turns.ts';
import { softTokens } from '../test/support/soft-token.ts';

const COUNT = 1000;
/** As many as rotation has in the making for one process. */
const AT_ONCE = 4;

const dir = mkdtempSync(join(tmpdir(), 'credence-token-'));
const soft = softTokens(dir);
soft.add('bench');
writeFileSync(join(dir, 'pin'), '1234\n', { mode: 0o600 });
process.env['SOFTHSM2_CONF'] = soft.env.SOFTHSM2_CONF;

const trustDomain = parseTrustDomain('example.org');
const deps = { clock: systemClock, random: systemRandom, log: silentLogger };
const keys = await openTokenKeys(
  {
    ...{ module: soft.module, token: { by: 'label', value: 'bench' }, keyLabel: 'credence' },
    ...{ pin: { file: join(dir, 'pin') }, trustDomain, dataDir: join(dir, 'data') },
    caKeyType: 'ec-p256',
  },
  { ...deps, start: startTokenProcess },
);

const mintWith = async (manager: KeyManager | undefined) => {
  const issuer = await openIssuer(
    {
      ...{ trustDomain, dataDir: join(dir, 'data'), keyType: 'ec-p256', caKeyType: 'ec-p256' },
      ...{ caTtlMs: 86_400_000, rootTtlMs: 31_536_000_000, x509SvidTtlMs: 3_600_000 },
      keyManager: manager ? 'pkcs11' : 'memory',
      caRotation: { prepareLeft: 0.5, activateLeft: 0.1667, jitter: 0.1, ackTimeoutMs: 300_000 },
      ...{ newRootDelayMs: 120_000, nameConstraint: false, crlTtlMs: 86_400_000 },
    },
    { ...deps, keys: manager },
  );
  const id = parseSpiffeId('spiffe://example.org/ns/shop/sa/checkout');
  return () => issuer.mint({ id, dnsNames: [] }, {});
};

async function mintAll(mint: () => Promise<unknown>, times: number[]): Promise<void> {
  let left = COUNT;
  const one = async () => {
    while (left-- > 0) {
      const at = systemClock.monotonic();
      await mint();
      times.push(systemClock.monotonic() - at);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

const inProcess = await mintWith(undefined);
const onToken = await mintWith(keys);
const cases: Record<string, (times: number[]) => Promise<unknown>> = {
  'nothing, for 2 s': () => delay(2000),
  'SVIDs, key in this process': (times) => mintAll(inProcess, times),
  'SVIDs, key on the token': (times) => mintAll(onToken, times),
  'the same while keys are made there': (times) =>
    Promise.all([mintAll(onToken, times), makeKeys()]),
};
async function makeKeys(): Promise<void> {
  for (const type of ['ec-p256', 'rsa-4096'] as const) await keys.generate(type);
}

console.log(`node ${process.version}, ${COUNT} SVIDs, ${AT_ONCE} at once; milliseconds`);
// A key in this process leaves the loop no turn of its own: all is one.
console.log('case                                  p50    p99   CPU each   turn p99   turn max');
for (const [name, run] of Object.entries(cases)) {
  await run([]);
  const times: number[] = [];
  const before = process.cpuUsage();
  const turns = measureTurns();
  await run(times);
  const longest = turns.stop();
  const { user, system } = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  const at = (q: number) => times[Math.floor((times.length - 1) * q)] ?? NaN;
  const figures = [at(0.5), at(0.99), (user + system) / COUNT / 1000];
  const loops = [longest[Math.floor(longest.length / 100)] ?? NaN, longest[0] ?? NaN];
  console.log(
    name.padEnd(36),
    figures.map((n) => n.toFixed(2).padStart(6)).join(' '),
    loops.map((n) => n.toFixed(2).padStart(10)).join(' '),
  );
}
keys.close();
rmSync(dir, { recursive: true, force: true });
