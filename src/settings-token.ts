import { number, setting, text, type Setting } from './setting-formats.ts';

/** The variable that may hold the PIN; not a setting, so that no file and no page shows it. */
export const PIN_VARIABLE = 'CREDENCE_ISSUER_KEY_MANAGER_PKCS11_PIN';

const key = (name: string) => `issuer.key_manager.pkcs11.${name}`;

/** Where the CA keys are with `issuer.key_manager.type: pkcs11`. */
export const PKCS11_SETTINGS: readonly Setting[] = [
  setting(key('module'), text, undefined, "pkcs11: the vendor's library, a .so file"),
  setting(key('token_label'), text, undefined, 'pkcs11: the token by its label'),
  setting(key('serial'), text, undefined, 'pkcs11: the token by its serial number'),
  setting(
    key('slot'),
    number(0, 2 ** 48 - 1, true),
    undefined,
    'pkcs11: the token by the number of its slot, which some modules change',
  ),
  setting(
    key('pin_file'),
    text,
    undefined,
    `pkcs11: file with the user PIN, of the daemon's user, mode 0400 or 0600; or the variable ${PIN_VARIABLE}`,
  ),
  setting(
    key('key_label'),
    text,
    'credence',
    'pkcs11: what labels of keys on the token begin with, at most 32 bytes',
  ),
];
