import type { Get } from './config-values.ts';
import type { Pkcs11Config, TokenChoice } from './pkcs11/config.ts';
import type { Complain, Environment } from './read-settings.ts';
import { PIN_VARIABLE } from './settings-token.ts';

const PREFIX = 'issuer.key_manager.pkcs11';
/** A YubiHSM has 40 bytes for a label. */
const KEY_LABEL = /^[A-Za-z0-9._-]{1,32}$/;
const CHOICES = { token_label: 'label', serial: 'serial', slot: 'slot' } as const;

/** Undefined when keys are not on a token; complains of settings that do not go together. */
export function buildPkcs11(
  get: Get,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): Pkcs11Config | undefined {
  const given = (name: string) => get<string | number | null>(`${PREFIX}.${name}`) ?? undefined;
  if (get('issuer.key_manager.type') !== 'pkcs11') {
    for (const name of ['module', ...Object.keys(CHOICES), 'pin_file']) {
      if (given(name) === undefined) continue;
      complain(`${PREFIX}.${name}`, 'expected issuer.key_manager.type to be pkcs11');
    }
    return undefined;
  }
  if (get('issuer.upstream.type') === 'disk') {
    complain(
      'issuer.upstream.type',
      'expected another type: the key is a file then, not on a token',
    );
  }
  const module = given('module');
  if (module === undefined) complain(`${PREFIX}.module`, 'expected a path, as the type is pkcs11');
  const keyLabel = get(`${PREFIX}.key_label`);
  if (!KEY_LABEL.test(keyLabel)) {
    complain(
      `${PREFIX}.key_label`,
      'expected 1 to 32 letters, digits, dots, dashes or underscores',
    );
  }
  const token = chooseToken(given, complain);
  const pin = choosePin(given('pin_file'), absolute, env, complain);
  if (module === undefined || !token || !pin) return undefined;
  return { module: absolute(String(module)), token, pin, keyLabel };
}

function chooseToken(
  given: (name: string) => string | number | undefined,
  complain: Complain,
): TokenChoice | undefined {
  const choices = Object.entries(CHOICES).flatMap(([name, by]) => {
    const value = given(name);
    return value === undefined ? [] : [{ name, choice: { by, value } as TokenChoice }];
  });
  const [first, second] = choices;
  if (second) complain(`${PREFIX}.${second.name}`, `expected it or ${first?.name ?? ''}, not both`);
  if (!first) complain(PREFIX, 'expected one of token_label, serial and slot: which token it is');
  return first?.choice;
}

function choosePin(
  file: string | number | undefined,
  absolute: (path: string) => string,
  env: Environment,
  complain: Complain,
): Pkcs11Config['pin'] | undefined {
  const text = env[PIN_VARIABLE] ?? '';
  if (file !== undefined && text !== '') {
    complain(`${PREFIX}.pin_file`, `expected it or ${PIN_VARIABLE}, not both`);
  }
  if (file !== undefined) return { file: absolute(String(file)) };
  if (text !== '') return { text: () => text };
  complain(`${PREFIX}.pin_file`, `expected a path, or the PIN in ${PIN_VARIABLE}`);
  return undefined;
}
