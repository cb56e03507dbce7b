// The image's entrypoint, in a cgroup namespace of its own as containers have it with cgroup v2. Needs
// root, and the Node 24 that scripts/real-image.mjs fetches: the image's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = join(ROOT, `.cache/image/npm/node_modules/node-linux-${process.arch}/bin/node`);
const HIERARCHY = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup/freezer', '/sys/fs/cgroup'].find(
  (at) => existsSync(join(at, 'cgroup.procs')),
);
/** What stands in the place of the daemon. */
const REPORT = `const { readFileSync } = require('node:fs');
const status = readFileSync('/proc/self/status', 'utf8');
console.log(JSON.stringify({
  args: process.argv.slice(2),
  cgroups: readFileSync('/proc/1/cgroup', 'utf8'),
  bounding: /^CapBnd:\\s+(\\w+)/m.exec(status)[1],
  effective: /^CapEff:\\s+(\\w+)/m.exec(status)[1],
  noNewPrivileges: /^NoNewPrivs:\\s+1/m.test(status),
}));`;

interface Report {
  readonly args: readonly string[];
  readonly cgroups: string;
  readonly bounding: string;
  readonly effective: string;
  readonly noNewPrivileges: boolean;
}

/** Starts it as a container's process: in a cgroup and a cgroup namespace that process 1 is not in. */
function start(t: TestContext, args: string): { report: Report; before: string } {
  assert.equal(process.getuid?.(), 0, 'these tests make cgroups: run them as root');
  assert.ok(existsSync(NODE), `no ${NODE}: npm run test:real fetches it`);
  const folder = mkdtempSync(join(tmpdir(), 'credence-in-pod-'));
  const cgroup = mkdtempSync(join(HIERARCHY ?? assert.fail('no cgroups'), 'credence-'));
  t.after(() => {
    rmSync(folder, { recursive: true });
    execFileSync('rmdir', [cgroup]);
  });
  copyFileSync(join(ROOT, 'scripts/in-pod.cjs'), join(folder, 'in-pod.js'));
  writeFileSync(join(folder, 'credence.js'), REPORT);
  const inside = `cat /proc/1/cgroup >${folder}/before; exec ${NODE} ${folder}/in-pod.js ${args}`;
  const shell = `(echo $BASHPID >${cgroup}/cgroup.procs; exec unshare -C sh -c '${inside}'); exit $?`;
  const out = execFileSync(
    'unshare',
    ['--pid', '--fork', '--mount-proc', 'bash', '--norc', '-c', shell],
    {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], NODE_PATH: join(ROOT, 'node_modules') },
    },
  );
  const before = execFileSync('cat', [join(folder, 'before')], { encoding: 'utf8' });
  return { report: JSON.parse(out) as Report, before };
}

describe('the start in the image', () => {
  it('enters the cgroup namespace of process 1, where its own shows other paths', (t) => {
    const { report, before } = start(t, 'run --config=x');
    assert.match(before, /:\/\.\./);
    assert.doesNotMatch(report.cgroups, /:\/\.\./);
    assert.deepEqual(report.args, ['run', '--config=x']);
  });

  it('leaves no capability, and no way to one', (t) => {
    const { report } = start(t, 'run');
    assert.deepEqual([report.bounding, report.effective], ['0'.repeat(16), '0'.repeat(16)]);
    assert.equal(report.noNewPrivileges, true);
  });

  it('leaves those that it is told to keep', (t) => {
    const { report } = start(t, '--keep dac_read_search,sys_ptrace run');
    assert.equal(BigInt(`0x${report.effective}`), (1n << 2n) | (1n << 19n));
    assert.deepEqual(report.args, ['run']);
  });
});
