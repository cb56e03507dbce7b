import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { parseCgroupLines } from './lines.ts';
import { findPod, type PodRoots } from './pod.ts';

const UID = '2c48913c-b29f-41e7-9350-020968147796';
const U_ = UID.replaceAll('-', '_');
const HASH = '2732ca68f6358eba7703fb6f82a25c94';
const C = '9ca2ac0d4a4a8f2ba8d2e0ad54d1f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2';
const H = 'f00dac0d4a4a8f2ba8d2e0ad54d1f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2';
const VICTIM = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
const V_ = VICTIM.replaceAll('-', '_');

const PLAIN: PodRoots = { prefix: [], kubeletRoots: [], runtimeUnits: ['containerd.service'] };
const KIND: PodRoots = { ...PLAIN, kubeletRoots: ['kubelet'] };
const NESTED: PodRoots = { ...PLAIN, prefix: ['docker', H] };

const BESTEFFORT = `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${U_}.slice`;
const VICTIM_SCOPE = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${V_}.slice/cri-containerd-${H}.scope`;

function find(text: string, roots = PLAIN) {
  return findPod(parseCgroupLines(text.endsWith('\n') ? text : `${text}\n`), roots);
}

const CONTAINER = { podUid: UID, containerId: C };
const POD_ONLY = { podUid: UID, containerId: undefined };

describe('the pod in a cgroup', () => {
  for (const [where, text, expected, roots] of [
    ['v2 cgroupfs, burstable', `0::/kubepods/burstable/pod${UID}/${C}`, CONTAINER],
    ['v2 cgroupfs, guaranteed', `0::/kubepods/pod${UID}/${C}`, CONTAINER],
    ['v2 systemd, besteffort', `0::${BESTEFFORT}/cri-containerd-${C}.scope`, CONTAINER],
    [
      'v2 systemd, guaranteed',
      `0::/kubepods.slice/kubepods-pod${U_}.slice/cri-containerd-${C}.scope`,
      CONTAINER,
    ],
    ['crun below its scope', `0::${BESTEFFORT}/cri-containerd-${C}.scope/container`, CONTAINER],
    ['CRI-O systemd', `0::${BESTEFFORT}/crio-${C}.scope`, CONTAINER],
    ['CRI-O systemd, crun', `0::${BESTEFFORT}/crio-${C}.scope/container`, CONTAINER],
    ['CRI-O cgroupfs', `0::/kubepods/burstable/pod${UID}/crio-${C}`, CONTAINER],
    ['CRI-O conmon in the pod', `0::${BESTEFFORT}/crio-conmon-${C}.scope`, POD_ONLY],
    ['CRI-O conmon elsewhere', `0::/system.slice/crio-conmon-${C}.scope`, undefined],
    ['cri-dockerd systemd', `0::${BESTEFFORT}/docker-${C}.scope`, CONTAINER],
    ['cri-dockerd v1', `11:memory:/kubepods/burstable/pod${UID}/${C}`, CONTAINER],
    [
      'v1, all controllers',
      ['12:pids', '4:memory', '2:cpu,cpuacct', '1:name=systemd']
        .map((head) => `${head}:/kubepods/burstable/pod${UID}/${C}\n`)
        .join(''),
      CONTAINER,
    ],
    ['hybrid, v2 empty', `4:memory:/kubepods/burstable/pod${UID}/${C}\n0::/\n`, CONTAINER],
    [
      "hybrid, v2 in the runtime's unit",
      `4:memory:/kubepods/burstable/pod${UID}/${C}\n0::/system.slice/containerd.service\n`,
      CONTAINER,
    ],
    ['colon form', `0::/kubepods-besteffort-pod${U_}.slice:cri-containerd:${C}`, CONTAINER],
    [
      'colon form in a listed unit',
      `4:memory:/system.slice/containerd.service/kubepods-besteffort-pod${U_}.slice:cri-containerd:${C}`,
      CONTAINER,
    ],
    [
      'static pod, cgroupfs',
      `0::/kubepods/burstable/pod${HASH}/${C}`,
      { podUid: HASH, containerId: C },
    ],
    [
      'static pod, systemd',
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${HASH}.slice/cri-containerd-${C}.scope`,
      { podUid: HASH, containerId: C },
    ],
    [
      'kind, systemd',
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${U_}.slice/cri-containerd-${C}.scope`,
      CONTAINER,
      KIND,
    ],
    ['kind, cgroupfs', `0::/kubelet/kubepods/besteffort/pod${UID}/${C}`, CONTAINER, KIND],
    ["kind, from the engine's host", `0::/system.slice/docker-${H}.scope/kubelet.slice`, undefined],
    [
      'old kind with its prefix',
      `13:name=systemd:/docker/${H}/kubepods/besteffort/pod${UID}/${C}`,
      CONTAINER,
      NESTED,
    ],
    ['gVisor', `0::/kubepods/burstable/pod${UID}/${H}`, { podUid: UID, containerId: H }],
    ['Kata', `0::/kubepods/burstable/pod${UID}/kata_${C}`, POD_ONLY],
    ['Kata overhead', `0::/kata_overhead/${C}`, undefined],
    ['sysbox', `4:memory:/kubepods/pod${UID}/${C}/syscont-cgroup-root/x`, CONTAINER],
    ['docker in a pod', `0::/kubepods/burstable/pod${UID}/${C}/docker/${H}`, CONTAINER],
    ['podman below a pod', `0::/kubepods/burstable/pod${UID}/libpod-${C}`, CONTAINER],
    ['plain docker', `0::/system.slice/docker-${C}.scope`, undefined],
    ['a service', '0::/system.slice/nginx.service', undefined],
    ['a session', '0::/user.slice/user-1000.slice/session-3.scope', undefined],
    ['the root', '0::/', undefined],
  ] as const) {
    it(`is found: ${where}`, () => {
      assert.deepEqual(find(text, roots), expected);
    });
  }

  for (const [trick, text, expected] of [
    [
      'a container that makes cgroups like those of a victim',
      `0::${BESTEFFORT}/cri-containerd-${C}.scope/${VICTIM_SCOPE}`,
      CONTAINER,
    ],
    [
      'the same on v1 with a line of its own',
      `4:memory:/kubepods/pod${UID}/${C}/kubepods/pod${VICTIM}/${H}\n0::/kubepods/pod${UID}/${C}\n`,
      CONTAINER,
    ],
    [
      'a user with a delegated subtree',
      `0::/user.slice/user-10001.slice/user@10001.service/app.slice/${VICTIM_SCOPE}`,
      undefined,
    ],
    [
      "a user's own systemd",
      `0::/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${V_}.slice/spoof.service`,
      undefined,
    ],
    [
      'the colon form in the folder of a user',
      `0::/user.slice/user-1000.slice/user@1000.service/kubepods-besteffort-pod${V_}.slice:cri-containerd:${H}`,
      undefined,
    ],
    ['a container id that is too long', `0::/kubepods/pod${UID}/${C}${C}`, POD_ONLY],
    ['upper-case digits', `0::/kubepods/pod${UID}/${C.toUpperCase()}`, POD_ONLY],
    ['an empty segment', `0::/kubepods/pod${UID}//${C}`, POD_ONLY],
  ] as const) {
    it(`is not taken from ${trick}`, () => {
      assert.deepEqual(find(text), expected);
    });
  }

  for (const [what, text] of [
    ['a pod whose name goes on', `0::/kubepods/pod${UID}x/${C}`],
    ['a pod in capitals', `0::/kubepods/pod${UID.toUpperCase()}/${C}`],
    [
      "a class that is not its parent's",
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod${U_}.slice/cri-containerd-${C}.scope`,
    ],
    ['no pod at all', '0::/kubepods/burstable'],
    [
      'dashes where systemd has none',
      `0::/kubepods.slice/kubepods-pod${UID}.slice/crio-${C}.scope`,
    ],
    [
      'the colon form in a unit that nobody told of',
      `4:memory:/system.slice/evil.service/kubepods-besteffort-pod${U_}.slice:cri-containerd:${C}`,
    ],
    ['the colon form of another runtime', `0::/kubepods-besteffort-pod${U_}.slice:crio:${C}`],
    ['a root of pods that nobody told of', `0::/kubelet/kubepods/besteffort/pod${UID}/${C}`],
    [
      'the same as systemd names it',
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${U_}.slice/crio-${C}.scope`,
    ],
    ['a prefix that nobody told of', `0::/docker/${H}/kubepods/besteffort/pod${UID}/${C}`],
    ['a pod below colons in a name', `0::/a:b/kubepods/pod${UID}/${C}`],
    ['a pod below blanks in a name', `0::/ kubepods/pod${UID}/\\${C}`],
    ['a pod below an empty segment', `0:://kubepods/pod${UID}/${C}`],
    ['two pods', `4:memory:/kubepods/pod${UID}/${C}\n0::/kubepods/pod${VICTIM}/${C}\n`],
    ['two containers', `4:memory:/kubepods/pod${UID}/${C}\n0::/kubepods/pod${UID}/${H}\n`],
    ['a container and none', `4:memory:/kubepods/pod${UID}/${C}\n0::/kubepods/pod${UID}/conmon\n`],
    ["paths of a reader's own namespace", '0::/../../../burstable/pod1/c'],
    ['a reader in the very container', '0::/..'],
    ['no newline at the end', '0::/kubepods/pod\n0::/x:'],
    ['no path', '0::\n'],
    ['nothing that is a cgroup', 'hello\n'],
    ['more lines than there are hierarchies', '0::/\n'.repeat(100)],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => find(text), { code: 'ERR_ATTESTATION' });
    });
  }

  it('takes a removed cgroup for the end of the process', () => {
    assert.throws(() => find(`0::/kubepods/pod${UID}/${C} (deleted)`), { code: 'ERR_PEER_GONE' });
  });

  it('refuses a pod below a path of anybody', () => {
    const segment = fc.stringMatching(/^[ -.0-9:-~]{1,12}$/).filter((text) => text !== '..');
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 4 }), (above) => {
        fc.pre(above[0] !== 'kubepods' && above[0] !== 'kubepods.slice');
        fc.pre(above[0] !== 'user.slice');
        assert.throws(() => find(`0::/${above.join('/')}/${VICTIM_SCOPE}`), {
          code: 'ERR_ATTESTATION',
        });
      }),
    );
  });

  it('ignores whatever is below the container', () => {
    const segment = fc
      .string({ unit: 'binary-ascii', minLength: 1, maxLength: 20 })
      .filter((text) => !/[/\n]/.test(text) && text !== '..' && !text.endsWith(' (deleted)'));
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 5 }), (below) => {
        const path = [`/kubepods/pod${UID}/${C}`, ...below].join('/');
        assert.deepEqual(find(`0::${path}`), CONTAINER);
      }),
    );
  });

  it('throws nothing but its own error for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        try {
          findPod(parseCgroupLines(text), KIND);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError);
        }
      }),
    );
  });
});
