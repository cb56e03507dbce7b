import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unconnectedSocket } from '../../bench/client/system.ts';
import { PYTHON } from './peer-process.ts';

/** Processes that connect one after the other, each through a socket that this one holds and uses. */
export interface Borrowed extends AsyncDisposable {
  /** Lets the next of them connect, after the former has ended; its pid. */
  next(cgroup?: string): Promise<number>;
  /** Where what is sent goes through the socket of the nth, from 0. */
  path(n: number): string;
  /** Ends the one that is there; its socket stays open. */
  endProcess(): Promise<void>;
}

/**
 * One for each line: `next CGROUP` forks one that connects descriptor 3, 4, ... from there; with
 * `same` in its environment it has the pid of the former.
 */
const PROGRAM = `
import os, signal, socket, sys
path, same = sys.argv[1], sys.argv[2] == "same"
child, fd = 0, 3
def end():
    global child
    if child: os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
def fork(cgroup, go):
    pid = os.fork()
    if pid: return pid
    os.read(go[0], 1)
    if cgroup: open(cgroup + "/cgroup.procs", "w").write("0")
    s = socket.socket(fileno=fd); s.connect(path)
    os.write(told[1], b"x")
    signal.pause()
for line in sys.stdin:
    word, _, cgroup = line.strip().partition(" ")
    former = child
    end(); child = 0
    if word == "end":
        print("ended", flush=True); continue
    go, told = os.pipe(), os.pipe()
    for attempt in range(500):
        if same and former: open("/proc/sys/kernel/ns_last_pid", "w").write(str(former - 1))
        child = fork(cgroup, go)
        if not same or not former or child == former: break
        end()
    os.write(go[1], b"x"); os.read(told[0], 1)
    os.close(fd); fd += 1
    print(child, flush=True)
end()
`;

/** @param samePid each has the number of the one before it; needs root. */
export function startBorrowed(
  socketPath: string,
  { count = 2, samePid = false }: { count?: number; samePid?: boolean } = {},
): Borrowed {
  const folder = mkdtempSync(join(tmpdir(), 'credence-borrowed-'));
  const fds = Array.from({ length: count }, () => unconnectedSocket());
  const child = spawn(PYTHON, ['-c', PROGRAM, socketPath, samePid ? 'same' : 'any'], {
    stdio: ['pipe', 'pipe', 'inherit', ...fds],
  });
  const sockets: Socket[] = [];
  const path = (n: number) => join(folder, `${n}.sock`);
  const servers = fds.map((_, n) => {
    const server = createServer((client) => {
      const socket = sockets[n];
      if (!socket) {
        client.destroy();
        return;
      }
      client.on('error', () => undefined);
      client.pipe(socket).pipe(client);
    });
    return server.listen(path(n));
  });
  const ask = async (line: string): Promise<string> => {
    const said = once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
    child.stdin?.write(`${line}\n`);
    return String((await said)[0]).trim();
  };
  return {
    async next(cgroup = '') {
      const pid = Number(await ask(`next ${cgroup}`));
      const fd = fds[sockets.length] ?? -1;
      const socket = new Socket({ fd, readable: true, writable: true });
      socket.on('error', () => undefined);
      sockets.push(socket);
      return pid;
    },
    path,
    async endProcess() {
      await ask('end');
    },
    async [Symbol.asyncDispose]() {
      child.stdin?.end();
      if (child.exitCode === null) await once(child, 'exit');
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
