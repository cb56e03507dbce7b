import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { issuerConfig } from './issuer.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';

// Rotates authorities in `argv[2]` for ever and kills itself, as kill -9 does, at the effect on the disk
// that `argv[3]` counts. What it has signed is on stdout before it goes on.
const [dataDir = '', dieAt = ''] = process.argv.slice(2);
let effects = 0;
for (const name of ['openSync', 'writeSync', 'fsyncSync', 'renameSync', 'unlinkSync'] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  (fs as Record<string, unknown>)[name] = (...args: unknown[]) => {
    const isOurs =
      args.some((arg) => typeof arg === 'number') || String(args[0]).startsWith(dataDir);
    const isWrite = name !== 'openSync' || typeof args[1] === 'number';
    if (isOurs && isWrite && !String(args[0]).startsWith('/proc') && args[0] !== 1) {
      if (++effects >= Number(dieAt)) process.kill(process.pid, 'SIGKILL');
    }
    return original(...args);
  };
}
const realWrite = fs.writeSync;
syncBuiltinESMExports();

const { openIssuer } = await import('../../src/issuer/issuer.ts');
const deps = { clock: systemClock, random: systemRandom, log: silentLogger };
const issuer = await openIssuer(issuerConfig({ dataDir, keyManager: 'disk' }), deps);
const control = issuer.control();
const options = { signal: AbortSignal.timeout(60_000), force: true };
for (let n = 0; ; n++) {
  const svid = await issuer.mint(
    { id: parseSpiffeId('spiffe://example.org/web'), dnsNames: [] },
    {},
  );
  const { sequence } = issuer.bundle();
  const chain = svid.chain.map((der) => Buffer.from(der).toString('base64'));
  realWrite(1, `${JSON.stringify({ sequence, chain, notAfterMs: svid.notAfterMs })}\n`);
  const root = issuer.authorities().find(({ slot }) => slot === 'root')?.id ?? '';
  if (n % 3 === 2) await control?.taint(root, options);
  else {
    await control?.prepare(n % 2 ? 'root' : 'issuing', options);
    await control?.activate(n % 2 ? 'root' : 'issuing', options);
  }
}
