import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, renameSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { build } from '../../src/app.ts';
import { parseConfig } from '../../src/config.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { systemRandom } from '../../src/core/random.ts';
import { eventually } from '../support/eventually.ts';
import { FakeLogger } from '../support/issuer.ts';

async function startApp(settings: Readonly<Record<string, unknown>> = {}, log = silentLogger) {
  const dir = await mkdtemp(join(tmpdir(), 'credence-wu-'));
  await chmod(dir, 0o755);
  const file = join(dir, 'credence.yaml');
  const text = JSON.stringify({
    trust_domain: 'example.org',
    socket_path: 'api.sock',
    admin_socket_path: 'admin.sock',
    data_dir: 'data',
    telemetry: { metrics_address: '' },
    ...settings,
  });
  await writeFile(file, text);
  const app = await build(parseConfig(text, file, {}), {
    clock: systemClock,
    random: systemRandom,
    log,
  });
  return {
    app,
    dir,
    admin: (path: string) =>
      new Promise<string>((resolve, reject) => {
        request({ socketPath: join(dir, 'admin.sock'), path, agent: false }, (response) => {
          let body = '';
          response.on('data', (part: Buffer) => (body += part.toString()));
          response.on('end', () => resolve(body));
        })
          .on('error', reject)
          .end();
      }),
    async [Symbol.asyncDispose]() {
      await app.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const openFds = () => readdirSync('/proc/self/fd').length;
/** What a daemon that is killed now would leave behind. */
const leftovers = (dir: string) => [
  ...readdirSync(tmpdir()).filter((name) => /^credence-\w{6}$/.test(name)),
  ...readdirSync(dir),
];

/** A socket file that nobody listens on: renamed, it is not taken away with its server. */
async function leaveStale(path: string): Promise<void> {
  const server = createServer().listen(`${path}.live`);
  await once(server, 'listening');
  renameSync(`${path}.live`, path);
  server.close();
  await once(server, 'close');
}

describe('warm-up', () => {
  it('goes through all motions and leaves no trace of them', async () => {
    await using daemon = await startApp();
    const files = leftovers(daemon.dir);
    const before = openFds();
    await daemon.app.warmUp();
    const metrics = await daemon.admin('/metrics');
    assert.match(metrics, /^credence_issuer_x509_svids_total\{result="issued"\} 0$/m);
    assert.match(metrics, /^credence_sds_pushes_total\{kind="sotw",result="sent"\} 0$/m);
    assert.match(metrics, /^credence_rotation_held_svids 0$/m);
    assert.match(metrics, /^credence_attestation_seconds_count\{attestor="unix"\} 0$/m);
    assert.match(await daemon.admin('/status'), /"proxies": \[\]/);
    await eventually(() => openFds() <= before + 1, { what: 'its descriptors to be closed' });
    assert.deepEqual(leftovers(daemon.dir), files);
  });

  it('has no file while it is at it, so that whenever it is killed none stays', async () => {
    await using daemon = await startApp();
    const files = leftovers(daemon.dir);
    const before = openFds();
    const warming = daemon.app.warmUp().then(() => 'done');
    const soon = () => new Promise((resolve) => setImmediate(resolve, 'soon'));
    let looks = 0;
    while ((await Promise.race([warming, soon()])) === 'soon') {
      // From its first connection on: the client's end, the server's, and what listens.
      if (openFds() < before + 3) continue;
      looks++;
      assert.deepEqual(leftovers(daemon.dir), files);
    }
    assert.ok(looks > 10, `${looks} looks`);
  });

  it('takes over what a start before it has left, and leaves nothing', async () => {
    await using daemon = await startApp();
    const files = leftovers(daemon.dir);
    await leaveStale(join(daemon.dir, 'admin.sock~'));
    await daemon.app.warmUp();
    assert.deepEqual(leftovers(daemon.dir), files);
  });

  it('does without where it can have no socket, and says so to who looks for it', async () => {
    const log = new FakeLogger();
    await using daemon = await startApp({}, log);
    await mkdir(join(daemon.dir, 'admin.sock~'));
    await daemon.app.warmUp();
    assert.equal(log.count('debug', 'no warm-up: its socket cannot be made'), 1);
    assert.match(await daemon.admin('/status'), /"proxies": \[\]/);
  });

  it('stops when the daemon stops', async () => {
    const daemon = await startApp();
    const warming = daemon.app.warmUp();
    await daemon[Symbol.asyncDispose]();
    await warming;
  });

  it('does without where a key takes long to make', async () => {
    await using daemon = await startApp({ issuer: { key_type: 'rsa-2048' } });
    await daemon.app.warmUp();
    assert.match(await daemon.admin('/status'), /"held_svids": 0/);
  });
});
