// A process in the cgroup of a container, and an engine that tells of it. Needs root.
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { startApp, type TestApp } from '../support/app.ts';
import { createCgroups } from '../support/cgroups.ts';
import { startChild } from '../support/child.ts';
import { answer, inspected, startEngine, type FakeEngine } from '../support/engine.ts';
import { eventually } from '../support/eventually.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const ID = 'ab'.repeat(32);
const VICTIM = 'cd'.repeat(32);
const USER = 64_010;
const USERS_SLICE = `/user.slice/user-${USER}.slice/user@${USER}.service`;
const WEB = 'spiffe://example.org/web';
const HOST = 'spiffe://example.org/host';
const ENTRIES = [
  { spiffe_id: 'spiffe://example.org/{docker:label:app}', selectors: ['docker:env:STAGE=test'] },
  { spiffe_id: HOST, selectors: ['unix:uid:0'] },
];
const WEB_CONTAINER = inspected({ id: ID, labels: { app: 'web' }, env: ['STAGE=test'] });
const DB_CONTAINER = inspected({ id: VICTIM, labels: { app: 'db' }, env: ['STAGE=test'] });

/** Of a path, with the containers by their first digits. */
const short = (path: string) => path.replaceAll(/[0-9a-f]{60}/g, '…');

/** Knows both containers. */
const both: Parameters<FakeEngine['behave']>[0] = (request, response) =>
  answer(request.url?.includes(ID) ? WEB_CONTAINER : DB_CONTAINER)(request, response);

