import { mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import type { Terminal } from './command.ts';
import { foreignLink } from './foreign-link.ts';
import { look, type Look } from './look.ts';
import type { FetchedSecrets } from './sds-client.ts';

/**
 * Files as SPIRE's agent names them; each one is replaced whole, keys are for the owner alone. What
 * an earlier call wrote beyond the number of this time goes: it would be taken for still granted.
 * Throws `ERR_USAGE` for what is no folder, `ERR_DENIED` for one that another user's link leads to,
 * `ERR_DISK` for one that cannot be written.
 */
export function writeSecrets(
  folder: string,
  secrets: FetchedSecrets,
  svids: boolean,
  { err }: Pick<Terminal, 'err'>,
  see: Look = look,
): void {
  prepareFolder(folder, err, see);
  const put = (name: string, text: string, mode: number) => {
    writeFileAtomic(join(folder, name), text, mode);
    err(`wrote ${join(folder, name)}\n`);
  };
  const own = secrets.bundles[0]?.rootsPem ?? '';
  if (!svids) {
    secrets.bundles.forEach(({ rootsPem }, n) => put(`bundle.${n}.pem`, rootsPem, 0o644));
    return removeBeyond(folder, /^bundle\.(\d+)\.pem$/, secrets.bundles.length, err);
  }
  secrets.certificates.forEach(({ chainPem, keyPem }, n) => {
    put(`svid.${n}.key`, keyPem, 0o600);
    put(`svid.${n}.pem`, chainPem, 0o644);
    put(`bundle.${n}.pem`, own, 0o644);
  });
  const numbered = /^(?:svid\.(\d+)\.(?:key|pem)|bundle\.(\d+)\.pem)$/;
  removeBeyond(folder, numbered, secrets.certificates.length, err);
}

function prepareFolder(folder: string, err: Terminal['err'], see: Look): void {
  const link = foreignLink(folder, see);
  if (link) {
    throw new IdentityError(
      'ERR_DENIED',
      `--write ${folder}: ${link.path} is a link of uid ${link.uid}, who could turn it elsewhere`,
      { hint: 'name a folder of your own' },
    );
  }
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (thrown) {
    const there = look(`${folder}/.`)?.isDirectory() === true;
    if (!there) throw unfitFolder(folder, thrown);
  }
  const { uid, mode } = see(realpathSync(folder)) ?? statSync(folder);
  const me = process.geteuid?.() ?? 0;
  const open = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
  if (uid === me && !open) return;
  const fault = uid === me ? 'may be written by everybody' : `belongs to uid ${uid}`;
  err(`warning: ${folder} ${fault}: others can exchange what is written there\n`);
  err('hint: name a folder of your own\n');
}

function unfitFolder(folder: string, cause: unknown): IdentityError {
  const code = systemCode(cause);
  if (code === 'ENOENT') {
    const parent = dirname(resolve(folder));
    return new IdentityError('ERR_USAGE', `--write ${folder}: there is no folder ${parent}`, {
      cause,
      hint: `only the last folder is made; mkdir -p ${parent} makes the others`,
    });
  }
  if (code === 'EEXIST' || code === 'ENOTDIR') {
    const what = code === 'EEXIST' ? 'it is a file' : 'a part of its path is a file';
    return new IdentityError('ERR_USAGE', `--write ${folder}: ${what}, it must be a folder`, {
      cause,
      hint: 'svid.N.pem, svid.N.key and bundle.N.pem are written into it',
    });
  }
  return new IdentityError('ERR_DISK', `cannot create ${folder}: ${errorText(cause)}`, { cause });
}

function removeBeyond(folder: string, names: RegExp, count: number, err: Terminal['err']): void {
  try {
    for (const name of readdirSync(folder)) {
      const number = names.exec(name)?.slice(1).find(Boolean);
      if (number === undefined || Number(number) < count) continue;
      rmSync(join(folder, name));
      err(`removed ${join(folder, name)}\n`);
    }
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot clear ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}
