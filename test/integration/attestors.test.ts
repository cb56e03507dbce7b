import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';
import { startEngine } from '../support/engine.ts';
import { startBus, systemd, type FakeBus } from '../support/system-bus.ts';
import { credence } from '../support/transcript.ts';

const UID = process.getuid?.() ?? 0;
const WEB = 'spiffe://example.org/web';
const PLAIN = 'spiffe://example.org/plain';
const ENTRIES = [
  { spiffe_id: WEB, selectors: ['systemd:id:web.service', `unix:uid:${UID}`] },
  { spiffe_id: 'spiffe://example.org/db', selectors: ['systemd:id:db.service'] },
  { spiffe_id: PLAIN, selectors: [`unix:uid:${UID}`] },
];
const unit = (id: string) =>
  systemd(new Map([[process.pid, { id, file: `/etc/systemd/system/${id}` }]]));

describe('attestors side by side', () => {
  let bus: FakeBus;
  let app: TestApp;
  beforeEach(async () => {
    bus = await startBus();
    bus.behave(unit('web.service'));
    app = await startApp({
      entries: ENTRIES,
      settings: {
        sds: { pending_timeout: '2s', denied_park: '0s' },
        attestation: {
          systemd: { enabled: true, bus_path: bus.path },
          // This process is in no container: nobody is asked.
          docker: { enabled: true, socket_path: '/nowhere/docker.sock' },
        },
      },
    });
  });
  afterEach(async () => {
    await app[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
  });

  const outcome = async (name: string) => {
    using stream = openSdsStream(app.socketPath, [name]);
    await eventually(() => stream.responses.length > 0 || stream.ended(), { what: name });
    return stream.ended()?.code ?? 'served';
  };

  it('give a process the entries that ask for selectors of several', async () => {
    assert.equal(await outcome(WEB), 'served');
    assert.equal(await outcome('spiffe://example.org/db'), 7);
    assert.equal(await outcome(PLAIN), 'served');
    // Attested once.
    assert.equal(bus.calls.filter(({ member }) => member === 'GetUnitByPID').length, 1);
  });

  it('give a process in no unit what the others say', async () => {
    bus.behave(systemd(new Map()));
    assert.equal(await outcome(PLAIN), 'served');
    assert.equal(await outcome(WEB), 7);
  });

  it('give nothing while one of them fails, and everything once it does not', async () => {
    bus.behave(() => ({ error: 'org.freedesktop.DBus.Error.AccessDenied' }));
    assert.equal(await outcome(PLAIN), 14);
    assert.match(
      app.log.lines.map(({ fields }) => String(fields['reason'])).join('\n'),
      /cannot ask systemd at .*AccessDenied/,
    );
    bus.behave(unit('web.service'));
    assert.equal(await outcome(PLAIN), 'served');
    assert.equal(app.log.count('warn', 'systemd cannot be asked'), 1);
    assert.equal(app.log.count('info', 'systemd can be asked again'), 1);
    const explained = await app.get(`/explain?pid=${process.pid}`);
    assert.match(explained, /"systemd:fragment_path:\/etc\/systemd\/system\/web\.service"/);
  });

  it('are missed at the start, in the log and in the status', async () => {
    await eventually(() => app.log.count('warn', 'the engine cannot be asked') > 0, {
      what: 'the warning',
    });
    const { asked } = JSON.parse(await app.get('/status')) as { asked: Record<string, unknown>[] };
    const docker = asked.find(({ at }) => at === '/nowhere/docker.sock');
    assert.equal(docker?.['reason'], 'there is no such socket');
    assert.equal(asked.find(({ at }) => at === bus.path)?.['failing_since'], null);
  });
});

describe('an API server that was never heard', () => {
  it('is in the status with the reason, and its silence is counted from the start', async () => {
    await using app = await startApp({
      settings: {
        attestation: {
          kubernetes: {
            ...{ enabled: true, node_name: 'node-1', api_server: '127.0.0.1:1' },
            token_file: '/nope/token',
          },
        },
      },
    });
    const asked = async () =>
      (JSON.parse(await app.get('/status')) as { asked: Record<string, unknown>[] }).asked[0];
    await eventually(async () => (await asked())?.['failing_since'] != null, {
      what: 'the failure',
    });
    const { at, who, heard_at, reason } = (await asked()) ?? {};
    assert.deepEqual([at, who, heard_at], ['127.0.0.1:1', 'the API server', null]);
    assert.match(String(reason), /cannot read \/nope\/token/);
    const [, seconds] =
      /^credence_kubernetes_heard_seconds (\S+)$/m.exec(await app.get('/metrics')) ?? [];
    assert.ok(Number(seconds) >= 0, `${seconds} s`);
  });
});

describe('credence check', () => {
  const attestation = {
    on: (engine: string, bus: string) => `attestation:
  docker:
    enabled: true
    socket_path: ${engine}
    podman_socket_path_template: '/run/user/%d/podman.sock'
  systemd: { enabled: true, bus_path: ${bus} }`,
    off: '',
  };

  async function check(settings: string, ...selectors: string[]): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), 'credence-check-'));
    try {
      const file = join(folder, 'credence.yaml');
      writeFileSync(
        file,
        `trust_domain: example.org\npolicy: { paths: [policy.yaml] }\n${settings}\n`,
      );
      const entries = [{ spiffe_id: WEB, selectors }];
      writeFileSync(join(folder, 'policy.yaml'), JSON.stringify({ entries }));
      const { out, err } = await credence(['check', '--config', file]);
      return out + err;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it('warns of selectors whose attestor is not on', async () => {
    for (const type of ['docker', 'systemd']) {
      assert.match(
        await check(attestation.off, `${type}:x:y`),
        new RegExp(
          `no attestor that is enabled makes ${type}: entries that ask for it apply to no`,
        ),
      );
    }
  });

  it('warns of kinds and forms that there are not, and of what any user could claim', async () => {
    await using bus = await startBus();
    await using engine = await startEngine();
    const on = attestation.on(engine.socketPath, bus.path);
    assert.match(await check(on, 'docker:lable:a:b'), /did you mean docker:label\?/);
    assert.match(await check(on, 'systemd:id:web'), /the whole name of a unit/);
    assert.match(await check(on, 'docker:label:a:b'), /any user can have docker:label/);
    const fine = await check(
      on,
      ...['docker:label:a:b', 'systemd:id:web.service', 'unix:uid:1000'],
    );
    assert.match(fine, /0 errors, 0 warnings/);
  });

  it('notes sockets that are not there, each with its setting', async () => {
    const said = await check(attestation.on('/nope/docker.sock', '/nope/bus'), 'unix:uid:1000');
    assert.match(
      said,
      /^note: .*credence\.yaml: attestation\.systemd\.bus_path: cannot use \/nope\/bus now: there is no such socket/m,
    );
    assert.match(said, /attestation\.docker\.socket_path: cannot use \/nope\/docker\.sock now/);
    assert.match(said, /attestation\.docker\.podman_socket_path: cannot use \/run\/podman/);
    assert.match(said, /0 errors, 0 warnings/);
  });

  it('notes files that the API server or the kubelet are asked with and that are not there', async () => {
    const kubernetes = (more: string) =>
      `attestation: { kubernetes: { enabled: true, node_name: n1, ca_file: /nope/ca.crt, token_file: /nope/token, ${more} } }`;
    const ofServer = await check(kubernetes('api_server: "127.0.0.1:1"'), 'unix:uid:1000');
    assert.match(
      ofServer,
      /kubernetes\.ca_file: cannot use \/nope\/ca\.crt now: there is no such file/,
    );
    assert.match(ofServer, /kubernetes\.token_file: cannot use \/nope\/token now/);
    assert.match(ofServer, /0 errors, 0 warnings/);
    const ofKubelet = await check(
      kubernetes('source: kubelet, kubelet_ca_file: /nope/kubelet.crt'),
      'unix:uid:1000',
    );
    assert.match(ofKubelet, /kubernetes\.kubelet_ca_file: cannot use \/nope\/kubelet\.crt now/);
    assert.doesNotMatch(ofKubelet, /kubernetes\.ca_file/);
    const plain = await check(
      kubernetes('source: kubelet, kubelet_access: insecure_read_only_port'),
      'unix:uid:1000',
    );
    assert.match(plain, /0 errors, 0 warnings/);
  });
});
