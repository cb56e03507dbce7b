// Installs what the tests of test/real need of the distribution, if it is missing. Needs root and apt.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** What has to exist, and the Debian package that brings it. */
const NEEDED = {
  '/usr/bin/python3': 'python3',
  '/usr/bin/setpriv': 'util-linux',
  '/usr/bin/unshare': 'util-linux',
  '/usr/bin/mount': 'mount',
  '/usr/sbin/runc': 'runc',
  '/usr/bin/crun': 'crun',
  '/usr/bin/systemd-analyze': 'systemd',
  '/usr/bin/systemd-nspawn': 'systemd-container',
  '/usr/bin/dbus-daemon': 'dbus',
  '/usr/bin/chromium': 'chromium',
  '/usr/bin/etcd': 'etcd-server',
  '/usr/bin/containerd': 'containerd',
  '/usr/lib/cni/ptp': 'containernetworking-plugins',
  '/bin/busybox': 'busybox-static',
  '/usr/sbin/ip': 'iproute2',
  '/usr/bin/buildah': 'buildah',
  '/usr/sbin/debootstrap': 'debootstrap',
  '/usr/sbin/dockerd': 'docker.io',
  '/usr/bin/podman': 'podman',
  '/usr/bin/g++': 'g++',
  '/usr/bin/softhsm2-util': 'softhsm2',
  '/usr/bin/pkcs11-tool': 'opensc',
};

const missing = Object.entries(NEEDED).filter(([path]) => !existsSync(path));
if (missing.length > 0) {
  const packages = [...new Set(missing.map(([, name]) => name))];
  console.error(`credence: installing ${packages.join(', ')} for the tests that need root`);
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', ...packages]]) {
    const { status } = spawnSync('apt-get', args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status === 0) continue;
    console.error(`credence: apt-get ${args[0]} failed: install ${packages.join(', ')} by hand`);
    process.exit(1);
  }
}
