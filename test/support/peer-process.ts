import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';

/** A process that connects to a Unix socket and stays until it is told to end. */
export interface PeerProcess extends AsyncDisposable {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Sends one line to it and waits for the one it answers. */
  ask(line: string): Promise<string>;
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** The distribution's own where there is one: other users may not reach a home folder's. */
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** A Python program that connects to argv[1]; each line of `steps` handles one word from stdin. */
const PROGRAM = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("connected", flush=True)
for line in sys.stdin:
    word = line.strip()
    if word.startswith("uid "):
        os.setgroups([]); os.setresgid(*[int(word[4:])] * 3); os.setresuid(*[int(word[4:])] * 3)
    elif word.startswith("groups "):
        os.setgroups([int(word[7:])])
    elif word.startswith("exec "):
        os.set_inheritable(s.fileno(), True)
        os.execvp("sleep", ["sleep", word[5:]])
    elif word.startswith("run "):
        os.set_inheritable(s.fileno(), True)
        os.execv(word[4:], [word[4:], "30"])
    elif word == "hide":
        # PR_SET_DUMPABLE: its files in /proc belong to root from now on.
        import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    elif word == "fork":
        # The child keeps the socket; the one that connected ends and stays a zombie or is reaped.
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            import time; time.sleep(60)
            os._exit(0)
        os._exit(0)
    elif word == "again":
        t = socket.socket(socket.AF_UNIX); t.connect(sys.argv[1]); globals()["t"] = t
    elif word.startswith("relay "):
        # Whoever connects there speaks through this process's connection.
        import threading
        r = socket.socket(socket.AF_UNIX); r.bind(word[6:]); r.listen()
        def copy(a, b):
            while part := a.recv(65536): b.sendall(part)
            b.shutdown(socket.SHUT_WR)
        def serve():
            c = r.accept()[0]
            threading.Thread(target=copy, args=(c, s), daemon=True).start()
            copy(s, c)
        threading.Thread(target=serve, daemon=True).start()
    elif word == "drop":
        s.close()
    print("done " + word, flush=True)
`;

/** Starts such a process and waits until it has connected; `wrapper` runs before it, as in setpriv. */
export async function startPeer(
  socketPath: string,
  wrapper: readonly string[] = [],
): Promise<PeerProcess> {
  const words = [...wrapper, PYTHON, '-c', PROGRAM, socketPath];
  const child = spawn(words[0] ?? PYTHON, words.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  const waiting: ((line: string) => void)[] = [];
  const lines: string[] = [];
  child.stdout.on('data', (part: Buffer) => {
    text += part.toString();
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n')) {
      const line = text.slice(0, at);
      text = text.slice(at + 1);
      const next = waiting.shift();
      if (next) next(line);
      else lines.push(line);
    }
  });
  const line = () =>
    new Promise<string>((resolve, reject) => {
      const ready = lines.shift();
      if (ready !== undefined) return resolve(ready);
      waiting.push(resolve);
      child.once('error', reject);
      // Not at its exit: what it wrote, or what its child is to write, may still be on the way.
      child.once('close', () => reject(new Error('the peer process ended early')));
    });
  const end = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  };
  await line();
  if (child.pid === undefined) throw new Error('the peer process did not start');
  return {
    pid: child.pid,
    child,
    ask(words) {
      child.stdin.write(`${words}\n`);
      return line();
    },
    end,
    [Symbol.asyncDispose]: () => end(),
  };
}
