import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startChild } from './child.ts';
import { eventually } from './eventually.ts';

const run = promisify(execFile);

/** A systemd of its own, as process 1 of a container over this machine's files. */
export interface SystemdMachine extends AsyncDisposable {
  /** Runs a command in it, as root; rejects when that fails. */
  run(command: string, ...args: readonly string[]): Promise<string>;
}

/** Nothing that would start by itself is wanted. */
const MASKED = ['timers.target', 'systemd-resolved.service', 'systemd-networkd.service'];

/**
 * What is written in it stays in it. Its cgroups are those of a machine that has cgroup v2 alone, so
 * that it boots wherever the tests run. Container engines may do in it what they do on a machine.
 */
const BOOT = `
set -e
umount -l /sys/fs/cgroup; mkdir -p /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
mount -t overlay overlay -o lowerdir=/,upperdir=$1/up,workdir=$1/work $1/root
rm -f $1/root/etc/machine-id; touch $1/root/etc/machine-id
for unit in ${MASKED.join(' ')}; do ln -sf /dev/null $1/root/etc/systemd/system/$unit; done
exec systemd-nspawn --quiet --directory=$1/root --register=no --keep-unit --private-network \\
  --resolv-conf=off --capability=all --system-call-filter='@keyring bpf' --bind=$2 --machine=$3 \\
  --boot systemd.unit=basic.target
`;

/** Boots it, which takes a few seconds. @param shared a folder that it has under the same path. */
export async function bootSystemd(shared: string): Promise<SystemdMachine> {
  const folder = mkdtempSync('/var/tmp/credence-systemd-');
  for (const name of ['up', 'work', 'root']) mkdirSync(join(folder, name));
  const name = `credence-${process.pid}`;
  const args = ['--mount', '--propagation', 'private', 'bash', '-c', BOOT, 'boot', folder, shared];
  const child = await startChild('unshare', [...args, name]);
  const inside = (leader: string, ...words: readonly string[]) =>
    run('nsenter', ['--all', '--target', leader, ...words]);
  const leader = await eventually(
    async () => {
      const path = `/proc/${child.pid}/task/${child.pid}/children`;
      const pid = readFileSync(path, 'latin1').trim().split(' ')[0] ?? '';
      const { stdout } = await inside(pid, 'busctl', 'status', 'org.freedesktop.systemd1');
      return stdout.includes('PID=1') && pid;
    },
    { what: 'systemd', timeoutMs: 60_000, hopeless: () => child.ended() && child.log() },
  );
  return {
    run: async (...words) => (await inside(leader, ...words)).stdout,
    async [Symbol.asyncDispose]() {
      const cgroup = /^0::(.*)\/payload\b/m.exec(readFileSync(`/proc/${leader}/cgroup`, 'latin1'));
      // Its first process takes all others with it.
      execFileSync('kill', ['-KILL', leader]);
      await child.stop();
      if (cgroup) await removeCgroups(cgroup[1] ?? '');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Those that nspawn made for its machine and for itself. */
async function removeCgroups(path: string): Promise<void> {
  const v2 = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((root) =>
    existsSync(join(root, 'cgroup.procs')),
  );
  const remaining = () =>
    ['payload', 'supervisor']
      .map((name) => join(v2 ?? '', path, name))
      .filter((folder) => existsSync(folder));
  // What has been killed takes a moment to leave.
  await eventually(
    () => {
      for (const folder of remaining()) {
        execFileSync('find', [folder, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']);
      }
      return remaining().length === 0;
    },
    { what: 'the end of its cgroups' },
  );
}
