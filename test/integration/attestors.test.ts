import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';
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
    const explained = await app.get(`/explain?pid=${process.pid}`);
    assert.match(explained, /"systemd:fragment_path:\/etc\/systemd\/system\/web\.service"/);
  });
});

describe('credence check', () => {
  const attestation = {
    on: `attestation:
  docker: { enabled: true, podman_socket_path_template: '/run/user/%d/podman.sock' }
  systemd: { enabled: true }`,
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
    assert.match(await check(attestation.on, 'docker:lable:a:b'), /did you mean docker:label\?/);
    assert.match(await check(attestation.on, 'systemd:id:web'), /the whole name of a unit/);
    assert.match(await check(attestation.on, 'docker:label:a:b'), /any user can have docker:label/);
    const fine = await check(
      attestation.on,
      ...['docker:label:a:b', 'systemd:id:web.service', 'unix:uid:1000'],
    );
    assert.match(fine, /0 errors, 0 warnings/);
  });
});
