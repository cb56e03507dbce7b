import type { Config } from '../config.ts';
import { errorText } from '../core/errors.ts';
import { loadCryptoki } from '../pkcs11/cryptoki.ts';
import { look } from './look.ts';

/** What a token needs and is not there now, on this machine and for this user. The PIN is not read. */
export function tokenDoubts({ file, issuer }: Config): readonly string[] {
  const { pkcs11 } = issuer;
  if (!pkcs11) return [];
  const said = (name: string, what: string) =>
    `${file}: issuer.key_manager.pkcs11.${name}: ${what}; credence run needs it`;
  const doubts: string[] = [];
  if (!look(pkcs11.module)) doubts.push(said('module', `there is no file ${pkcs11.module}`));
  if ('file' in pkcs11.pin && !look(pkcs11.pin.file)) {
    doubts.push(said('pin_file', `there is no file ${pkcs11.pin.file}`));
  }
  try {
    loadCryptoki();
  } catch (thrown) {
    doubts.push(said('module', errorText(thrown)));
  }
  return doubts;
}
