// Containers by runc and crun at the cgroups that kubelets and runtimes give them. Needs root.
// What this machine's kernel shows is what can be built: where it has v1 and v2 the lines of both are
// there, and what v1 alone or v2 alone reads like is in src/cgroup/pod.test.ts.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { createCluster } from '../support/pod-cluster.ts';
import { startApiServer } from '../support/api-server.ts';
import { startApp } from '../support/app.ts';
import { findPlace, readBootstrap } from '../support/bootstrap-file.ts';
import { cgroupOf, HYBRID } from '../support/pod-cgroups.ts';
import { startContainer } from '../support/container.ts';
import { envoyBinary } from '../support/envoy-binary.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { SERVER } from '../support/pair.ts';
import { startPeer } from '../support/peer-process.ts';
import { HASH, ID, startPodServer, UID, UID_ } from '../support/pod-server.ts';
import { pod } from '../support/pods.ts';
import { readPod } from '../../src/kubernetes/pod.ts';

const slice = (qos: string, uid: string) =>
  `/kubepods.slice/kubepods-${qos}.slice/kubepods-${qos}-pod${uid}.slice`;

/** Paths as kubelet and runtime give them, and what they are. */
const SHAPES = [
  ['cgroupfs, Burstable', `/kubepods/burstable/pod${UID}/${ID}`],
  ['cgroupfs, BestEffort', `/kubepods/besteffort/pod${UID}/${ID}`],
  ['cgroupfs, Guaranteed', `/kubepods/pod${UID}/${ID}`],
  ['CRI-O, cgroupfs', `/kubepods/burstable/pod${UID}/crio-${ID}`],
  ['systemd, Burstable', `${slice('burstable', UID_)}/cri-containerd-${ID}.scope`],
  ['systemd, BestEffort', `${slice('besteffort', UID_)}/cri-containerd-${ID}.scope`],
  ['systemd, Guaranteed', `/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`],
  ['CRI-O, systemd', `${slice('burstable', UID_)}/crio-${ID}.scope`],
  ['Docker, systemd', `${slice('burstable', UID_)}/docker-${ID}.scope`],
  [
    'systemd path, runtime in cgroupfs mode',
    `/kubepods-besteffort-pod${UID_}.slice:cri-containerd:${ID}`,
  ],
  ['static pod, cgroupfs', `/kubepods/burstable/pod${HASH}/${ID}`],
  ['static pod, systemd', `${slice('burstable', HASH)}/cri-containerd-${ID}.scope`],
] as const;

/** What the runtime sees, and which runtime; crun takes v2 alone. */
const VIEWS = [
  ...(HYBRID ? ([['v1 and v2', { runtime: 'runc', v2: false }]] as const) : []),
  ['v2', { runtime: 'runc', v2: true }],
  ['v2, crun', { runtime: 'crun', v2: true }],
] as const;

describe('a real container', { timeout: 120_000 }, () => {
  before(() => assert.equal(process.getuid?.(), 0, 'containers are made by root'));

  for (const [view, how] of VIEWS) {
    for (const uid of [0, 10001]) {
      it(`is its pod's in each shape of its cgroup: ${view}, uid ${uid}`, async () => {
        await using server = await startPodServer();
        for (const [shape, cgroupsPath] of SHAPES) {
          const annotations = {
            'kubernetes.io/config.mirror': HASH,
            'kubernetes.io/config.hash': HASH,
          };
          const parts = { uid: UID, name: 'own', ids: { web: ID }, version: shape };
          const isStatic = shape.startsWith('static');
          const told = pod(isStatic ? { ...parts, annotations } : parts);
          server.index.put(readPod(told) ?? assert.fail());
          using container = startContainer({
            ...how,
            ...{ cgroupsPath, uid, mounts: { '/sock': server.folder } },
          });
          await using peer = await startPeer('/sock/api.sock', container.exec);
          const selectors = await server.attested();
          // The runtime waits long for what is not ended by itself.
          peer.child.stdin?.end();
          await once(peer.child, 'exit');
          const lines = cgroupOf(container.pid);
          assert.ok(lines.includes(`:${cgroupsPath}\n`), `${shape}: ${lines}`);
          for (const one of [`pod-uid:${UID}`, 'container-name:web', `unix:uid:${uid}`]) {
            assert.ok(selectors.includes(one), `${shape} lacks ${one}: ${selectors.join()}`);
          }
        }
      });
    }
  }

  for (const uid of [0, 10001]) {
    it(`has an Envoy as uid ${uid} that gets its SVID through the mounted folder`, async (t) => {
      await using api = await startApiServer();
      const cluster = createCluster();
      api.behave(cluster.serve);
      await using app = await startApp({
        entries: [
          {
            spiffe_id: SERVER,
            selectors: ['k8s:ns:shop', 'k8s:sa:web', 'k8s:container-name:web', `unix:uid:${uid}`],
          },
        ],
        settings: {
          attestation: {
            kubernetes: {
              ...{ enabled: true, node_name: 'node-1', api_server: `${api.host}:${api.port}` },
              ...{ ca_file: api.caFile, token_file: api.tokenFile },
            },
          },
        },
      });
      const folder = mkdtempSync(join(tmpdir(), 'credence-bootstrap-'));
      t.after(() => rmSync(folder, { recursive: true }));
      const place = await findPlace('/run/credence/api.sock');
      const bootstrap = await readBootstrap('server', place.replacements);
      writeFileSync(join(folder, 'bootstrap.json'), JSON.stringify(bootstrap));
      const binary = await envoyBinary('1.40');
      for (const path of [folder, dirname(app.socketPath)]) chmodSync(path, 0o755);
      using container = startContainer({
        cgroupsPath: `${slice('burstable', UID_)}/cri-containerd-${ID}.scope`,
        ...{ uid, v2: true },
        mounts: {
          '/run/credence': dirname(app.socketPath),
          '/opt': dirname(binary),
          '/bootstrap': folder,
        },
        args: ['/opt/envoy', '--disable-hot-restart', '--config-path', '/bootstrap/bootstrap.json'],
      });
      // It runs before anybody has told of it, as it does on a node.
      cluster.put(pod({ uid: UID, ids: { web: ID } }));
      const port = place.port('serverAdmin');
      try {
        const certs = async () =>
          (await httpGet(port, {}, '/certs').catch(() => ({ body: '' }))).body.includes(SERVER);
        await eventually(certs, { what: 'Envoy holds its certificate', timeoutMs: 20_000 });
      } catch (thrown) {
        throw new Error(`Envoy says:\n${container.log().slice(-3000)}`, { cause: thrown });
      }
      const { proxies } = await app.status();
      assert.deepEqual(
        proxies.map(({ pid }) => pid),
        [container.pid],
      );
      cluster.remove(UID);
      const left = async () => (await app.status()).proxies.length === 0;
      await eventually(left, { what: 'its streams end with its pod', timeoutMs: 2000 });
    });
  }
});
