#!/usr/bin/env node
// How the image starts the daemon: `in-pod.js [--keep CAPABILITY,...] run ...`. Enters the cgroup
// namespace of the host where the runtime gave the container one of its own, gives up every
// capability, and becomes the daemon: the same process, with nothing left of what the start needed.
'use strict';
const { closeSync, openSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const koffi = require('koffi');

const CLONE_NEWCGROUP = 0x02000000;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const SETPCAP = 8;
/** What `attestation.unix.discover_path` reads executables of other users with. */
const KEPT = { dac_read_search: 2, sys_ptrace: 19 };

const libc = koffi.load(null);
const setns = libc.func('int setns(int fd, int type)');
const prctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
);
const capget = libc.func('int capget(void *header, void *data)');
const capset = libc.func('int capset(void *header, void *data)');

const note = (text) => process.stderr.write(`credence: ${text}\n`);

/** Whether paths are shown relative to a namespace that is not the host's: they have `..` then. */
const isRelative = () => /^\d+:[^:]*:\/\.\.(\/|$)/m.test(readFileSync('/proc/1/cgroup', 'latin1'));

function enterHostCgroups() {
  if (!isRelative()) return;
  try {
    const fd = openSync('/proc/1/ns/cgroup', 'r');
    const failed = setns(fd, CLONE_NEWCGROUP) !== 0;
    closeSync(fd);
    if (failed) throw new Error(`setns failed with errno ${koffi.errno()}`);
  } catch (thrown) {
    // The daemon says what that means, if it has to attest pods.
    note(`cannot enter the cgroup namespace of the host: ${thrown.message}`);
    note('hint: it takes hostPID and the capabilities SYS_ADMIN and SYS_PTRACE');
  }
}

/** What exec gives a root process: the bounding set and what is inheritable. */
function giveUpCapabilities(keep) {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const held = [];
  for (let n = 0; prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0; n++) {
    if (prctl(PR_CAPBSET_READ, n, 0, 0, 0) === 1 && !keep.includes(n)) held.push(n);
  }
  // The right to do so goes last.
  held.sort((a, b) => Number(a === SETPCAP) - Number(b === SETPCAP));
  const failed = held.filter((n) => prctl(PR_CAPBSET_DROP, n, 0, 0, 0) !== 0);
  // _LINUX_CAPABILITY_VERSION_3; effective, permitted and inheritable of 32 capabilities each.
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x20080522);
  const data = Buffer.alloc(24);
  if (capget(header, data) === 0) {
    data.writeUInt32LE(0, 8);
    data.writeUInt32LE(0, 20);
    capset(header, data);
  }
  if (failed.length === 0) return;
  note(`cannot give up ${failed.length} capabilities: that takes SETPCAP`);
  // Another user has none of them once the daemon runs; root has all that are left.
  if (process.getuid() === 0) process.exit(1);
}

function main(argv) {
  const keep = [];
  if (argv[0] === '--keep') {
    for (const name of (argv[1] ?? '').split(',')) {
      if (!Object.hasOwn(KEPT, name)) {
        note(`--keep is "${name}", expected one of ${Object.keys(KEPT).join(', ')}`);
        process.exit(64);
      }
      keep.push(KEPT[name]);
    }
    argv = argv.slice(2);
  }
  enterHostCgroups();
  giveUpCapabilities(keep);
  // Another word for it is not needed: Node calls the function experimental.
  process.removeAllListeners('warning');
  const args = [process.execPath, join(__dirname, 'credence.js'), ...argv];
  process.execve(process.execPath, args, process.env);
}

main(process.argv.slice(2));
