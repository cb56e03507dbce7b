import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's SoftHSM2. */
export const SOFTHSM = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/local/lib/softhsm/libsofthsm2.so'];

export interface SoftTokens {
  readonly module: string;
  /** Where the tokens are; moved away, none is there any more. */
  readonly folder: string;
  /** What SoftHSM has to be told, for the environment of whoever loads it. */
  readonly env: { readonly SOFTHSM2_CONF: string };
  /** Makes a token with the PIN 1234. */
  add(label: string): void;
  /** Runs pkcs11-tool on a token, logged in; returns what it says and throws when it fails. */
  tool(label: string, ...args: string[]): string;
}

/** SoftHSM2 with tokens in a folder of their own: nothing of the machine's is touched. */
export function softTokens(dir: string): SoftTokens {
  const module = SOFTHSM.find((path) => existsSync(path));
  if (module === undefined) throw new Error('SoftHSM2 is missing: apt-get install softhsm2 opensc');
  const folder = join(dir, 'tokens');
  const conf = join(dir, 'softhsm2.conf');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    conf,
    `directories.tokendir = ${folder}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  const env = { SOFTHSM2_CONF: conf };
  const run = (command: string, args: readonly string[]) => {
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      env: { ...process.env, ...env },
      encoding: 'utf8',
      timeout: 60_000,
    });
    if (status === 0) return stdout;
    throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stdout + stderr}`);
  };
  return {
    module,
    folder,
    env,
    add: (label) => {
      const pins = ['--so-pin', '12345678', '--pin', '1234'];
      run('softhsm2-util', ['--init-token', '--free', '--label', label, ...pins]);
    },
    tool: (label, ...args) => {
      const login = ['--module', module, '--token-label', label, '--login', '--pin', '1234'];
      return run('pkcs11-tool', [...login, ...args]);
    },
  };
}
