import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { findContainer, type ContainerRoots } from './container.ts';
import { parseCgroupLines } from './lines.ts';

const C = '9ca2ac0d4a4a8f2ba8d2e0ad54d1f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2';
const V = 'f00dac0d4a4a8f2ba8d2e0ad54d1f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2';
const USER = '/user.slice/user-1000.slice/user@1000.service';
const PLAIN: ContainerRoots = { parents: [], podsFollowed: true };
const CUSTOM: ContainerRoots = { ...PLAIN, parents: [['shop.slice'], ['lab', 'engines']] };

function find(text: string, roots = PLAIN) {
  const place = findContainer(parseCgroupLines(text.endsWith('\n') ? text : `${text}\n`), roots);
  if (!place) return undefined;
  const { engine, id, uid, unproven } = place;
  return [engine, id, ...(uid === undefined ? [] : [uid]), ...(unproven ? ['unproven'] : [])];
}

const DOCKER = ['docker', C];
const PODMAN = ['podman', C];
const OF_1000 = ['podman', C, 1000];

function findOrRefuse(text: string) {
  try {
    return find(text);
  } catch {
    return undefined;
  }
}

describe('the container in a cgroup', () => {
  for (const [where, text, expected, roots] of [
    ['docker, v2 cgroupfs', `0::/docker/${C}`, DOCKER],
    ['docker, v2 systemd', `0::/system.slice/docker-${C}.scope`, DOCKER],
    [
      'docker, v1, all controllers',
      `5:memory:/docker/${C}\n2:cpu,cpuacct:/docker/${C}\n1:name=systemd:/docker/${C}\n0::/\n`,
      DOCKER,
    ],
    [
      "docker, hybrid, v2 in the engine's unit",
      `4:memory:/docker/${C}\n0::/system.slice/docker.service\n`,
      DOCKER,
    ],
    ['an init of its own below', `0::/system.slice/docker-${C}.scope/init.scope`, DOCKER],
    ['a runtime in the other mode', `0::/system.slice:docker:${C}`, DOCKER],
    ['podman, runc', `0::/machine.slice/libpod-${C}.scope`, PODMAN],
    ['podman, crun', `0::/machine.slice/libpod-${C}.scope/container`, PODMAN],
    ['podman, cgroupfs', `0::/libpod_parent/libpod-${C}`, PODMAN],
    ['podman, a pod', `0::/machine.slice/machine-libpod_pod_${V}.slice/libpod-${C}.scope`, PODMAN],
    ['podman, a pod, cgroupfs', `0::/libpod_parent/${V}/libpod-${C}`, PODMAN],
    [
      'podman in a service',
      `0::/system.slice/web.service/libpod-payload-${C}`,
      [...PODMAN, 'unproven'],
    ],
    [
      'podman in a service of an instance',
      `0::/system.slice/system-web.slice/web@1.service/libpod-payload-${C}`,
      [...PODMAN, 'unproven'],
    ],
    ['rootless podman', `0::${USER}/user.slice/libpod-${C}.scope/container`, OF_1000],
    [
      'rootless podman, a pod',
      `0::${USER}/user.slice/user-libpod_pod_${V}.slice/libpod-${C}.scope`,
      OF_1000,
    ],
    ['rootless podman, a service', `0::${USER}/app.slice/web.service/libpod-payload-${C}`, OF_1000],
    ['a parent of its own, docker', `0::/shop.slice/docker-${C}.scope`, DOCKER, CUSTOM],
    ['a parent of its own, cgroupfs', `0::/lab/engines/${C}`, DOCKER, CUSTOM],
    ['a parent of its own, podman', `0::/shop.slice/libpod-${C}.scope/container`, PODMAN, CUSTOM],
    [
      'a relative parent, v1 cgroupfs',
      `4:memory:/engine/shop.slice/${C}\n1:cpu:/shop.slice/${C}\n`,
      DOCKER,
      CUSTOM,
    ],
    ["podman's monitor", `0::/machine.slice/libpod-conmon-${C}.scope`, undefined],
    ["podman's monitor, cgroupfs", '0::/libpod_parent/conmon', undefined],
    ["a service's own monitor", '0::/system.slice/web.service/supervisor', undefined],
    ['the engine itself', '0::/system.slice/docker.service', undefined],
    ['another machine', '0::/machine.slice/machine-qemu-1-vm.scope/libvirt', undefined],
    ['a pod', `0::/kubepods.slice/kubepods-pod1.slice/docker-${C}.scope`, undefined],
    ['a service', '0::/system.slice/nginx.service', undefined],
    ['a session', '0::/user.slice/user-1000.slice/session-3.scope', undefined],
    ['the root', '0::/', undefined],
  ] as const) {
    it(`is found: ${where}`, () => {
      assert.deepEqual(find(text, roots), expected);
    });
  }

  for (const [trick, text, expected] of [
    ['a container that makes cgroups of another', `0::/docker/${C}/docker/${V}`, DOCKER],
    [
      'a container that makes cgroups of podman',
      `0::/system.slice/docker-${C}.scope/machine.slice/libpod-${V}.scope`,
      DOCKER,
    ],
    [
      'the same on v1 with a line of its own',
      `4:memory:/docker/${C}/docker/${V}\n0::/docker/${C}\n`,
      DOCKER,
    ],
    ["a user's own systemd", `0::${USER}/system.slice/docker-${V}.scope`, undefined],
    ["a user's own slice of the name", `0::${USER}/docker/${V}`, undefined],
    [
      "a user's own container in another user's",
      `0::${USER}/app.slice/user.slice/user-0.slice/user@0.service/libpod-${C}.scope`,
      OF_1000,
    ],
    [
      "another user's manager",
      `0::/user.slice/user-1000.slice/user@0.service/libpod-${C}`,
      undefined,
    ],
    ['the colon form of a user', `0::${USER}/system.slice:docker:${V}`, undefined],
  ] as const) {
    it(`is not taken from ${trick}`, () => {
      assert.deepEqual(find(text), expected);
    });
  }

  for (const [what, text] of [
    ['an id that is too long', `0::/docker/${C}${C}`],
    ['upper-case digits', `0::/docker/${C.toUpperCase()}`],
    ['a build', '0::/docker/buildkit/abc'],
    ['no container at all', '0::/docker'],
    ['an empty segment', `0::/docker//${C}`],
    ['a scope of docker that has no id', '0::/system.slice/docker-abc.scope'],
    ['a scope of podman that has no id', `0::/machine.slice/libpod-${C}x.scope`],
    ['a pod without a container', `0::/machine.slice/machine-libpod_pod_${V}.slice`],
    ['a container that podman would not name so', `0::/libpod_parent/${C}`],
    ['the other mode without an id', '0::/system.slice:docker:abc'],
    [
      'a session that names podman',
      `0::/user.slice/user-1000.slice/session-3.scope/libpod-payload-${C}`,
    ],
    ['a service that names podman', `0::/system.slice/evil.service/libpod-${V}.scope`],
    ['a payload further down', `0::/system.slice/evil.service/a/libpod-payload-${V}`],
    ['a payload in a slice of its own', `0::/web.slice/x.service/libpod-payload-${V}`],
    ['a scope of docker below a parent that nobody told of', `0::/shop.slice/docker-${V}.scope`],
    ['a parent that nobody told of', `0::/lab/engines/${C}`],
    ['a service that names docker', `0::/system.slice/evil.service/docker/${V}`],
    ['another place', `0::/a/docker/${V}`],
    ['a container of another engine', `0::/default/${C}`],
    ['a container of another engine, systemd', `0::/system.slice/nerdctl-${C}.scope`],
    [
      'one in its place and another one in none',
      `4:memory:/docker/${C}\n1:cpu:/shop.slice/${V}\n0::/\n`,
    ],
    ['two containers', `4:memory:/docker/${C}\n0::/docker/${V}\n`],
    ['two engines', `4:memory:/docker/${C}\n0::/machine.slice/libpod-${C}.scope\n`],
    [
      "the machine's and a user's",
      `4:memory:/machine.slice/libpod-${C}.scope\n0::${USER}/libpod-${C}.scope\n`,
    ],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(() => find(text), { code: 'ERR_ATTESTATION' });
    });
  }

  for (const path of [
    `/kubepods.slice/kubepods-pod1.slice/docker-${C}.scope`,
    `/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/${C}`,
    `/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/crio-${C}`,
  ]) {
    it(`refuses a container in a pod when nobody tells of pods: ${path}`, () => {
      const roots = { ...PLAIN, podsFollowed: false };
      assert.throws(() => find(`0::${path}`, roots), { code: 'ERR_ATTESTATION' });
      assert.equal(find(`0::${path}`), undefined);
    });
  }

  it("never finds the machine's container below a path of anybody", () => {
    const segment = fc.stringMatching(/^[ -.0-9:-~]{1,12}$/).filter((text) => text !== '..');
    const forms = [
      `docker/${V}`,
      `system.slice/docker-${V}.scope`,
      `machine.slice/libpod-${V}.scope`,
      `libpod_parent/libpod-${V}`,
    ];
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(segment, { minLength: 1, maxLength: 4 }),
          fc.array(segment, { maxLength: 3 }).map((below) => [USER.slice(1), ...below]),
        ),
        fc.constantFrom(...forms),
        (above, form) => {
          const path = [...above, form].join('/');
          fc.pre(!/^(?:docker|libpod_parent|machine\.slice|system\.slice)\//.test(path));
          fc.pre(!/^(?:libpod|docker)|:(?:docker|libpod):/.test(path));
          const found = findOrRefuse(`0::/${path}`);
          assert.ok(found === undefined || found[2] === 1000, String(found));
        },
      ),
    );
  });

  it('ignores whatever is below the container', () => {
    const segment = fc
      .string({ unit: 'binary-ascii', minLength: 1, maxLength: 20 })
      .filter((text) => !/[/\n]/.test(text) && text !== '..' && !text.endsWith(' (deleted)'));
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 5 }), (below) => {
        assert.deepEqual(find(`0::${[`/docker/${C}`, ...below].join('/')}`), DOCKER);
      }),
    );
  });

  it('throws nothing but its own error for any text', () => {
    const piece = fc.constantFrom('0::/', 'docker', '/', C, 'libpod-', '.scope', '\n', ':', USER);
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((all) => all.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          findContainer(parseCgroupLines(text), CUSTOM);
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError);
        }
      }),
    );
  });
});
