import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import { createAccountNames } from '../../src/attestation/names.ts';
import { createUnixAttestor } from '../../src/attestation/unix.ts';
import { systemClock } from '../../src/core/clock.ts';
import { createKubernetesAttestor } from '../../src/kubernetes/attestor.ts';
import { createPodIndex, type PodIndex } from '../../src/kubernetes/pod-index.ts';
import { createPods } from '../../src/kubernetes/pods.ts';
import { readPod } from '../../src/kubernetes/pod.ts';
import { startAttestingServer, type AttestingServer } from './attesting-server.ts';
import { pod, type PodParts } from './pods.ts';

export const UID = '2c48913c-b29f-41e7-9350-020968147796';
export const UID_ = UID.replaceAll('-', '_');
/** Of another pod of the node, which somebody would like to be. */
export const VICTIM = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
export const VICTIM_ = VICTIM.replaceAll('-', '_');
export const ID = 'ab'.repeat(32);
export const VICTIM_ID = 'cd'.repeat(32);
export const HASH = '2732ca68f6358eba7703fb6f82a25c94';

/** A listener for all users that attests by user and pod, on a node with two pods and a static one. */
export interface PodServer extends AttestingServer {
  readonly folder: string;
  readonly index: PodIndex;
  /** Selectors of the next connection, without their type; rejects as an attestation does. */
  attested(): Promise<readonly string[]>;
}

const PODS: readonly PodParts[] = [
  { uid: UID, name: 'own', ids: { web: ID } },
  { uid: VICTIM, name: 'victim', containers: ['bank'], ids: { bank: VICTIM_ID } },
];

export async function startPodServer(): Promise<PodServer> {
  const index = createPodIndex('node-1', assert.ifError);
  for (const parts of PODS) index.put(readPod(pod(parts)) ?? assert.fail());
  const closing = new AbortController();
  const relist = () => Promise.resolve();
  const server = await startAttestingServer({
    attestors: [
      createUnixAttestor({ names: createAccountNames(), executable: undefined }),
      createKubernetesAttestor({
        roots: { prefix: [], kubeletRoots: [], runtimeUnits: ['containerd.service'] },
        pods: createPods({ index, clock: systemClock, closing: closing.signal, relist }),
        index,
        clock: systemClock,
        onListenerError: assert.ifError,
        ephemeral: false,
      }),
    ],
  });
  const folder = dirname(server.path);
  chmodSync(folder, 0o755);
  chmodSync(server.path, 0o777);
  return {
    ...server,
    folder,
    index,
    async attested() {
      const { connection } = await server.next();
      const { selectors } = await connection.caller({ signal: AbortSignal.timeout(5000) });
      return selectors.map((one) => one.replace(/^k8s:/, ''));
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new Error('the end of the test'));
      await server[Symbol.asyncDispose]();
    },
  };
}
