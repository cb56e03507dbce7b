import { createRequire } from 'node:module';
import { errorText, IdentityError } from '../core/errors.ts';

/** A slot, a session or an object, as the module numbers them. */
export type Handle = Buffer;

export interface Attribute {
  readonly type: number;
  readonly value?: Buffer | boolean | number | string;
}

/** The calls of PKCS#11 (v2.40) that are made, as the package `pkcs11js` has them. */
export interface Cryptoki {
  load(path: string): void;
  C_Initialize(options?: { flags: number }): void;
  C_Finalize(): void;
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): { label: string; serialNumber: string; flags: number };
  C_GetMechanismList(slot: Handle): number[];
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_Login(session: Handle, userType: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
  C_FindObjects(session: Handle, most: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: readonly Attribute[],
  ): { type: number; value: Buffer }[];
  C_SetAttributeValue(session: Handle, object: Handle, template: readonly Attribute[]): void;
  C_GenerateKeyPair(
    session: Handle,
    mechanism: { mechanism: number },
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { publicKey: Handle; privateKey: Handle };
  /** On a thread of its own. */
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: { mechanism: number },
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): Promise<{ publicKey: Handle; privateKey: Handle }>;
  C_DestroyObject(session: Handle, object: Handle): void;
  C_SignInit(session: Handle, mechanism: { mechanism: number }, key: Handle): void;
  C_Sign(session: Handle, data: Buffer, into: Buffer): Buffer;
}

/** Numbers of PKCS#11 v2.40; the package's own table is not there where the package is not. */
export const CK = {
  CKA_CLASS: 0x0,
  CKA_TOKEN: 0x1,
  CKA_PRIVATE: 0x2,
  CKA_LABEL: 0x3,
  CKA_KEY_TYPE: 0x100,
  CKA_ID: 0x102,
  CKA_SENSITIVE: 0x103,
  CKA_DECRYPT: 0x105,
  CKA_UNWRAP: 0x107,
  CKA_SIGN: 0x108,
  CKA_VERIFY: 0x10a,
  CKA_MODULUS: 0x120,
  CKA_MODULUS_BITS: 0x121,
  CKA_PUBLIC_EXPONENT: 0x122,
  CKA_EXTRACTABLE: 0x162,
  CKA_EC_PARAMS: 0x180,
  CKA_EC_POINT: 0x181,
  CKO_PUBLIC_KEY: 2,
  CKO_PRIVATE_KEY: 3,
  CKK_RSA: 0,
  CKK_EC: 3,
  CKM_RSA_PKCS_KEY_PAIR_GEN: 0x0,
  CKM_RSA_PKCS: 0x1,
  CKM_EC_KEY_PAIR_GEN: 0x1040,
  CKM_ECDSA: 0x1041,
  CKF_OS_LOCKING_OK: 0x2,
  CKF_RW_SESSION: 0x2,
  CKF_SERIAL_SESSION: 0x4,
  CKU_USER: 1,
  CKF_USER_PIN_FINAL_TRY: 0x20000,
  CKF_USER_PIN_LOCKED: 0x40000,
} as const;

/** The one package that may be missing: its native part needs a compiler. */
export const PACKAGE = 'pkcs11js';

/** Loads the package; `ERR_KEY_STORE` says what is missing. */
export function loadCryptoki(): Cryptoki {
  const require = createRequire(import.meta.url);
  try {
    const { PKCS11 } = require(PACKAGE) as { PKCS11: new () => Cryptoki };
    return new PKCS11();
  } catch (thrown) {
    throw new IdentityError(
      'ERR_KEY_STORE',
      `the package ${PACKAGE} cannot be loaded: ${errorText(thrown).split('\n')[0] ?? ''}`,
      { cause: thrown, hint: 'where credence is installed, with a C++ compiler: npm run pkcs11' },
    );
  }
}

/** The module's code of an error (`CKR_PIN_INCORRECT`), or undefined when it is none of the module. */
export function moduleCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const [code] = /CKR_[A-Z0-9_]+/.exec(thrown.message) ?? [];
  if (code !== 'CKR_VENDOR_DEFINED') return code;
  const number = 'code' in thrown && typeof thrown.code === 'number' ? thrown.code : 0;
  return `${code} 0x${number.toString(16)}`;
}
