// What attesting pods goes wrong with elsewhere, one test each. Needs root, runc and crun.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import { fromFiles } from '../../src/kubernetes/access.ts';
import { createApi } from '../../src/kubernetes/api.ts';
import { SETTINGS } from '../../src/settings.ts';
import { startApiServer } from '../support/api-server.ts';
import { startApp } from '../support/app.ts';
import { startAttestingServer } from '../support/attesting-server.ts';
import { startBorrowed } from '../support/borrowed-socket.ts';
import { cgroupOf, createCgroups, moveInto, V2 } from '../support/pod-cgroups.ts';
import { createCluster } from '../support/pod-cluster.ts';
import { startContainer } from '../support/container.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PYTHON, startPeer } from '../support/peer-process.ts';
import { HASH, ID, startPodServer, UID, UID_, VICTIM, VICTIM_ID } from '../support/pod-server.ts';
import { pod } from '../support/pods.ts';
import { openSdsStream } from '../support/sds-stream.ts';

const signal = new AbortController().signal;
const OWN = `/kubepods/burstable/pod${UID}/${ID}`;
const VICTIMS = `/kubepods/burstable/pod${VICTIM}/${VICTIM_ID}`;

/** Moves in and goes on as the rest of its words. */
const movingIn = (folder: string) => [
  ...['sh', '-c', 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"', 'sh', folder],
];

const hasPod = (selectors: readonly string[], uid: string) =>
  selectors.includes(`k8s:pod-uid:${uid}`);

describe('trap', { timeout: 120_000 }, () => {
  before(() => assert.equal(process.getuid?.(), 0, 'run these tests as root'));

  it('1: the innermost pod of a path wins, and a container can be any pod', async () => {
    await using server = await startPodServer();
    using container = startContainer({
      ...{ cgroupsPath: OWN, v2: true, writableCgroup: true, mounts: { '/sock': server.folder } },
    });
    const inside = `/sys/fs/cgroup${VICTIMS}`;
    await using _peer = await startPeer('/sock/api.sock', [
      ...container.exec,
      ...['sh', '-c', 'mkdir -p "$1" && shift && exec "$@"', 'sh', inside],
      ...movingIn(inside),
    ]);
    const { connection } = await server.next();
    assert.ok(cgroupOf(connection.credentials.pid).includes(`:${OWN}${VICTIMS}\n`));
    const { selectors } = await connection.caller({ signal: AbortSignal.timeout(5000) });
    assert.deepEqual([hasPod(selectors, UID), hasPod(selectors, VICTIM)], [true, false]);
  });

  it('2: a pod is looked for anywhere in the path, and a user with a session can be any pod', async () => {
    using cgroups = createCgroups();
    await using server = await startPodServer();
    const session = '/user.slice/user-1000.slice/user@1000.service';
    const folder = cgroups.make(`${session}${VICTIMS}`, V2);
    await using peer = await startPeer(server.path, [
      ...movingIn(folder),
      ...['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups'],
    ]);
    const selectors = await server.attested();
    assert.ok(cgroupOf(peer.pid).includes(`${session}${VICTIMS}\n`));
    assert.ok(selectors.includes('unix:uid:1000'));
    assert.ok(!selectors.some((one) => one.startsWith('pod-')));
  });

  it('3: mountinfo is believed, which a process without any right can forge', async () => {
    using cgroups = createCgroups();
    await using server = await startPodServer();
    const victims = cgroups.make(VICTIMS, V2);
    const script = 'mount --bind "$1" /mnt && shift && exec "$@"';
    await using peer = await startPeer(server.path, [
      ...['setpriv', '--reuid=10001', '--regid=10001', '--clear-groups'],
      ...['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', script, 'sh', victims],
    ]);
    const mountinfo = readFileSync(`/proc/${peer.pid}/mountinfo`, 'latin1');
    assert.ok(mountinfo.includes(` ${VICTIMS} /mnt `), 'the forged line');
    const selectors = await server.attested();
    assert.ok(selectors.includes('unix:uid:10001'));
    assert.ok(!selectors.some((one) => one.startsWith('pod-')));
  });

  it('4: the pid of the credentials is used again before the connection is accepted', async () => {
    await using server = await startAttestingServer();
    // It connects, ends, is reaped, and its number is another's, all before anybody accepts.
    const script = `
import os, signal, socket, sys
for attempt in range(200):
    pid = os.fork()
    if pid == 0:
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); os._exit(0)
    os.waitpid(pid, 0)
    open("/proc/sys/kernel/ns_last_pid", "w").write(str(pid - 1))
    other = os.fork()
    if other == 0:
        os.setsid()
        for fd in range(3): os.close(fd)
        os.execvp("sleep", ["sleep", "60"])
    if other == pid:
        print(pid); sys.exit()
    os.kill(other, signal.SIGKILL); os.waitpid(other, 0)
`;
    const { stdout } = spawnSync(PYTHON, ['-c', script, server.path], { encoding: 'utf8' });
    const pid = Number(stdout);
    assert.ok(pid > 1, 'a number that is used again');
    try {
      for (;;) {
        const { connection } = await server.next();
        await assert.rejects(connection.caller({ signal }), { code: 'ERR_PEER_GONE' });
        if (connection.credentials.pid === pid) break;
      }
      assert.ok(existsSync(`/proc/${pid}`), 'the other process lives');
    } finally {
      process.kill(pid, 'SIGKILL');
    }
  });

  it('5: a zombie looks alive', async () => {
    await using server = await startAttestingServer();
    // Its parent sleeps and never reaps it.
    const script = `
import os, socket, sys, time
if os.fork() == 0:
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); time.sleep(1); os._exit(0)
time.sleep(60)`;
    const parent = spawn(PYTHON, ['-c', script, server.path]);
    try {
      const { connection } = await server.next();
      const caller = await connection.caller({ signal });
      const status = () => readFileSync(`/proc/${caller.credentials.pid}/status`, 'latin1');
      await eventually(() => /^State:\tZ/m.test(status()), { what: 'a zombie' });
      assert.equal(caller.isAlive(), false);
      await assert.rejects(connection.caller({ signal }), { code: 'ERR_PEER_GONE' });
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('6: a daemon in a cgroup namespace of its own sees relative paths, in some threads', () => {
    using cgroups = createCgroups();
    const folder = cgroups.make('/credence-test');
    const source = `
import { startApp } from './test/support/app.ts';
const kubernetes = { enabled: true, node_name: 'n', api_server: '127.0.0.1:1' };
try {
  await startApp({ settings: { attestation: { kubernetes } } });
  console.log('started');
} catch (error) {
  console.log(error.code, error.message);
}
process.exit(0);
`;
    const [command = '', ...args] = [
      ...movingIn(folder),
      ...['unshare', '--cgroup', process.execPath, '--import', 'tsx'],
      ...['--input-type=module', '-e', source],
    ];
    const { stdout } = spawnSync(command, args, { encoding: 'utf8' });
    assert.match(stdout, /^ERR_ATTESTATION .*cgroup namespace of its own/);
  });

  it('7: the kubelet is taken for fresher than the API server, and what it lacks for absent', async () => {
    const source = SETTINGS.find(({ key }) => key === 'attestation.kubernetes.source');
    assert.equal(source?.fallback, 'api');
    using cgroups = createCgroups();
    await using node = await startNode('kubelet');
    node.cluster.put(pod({ uid: UID, containers: [] }));
    moveInto(cgroups.make(OWN));
    try {
      using stream = openSdsStream(node.app.socketPath, ['default']);
      await eventually(() => waiting(node.app), { what: 'it waits' });
      assert.deepEqual([stream.ended(), stream.responses.length], [undefined, 0]);
      node.cluster.put(pod({ uid: UID, ids: { web: ID } }));
      await eventually(() => stream.responses.length === 1, { what: 'the certificate' });
    } finally {
      moveInto(cgroups.make('/'));
    }
  });

  it('8: there is no container id while a postStart hook runs that waits for the certificate', async () => {
    using cgroups = createCgroups();
    await using node = await startNode('api');
    const hooked = 'ef'.repeat(32);
    const parts = { uid: UID, containers: ['web', 'hooked'], ids: { web: ID, hooked } };
    const told = pod(parts) as { status: { containerStatuses: { containerID?: string }[] } };
    delete told.status.containerStatuses[1]?.containerID;
    node.cluster.put(told);
    try {
      moveInto(cgroups.make(`/kubepods/burstable/pod${UID}/${hooked}`));
      using stream = openSdsStream(node.app.socketPath, ['default']);
      // Not for ever: the hook learns that it cannot have one, and can end.
      await eventually(() => stream.ended(), { what: 'the end', timeoutMs: 4000 });
      assert.equal(stream.ended()?.code, 14);
      assert.match(stream.ended()?.details ?? '', /has not been attested yet/);
      await using borrowed = startBorrowed(node.app.socketPath);
      await borrowed.next(cgroups.make(OWN));
      using other = openSdsStream(borrowed.path(0), ['default']);
      await eventually(() => other.responses.length === 1, { what: 'the other container' });
    } finally {
      moveInto(cgroups.make('/'));
    }
  });

  it('9: the cgroup of a static pod has a hash, and the API server another uid', async () => {
    for (const kind of ['api', 'kubelet'] as const) {
      using cgroups = createCgroups();
      await using node = await startNode(kind);
      const parts = { uid: VICTIM, name: 'etcd-node-1', containers: ['etcd'], ids: { etcd: ID } };
      node.cluster.putStatic(pod({ ...parts, serviceAccountName: undefined }), HASH);
      moveInto(cgroups.make(`/kubepods/burstable/pod${HASH}/${ID}`));
      try {
        using stream = openSdsStream(node.app.socketPath, ['default']);
        await eventually(() => stream.responses.length === 1, { what: `a certificate (${kind})` });
        const explained = await node.app.get(`/explain?pid=${process.pid}`);
        assert.match(explained, /k8s:pod-name:etcd-node-1/);
        assert.doesNotMatch(explained, /"k8s:sa:/);
      } finally {
        moveInto(cgroups.make('/'));
      }
    }
  });

  it('10: crun puts processes one cgroup below the scope', async () => {
    await using server = await startPodServer();
    const scope = `/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`;
    using container = startContainer({
      ...{ runtime: 'crun', cgroupsPath: scope, v2: true, mounts: { '/sock': server.folder } },
    });
    // With systemd as its manager; without one it does not, so they are put there.
    using cgroups = createCgroups();
    const below = cgroups.make(`${scope}/container`, V2);
    await using peer = await startPeer('/sock/api.sock', container.exec);
    const { connection } = await server.next();
    moveInto(below, connection.credentials.pid);
    const lines = cgroupOf(connection.credentials.pid);
    assert.ok(lines.includes(`:${scope}/container\n`), lines);
    const { selectors } = await connection.caller({ signal: AbortSignal.timeout(5000) });
    assert.ok(selectors.some((one) => one === `k8s:pod-uid:${UID}`));
    peer.child.stdin?.end();
  });

  it('11: a client library does not load on Node 20, never times out a watch, stops at an error', async () => {
    const manifest = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as {
      dependencies: Record<string, string>;
    };
    assert.ok(!Object.keys(manifest.dependencies).some((name) => name.includes('kubernetes')));
    // A connection that is half open: no event, no bookmark, no end.
    await using server = await startApiServer();
    server.behave((_, response) => {
      response.writeHead(200).flushHeaders();
    });
    const clock = new FakeClock();
    const { host, port, caFile: ca, tokenFile: token } = server;
    const api = createApi(fromFiles({ host, port, ca, token }, clock), clock);
    const watch = api.lines('/watch', () => undefined, { signal, silenceMs: 375_000 });
    watch.catch(() => undefined);
    await eventually(() => server.asked.length === 1 && clock.timers === 1, { what: 'the watch' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await clock.advance(375_001);
    await assert.rejects(watch, /nothing came for 375 s/);
    api.close();
  });
});

async function startNode(source: 'api' | 'kubelet') {
  const names = source === 'kubelet' ? 'DNS:node-1' : 'IP:127.0.0.1';
  const server = await startApiServer({ names });
  const cluster = createCluster();
  server.behave(cluster.serve);
  const address = `${server.host}:${server.port}`;
  const app = await startApp({
    entries: [{ spiffe_id: 'spiffe://example.org/{k8s:pod-name}', selectors: ['k8s:ns:shop'] }],
    settings: {
      sds: { pending_timeout: '2s', denied_park: '0s' },
      attestation: {
        kubernetes: {
          ...{ enabled: true, source, node_name: 'node-1' },
          ...(source === 'api' ? { api_server: address } : { kubelet_address: address }),
          ...{ ca_file: server.caFile, token_file: server.tokenFile },
        },
      },
    },
  });
  return {
    ...{ app, cluster, server },
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function waiting(app: { get(path: string): Promise<string> }): Promise<boolean> {
  return /^credence_kubernetes_waiting_processes [1-9]/m.test(await app.get('/metrics'));
}
