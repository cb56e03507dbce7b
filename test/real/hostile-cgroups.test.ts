// Processes that have really put themselves into cgroups called like those of somebody else. Needs root.
import assert from 'node:assert/strict';
import { chownSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { ANY, cgroupOf, createCgroups, HYBRID, moveInto, V2 } from '../support/pod-cgroups.ts';
import { startContainer } from '../support/container.ts';
import { pod } from '../support/pods.ts';
import { readPod } from '../../src/kubernetes/pod.ts';
import { startPeer } from '../support/peer-process.ts';
import {
  ID,
  startPodServer,
  UID,
  UID_,
  VICTIM,
  VICTIM_,
  VICTIM_ID,
} from '../support/pod-server.ts';

const slices = (uid: string) =>
  `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid}.slice`;
const OWN = `${slices(UID_)}/cri-containerd-${ID}.scope`;
const VICTIMS = `${slices(VICTIM_)}/cri-containerd-${VICTIM_ID}.scope`;

/** Makes cgroups below `$1` called `$2`, moves in and goes on as the rest of its words. */
const MOVE_IN = 'mkdir -p "$1$2" && echo 0 > "$1$2/cgroup.procs" && shift 2 && exec "$@"';
const movingIn = (root: string, path: string) => ['sh', '-c', MOVE_IN, 'sh', root, path];

function assertOwn(selectors: readonly string[]): void {
  assert.ok(selectors.includes(`pod-uid:${UID}`), selectors.join());
  assertNotVictim(selectors);
}

function assertNotVictim(selectors: readonly string[]): void {
  const stolen = selectors.filter((one) => one.includes(VICTIM) || one.includes('victim'));
  assert.deepEqual(stolen, []);
}

function assertHost(selectors: readonly string[], uid: number): void {
  assertNotVictim(selectors);
  assert.ok(selectors.includes(`unix:uid:${uid}`), selectors.join());
  assert.ok(!selectors.some((one) => one.startsWith('pod-')), selectors.join());
}

describe('a process that makes cgroups', { timeout: 120_000 }, () => {
  before(() => assert.equal(process.getuid?.(), 0, 'containers and cgroups are made by root'));

  for (const runtime of ['runc', 'crun'] as const) {
    it(`below its own in a container by ${runtime} is its own pod's, on v2`, async () => {
      await using server = await startPodServer();
      using container = startContainer({
        ...{ runtime, cgroupsPath: OWN, v2: true, writableCgroup: true },
        mounts: { '/sock': server.folder },
      });
      await using _peer = await startPeer('/sock/api.sock', [
        ...container.exec,
        ...movingIn('/sys/fs/cgroup', VICTIMS),
      ]);
      const { connection } = await server.next();
      const { selectors, credentials } = await connection.caller({
        signal: AbortSignal.timeout(5000),
      });
      assert.ok(cgroupOf(credentials.pid).includes(`:${OWN}${VICTIMS}\n`));
      assertOwn(selectors.map((one) => one.slice(one.indexOf(':') + 1)));
    });
  }

  // Where there is v2 alone there is nothing of v1 to be put into.
  if (HYBRID)
    it("below its own in every hierarchy of v1 is its own pod's", async () => {
      await using server = await startPodServer();
      const own = `/kubepods/burstable/pod${UID}/${ID}`;
      const victims = `/kubepods/burstable/pod${VICTIM}/${VICTIM_ID}`;
      using container = startContainer({
        ...{ cgroupsPath: own, writableCgroup: true, mounts: { '/sock': server.folder } },
      });
      const everywhere = `for h in /sys/fs/cgroup/*; do
      [ -d $h ] && [ ! -L $h ] || continue
      mkdir -p $h$1 && cat $h/cpuset.cpus > $h$1/cpuset.cpus; echo 0 > $h$1/cgroup.procs
    done 2> /dev/null; shift; exec "$@"`;
      await using _peer = await startPeer('/sock/api.sock', [
        ...container.exec,
        ...['sh', '-c', everywhere, 'sh', victims],
      ]);
      const { connection } = await server.next();
      const caller = await connection.caller({ signal: AbortSignal.timeout(5000) });
      const lines = cgroupOf(caller.credentials.pid).split('\n');
      const moved = lines.filter((line) => line.endsWith(`${own}${victims}`));
      assert.ok(moved.length > 5, lines.join('\n'));
      assert.ok(
        lines.some((line) => line.endsWith(own)),
        'and v2 still says its own',
      );
      assertOwn(caller.selectors.map((one) => one.slice(one.indexOf(':') + 1)));
    });

  for (const uid of [1000, 10001]) {
    for (const [what, below] of [
      ['slices of pods', VICTIMS],
      ['pods of cgroupfs', `/kubepods/burstable/pod${VICTIM}/${VICTIM_ID}`],
      ['a pod and a scope of its own', `${slices(VICTIM_)}/spoof.service`],
      ['the colon form', `/kubepods-burstable-pod${VICTIM_}.slice:cri-containerd:${VICTIM_ID}`],
    ] as const) {
      it(`as user ${uid} in its session is that user: ${what}`, async () => {
        using cgroups = createCgroups();
        await using server = await startPodServer();
        const session = `/user.slice/user-${uid}.slice/user@${uid}.service`;
        // Delegated as systemd does: the folder and what moves processes belong to the user.
        const folder = cgroups.make(session, V2);
        for (const path of [folder, ...readdirSync(folder).map((name) => join(folder, name))]) {
          if (path === folder || /cgroup\.(procs|threads|subtree_control)$/.test(path)) {
            chownSync(path, uid, uid);
          }
        }
        await using peer = await startPeer(server.path, [
          // Into the session as root, as a login does; from there on as the user.
          ...movingIn(folder, '/init.scope'),
          ...['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'],
          ...movingIn(folder, below),
        ]);
        const selectors = await server.attested();
        assert.ok(cgroupOf(peer.pid).includes(`:${session}${below}\n`), cgroupOf(peer.pid));
        assertHost(selectors, uid);
      });
    }
  }

  for (const [what, path] of [
    ['an id of 128 digits', `/kubepods/burstable/pod${UID}/${ID}${ID}`],
    ['more behind the uid', `/kubepods/burstable/pod${UID}x/${ID}`],
    ['a uid in capitals', `/kubepods/burstable/pod${UID.toUpperCase()}/${ID}`],
    ['an id in capitals', `/kubepods/burstable/pod${UID}/${ID.toUpperCase()}`],
    [
      'a class that is not its parent',
      `/kubepods.slice/kubepods-besteffort.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${ID}.scope`,
    ],
    ['a container named like a pod', `/kubepods/burstable/pod${UID}/pod${VICTIM}/${VICTIM_ID}`],
    ['blanks, colons and backslashes', `/kubepods/burstable/pod${UID}/a: b\\n:${ID}`],
    ['no container', `/kubepods/burstable/pod${UID}`],
  ] as const) {
    it(`below the pods' own root is refused, for it is no process of the host: ${what}`, async () => {
      using cgroups = createCgroups();
      await using server = await startPodServer();
      const folder = cgroups.make(path);
      await using peer = await startPeer(server.path, movingIn(folder, ''));
      assert.ok(cgroupOf(peer.pid).includes(`:${path}\n`));
      await assert.rejects(server.attested(), { code: 'ERR_ATTESTATION' });
      peer.child.kill('SIGKILL');
    });
  }

  it('and is gone from them by the time it is attested has nothing', async () => {
    using cgroups = createCgroups();
    await using server = await startPodServer();
    const unknown = 'ef'.repeat(32);
    const folder = cgroups.make(`/kubepods/burstable/pod${UID}/${unknown}`);
    await using peer = await startPeer(server.path, movingIn(folder, ''));
    const { connection } = await server.next();
    const caller = connection.caller({ signal: AbortSignal.timeout(5000) });
    caller.catch(() => undefined);
    // While its container is waited for, it leaves for another one, then for the host.
    await new Promise((resolve) => setTimeout(resolve, 50));
    moveInto(ANY, peer.pid);
    const told = pod({ uid: UID, version: '2', ids: { web: unknown } });
    server.index.put(readPod(told) ?? assert.fail());
    await assert.rejects(caller, { code: 'ERR_PEER_GONE' });
    // Its next stream is what it is now, and it is in no pod.
    assertHost((await connection.caller({ signal: AbortSignal.timeout(5000) })).selectors, 0);
    peer.child.kill('SIGKILL');
  });
});
