import { statSync } from 'node:fs';
import { errorText, IdentityError } from '../core/errors.ts';
import { nameOfToken, type TokenChoice } from './config.ts';
import { CK, moduleCode, type Cryptoki, type Handle } from './cryptoki.ts';
import { readPin, RefusedPin } from './pin.ts';
import type { OpenRequest } from './protocol.ts';
import { countOthers, mechanismsOf, openKeys, type Token } from './token.ts';

const OTHERS_MAY_WRITE = 0o022;

/** A session, logged in, and how many keys of other daemons of the trust domain it sees. */
export interface OpenedToken {
  readonly token: Token;
  readonly others: number;
}

/** Loads the module, finds the token and logs in. `ERR_KEY_STORE` says which of that failed. */
export function openToken(library: Cryptoki, request: OpenRequest): OpenedToken {
  const threads = loadModule(library, request.module);
  const slot = findSlot(library, request.token);
  requireMechanisms(library, slot, request);
  const { flags } = library.C_GetTokenInfo(slot);
  const session = () => library.C_OpenSession(slot, CK.CKF_RW_SESSION | CK.CKF_SERIAL_SESSION);
  const main = session();
  // For all sessions of this process.
  login(library, main, flags, request);
  const sessions = { main, making: threads ? session() : undefined };
  const token = openKeys(library, sessions, request.label);
  return { token, others: countOthers(library, main, request) };
}

/**
 * What is loaded here can do all that the daemon can: nobody else may have put it there. Returns whether the
 * module may be called by several threads.
 */
function loadModule(library: Cryptoki, path: string): boolean {
  let stats;
  try {
    stats = statSync(path);
  } catch (thrown) {
    throw failure(`cannot load the PKCS#11 module: ${errorText(thrown)}`, thrown);
  }
  const own = process.geteuid?.();
  if ((stats.uid !== 0 && stats.uid !== own) || (stats.mode & OTHERS_MAY_WRITE) !== 0) {
    throw failure(`the PKCS#11 module ${path} may be written by others`, undefined, {
      hint: 'it has to belong to root or to the user that runs credence, mode 0755 or less',
    });
  }
  try {
    library.load(path);
    return initialize(library);
  } catch (thrown) {
    const why = errorText(thrown).split('\n')[0] ?? '';
    throw failure(`cannot load the PKCS#11 module ${path}: ${why}`, thrown);
  }
}

function initialize(library: Cryptoki): boolean {
  try {
    library.C_Initialize({ flags: CK.CKF_OS_LOCKING_OK });
    return true;
  } catch (thrown) {
    if (moduleCode(thrown) !== 'CKR_CANT_LOCK') throw thrown;
    library.C_Initialize();
    return false;
  }
}

function findSlot(library: Cryptoki, choice: TokenChoice): Handle {
  const present = library.C_GetSlotList(true).map((slot) => {
    const { label, serialNumber } = library.C_GetTokenInfo(slot);
    return { slot, label: label.trim(), serial: serialNumber.trim(), number: numberOf(slot) };
  });
  const matching = present.filter(({ label, serial, number }) => {
    if (choice.by === 'slot') return number === choice.value;
    return (choice.by === 'label' ? label : serial) === choice.value;
  });
  const [found, another] = matching;
  if (another) {
    const serials = matching.map(({ serial }) => serial).join(', ');
    throw failure(`${nameOfToken(choice)} is not the only one`, undefined, {
      hint: `set issuer.key_manager.pkcs11.serial, to one of ${serials}`,
    });
  }
  if (found) return found.slot;
  const seen = present.map(({ label, serial }) => `${JSON.stringify(label)} (${serial})`);
  throw failure(`${nameOfToken(choice)} is not there`, undefined, {
    hint: `the module has ${seen.length === 0 ? 'no token' : seen.slice(0, 8).join(', ')}`,
  });
}

/** CK_SLOT_ID is an unsigned long of the machine; no slot has a number of more than 48 bits. */
function numberOf(slot: Handle): number {
  return slot.readUIntLE(0, Math.min(slot.length, 6));
}

function requireMechanisms(library: Cryptoki, slot: Handle, { token, keyType }: OpenRequest): void {
  const offered = new Set(library.C_GetMechanismList(slot));
  const missing = mechanismsOf(keyType).filter(({ number }) => !offered.has(number));
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(' and ');
  throw failure(
    `${nameOfToken(token)} does not offer ${names}, which ${keyType} needs`,
    undefined,
    {
      hint: 'set issuer.ca_key_type to a type that it offers',
    },
  );
}

const MAY_COME_RIGHT = new Set(['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE']);

function login(library: Cryptoki, session: Handle, flags: number, request: OpenRequest): void {
  const name = nameOfToken(request.token);
  if ((flags & CK.CKF_USER_PIN_LOCKED) !== 0) throw failure(`the PIN of ${name} is locked`);
  // The last one is the operator's: a wrong PIN would lock the token and every key on it.
  if ((flags & CK.CKF_USER_PIN_FINAL_TRY) !== 0) {
    throw failure(`one more wrong PIN would lock ${name}, so that none is tried`, undefined, {
      hint: 'log in with the right PIN by another program (pkcs11-tool --login), which resets the count',
    });
  }
  const pin = 'file' in request.pin ? readPin(request.pin.file) : request.pin.text;
  const refused = new RefusedPin(request.refusedPinFile, request.label);
  refused.check(pin);
  try {
    library.C_Login(session, CK.CKU_USER, pin);
  } catch (thrown) {
    const code = moduleCode(thrown) ?? '';
    if (code === 'CKR_USER_ALREADY_LOGGED_IN') return;
    if (MAY_COME_RIGHT.has(code)) refused.remember(pin);
    throw failure(`${name} refuses the login: ${code}`, thrown);
  }
  refused.forget();
}

function failure(message: string, cause?: unknown, options: { hint?: string } = {}): IdentityError {
  return new IdentityError('ERR_KEY_STORE', message, { ...options, cause });
}
