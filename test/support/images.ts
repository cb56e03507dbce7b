import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** An image out of files of this machine, where no registry is. */
export interface ImageParts {
  /** As manifests name it, with registry and tag. */
  readonly name: string;
  /** Executables by their path in the image; what they are linked with comes along. */
  readonly executables: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
}

/** Writes it as an archive that containerd imports; returns the path. */
export function writeImage(
  folder: string,
  { name, executables, links, entrypoint }: ImageParts,
): string {
  const work = join(folder, name.replaceAll(/[/:]/g, '_'));
  const tree = join(work, 'tree');
  const put = (from: string, to: string) => {
    mkdirSync(dirname(join(tree, to)), { recursive: true });
    copyFileSync(realpathSync(from), join(tree, to));
    chmodSync(join(tree, to), 0o755);
  };
  for (const [to, from] of Object.entries(executables)) {
    put(from, to);
    for (const library of librariesOf(from)) put(library, library);
  }
  for (const [path, target] of Object.entries(links ?? {})) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    symlinkSync(target, join(tree, path));
  }
  for (const name of ['tmp', 'etc']) mkdirSync(join(tree, name), { recursive: true });
  const tar = (file: string, from: string, ...names: string[]) =>
    execFileSync('tar', ['--owner=0', '--group=0', '-C', from, '-cf', join(work, file), ...names]);
  tar('layer.tar', tree, '.');
  const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
  const config = JSON.stringify({
    ...{ architecture: process.arch === 'x64' ? 'amd64' : process.arch, os: 'linux' },
    config: { Entrypoint: entrypoint, Env: ['PATH=/bin:/usr/bin'] },
    rootfs: {
      type: 'layers',
      diff_ids: [`sha256:${digest(readFileSync(join(work, 'layer.tar')))}`],
    },
    history: [{}],
  });
  const configName = `${digest(config)}.json`;
  writeFileSync(join(work, configName), config);
  writeFileSync(
    join(work, 'manifest.json'),
    JSON.stringify([{ Config: configName, RepoTags: [name], Layers: ['layer.tar'] }]),
  );
  tar('image.tar', work, 'manifest.json', configName, 'layer.tar');
  return join(work, 'image.tar');
}

function librariesOf(executable: string): string[] {
  try {
    const out = execFileSync('ldd', [executable], { encoding: 'utf8', stdio: 'pipe' });
    return Array.from(out.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm), ([, path = '']) => path);
  } catch {
    // Linked with nothing.
    return [];
  }
}