describe('a process in a container', { timeout: 60_000 }, () => {
  const cgroups = createCgroups();
  const folder = mkdtempSync(join(tmpdir(), 'credence-rootless-'));
  const users = join(folder, `${USER}.sock`);
  let docker: FakeEngine;
  let podman: FakeEngine;
  let app: TestApp;

  before(() => {
    assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root');
    chownSync(folder, USER, USER);
  });
  beforeEach(async () => {
    cgroups.moveTo('/');
    docker = await startEngine();
    podman = await startEngine('podman.sock');
    app = await startApp({
      entries: ENTRIES,
      settings: {
        sds: { pending_timeout: '2s', denied_park: '0s' },
        attestation: {
          docker: {
            enabled: true,
            socket_path: docker.socketPath,
            podman_socket_path: podman.socketPath,
            podman_socket_path_template: join(folder, '%d.sock'),
          },
        },
      },
    });
  });
  afterEach(async () => {
    cgroups.moveTo('/');
    await app[Symbol.asyncDispose]();
    await docker[Symbol.asyncDispose]();
    await podman[Symbol.asyncDispose]();
  });
  after(() => {
    cgroups.remove();
    rmSync(folder, { recursive: true });
  });

  const gets = async (name: string) => {
    using stream = openSdsStream(app.socketPath, [name]);
    await eventually(() => stream.responses.length === 1, {
      what: name,
      hopeless: () => stream.ended()?.details,
    });
  };
  const isRefused = async (name: string, code: number) => {
    using stream = openSdsStream(app.socketPath, [name]);
    await eventually(() => stream.ended(), { what: 'the end' });
    assert.equal(stream.ended()?.code, code, stream.ended()?.details);
    assert.equal(stream.responses.length, 0);
  };

  for (const path of [
    `/docker/${ID}`,
    `/system.slice/docker-${ID}.scope`,
    `/docker/${ID}/docker/${VICTIM}`,
    `/docker/${ID}/machine.slice/libpod-${VICTIM}.scope`,
  ]) {
    it(`is what docker says of it at ${short(path)}`, async () => {
      docker.behave(both);
      cgroups.moveTo(path);
      await gets(WEB);
      assert.deepEqual(docker.asked, [`/containers/${ID}/json`]);
      assert.deepEqual(podman.asked, []);
    });
  }

  for (const path of [
    `/machine.slice/libpod-${ID}.scope/container`,
    `/libpod_parent/libpod-${ID}`,
  ]) {
    it(`is what podman says of it at ${short(path)}`, async () => {
      podman.behave(both);
      cgroups.moveTo(path);
      await gets(WEB);
      assert.deepEqual([podman.asked.length, docker.asked.length], [1, 0]);
    });
  }

  it('is what podman says of it in a service, when it runs there and not elsewhere', async () => {
    const path = `/system.slice/web.service/libpod-payload-${ID}`;
    const parts = { id: ID, labels: { app: 'web' }, env: ['STAGE=test'] };
    cgroups.moveTo(path);
    podman.behave(answer(inspected({ ...parts, pid: process.ppid })));
    await isRefused(WEB, 14);
    podman.behave(answer(inspected({ ...parts, pid: process.pid })));
    await gets(WEB);
  });

  it('never passes for a process of the host while its engine cannot be asked', async () => {
    cgroups.moveTo(`/docker/${ID}`);
    docker.behave((_, response) => void response.writeHead(500).end());
    await isRefused(HOST, 14);
    docker.behave(() => undefined);
    await isRefused(HOST, 14);
    await docker.close();
    await isRefused(HOST, 14);
    assert.match(JSON.stringify(app.log), /cannot ask the engine at/);
  });

  it('never passes for one of the host in a container that is gone, or in none with a name', async () => {
    cgroups.moveTo(`/docker/${ID}`);
    await isRefused(HOST, 14);
    cgroups.moveTo('/docker/buildkit');
    await isRefused(HOST, 14);
  });

  it('has what it is entitled to once its engine is back', async () => {
    cgroups.moveTo(`/docker/${ID}`);
    await isRefused(WEB, 14);
    docker.behave(both);
    await gets(WEB);
  });

  it('is asked about once, however many streams it opens', async () => {
    docker.behave(both);
    cgroups.moveTo(`/docker/${ID}`);
    await Promise.all(Array.from({ length: 20 }, () => gets(WEB)));
    assert.equal(docker.asked.length, 1);
  });

  it('loses what it had when it moves to another container', async () => {
    docker.behave(both);
    cgroups.moveTo(`/docker/${ID}`);
    using web = openSdsStream(app.socketPath, [WEB]);
    await eventually(() => web.responses.length === 1, { what: 'the certificate' });
    cgroups.moveTo(`/docker/${VICTIM}`);
    await eventually(() => web.ended(), { what: 'the end', timeoutMs: 2000 });
    await isRefused(WEB, 7);
    await gets('spiffe://example.org/db');
  });

  it("is what its user's podman says, which is that user's own socket and no other", async () => {
    docker.behave(both);
    podman.behave(both);
    cgroups.moveTo(`${USERS_SLICE}/user.slice/libpod-${ID}.scope/container`);
    await isRefused(HOST, 14);
    const program = `require('node:http').createServer((_, response) => response.end(process.argv[2])).listen(process.argv[1])`;
    const args = ['-e', program, users, JSON.stringify(WEB_CONTAINER)];
    const listens = async (uid: number) => {
      const child = await startChild(process.execPath, args, { uid });
      await eventually(() => existsSync(users), { what: 'the socket' });
      return child;
    };
    {
      await using _stranger = await listens(0);
      await isRefused(WEB, 14);
      assert.match(JSON.stringify(app.log), /it is not a socket of uid 64010/);
    }
    rmSync(users, { force: true });
    await using _own = await listens(USER);
    await gets(WEB);
    assert.deepEqual([docker.asked, podman.asked], [[], []]);
  });

  for (const path of [
    `${USERS_SLICE}/docker/${ID}`,
    `${USERS_SLICE}/system.slice/docker-${ID}.scope`,
  ]) {
    it(`is nobody's container where somebody calls it one: ${short(path)}`, async () => {
      docker.behave(both);
      podman.behave(both);
      cgroups.moveTo(path);
      await isRefused(WEB, 7);
      await gets(HOST);
      assert.deepEqual([docker.asked, podman.asked], [[], []]);
    });
  }

  it('is nothing at all where a service calls it a container', async () => {
    cgroups.moveTo(`/system.slice/evil.service/machine.slice/libpod-${ID}.scope`);
    await isRefused(WEB, 14);
    await isRefused(HOST, 14);
    assert.deepEqual([docker.asked, podman.asked], [[], []]);
  });

  it('is a process of the host outside of all containers', async () => {
    await gets(HOST);
    assert.deepEqual([docker.asked, podman.asked], [[], []]);
  });
});
