import {
  constants,
  createECDH,
  generateKeyPairSync,
  privateEncrypt,
  type KeyObject,
} from 'node:crypto';
import { CK, type Attribute, type Cryptoki, type Handle } from '../../src/pkcs11/cryptoki.ts';
import { createAnswers } from '../../src/pkcs11/serve.ts';
import type { StartProcess } from '../../src/pkcs11/token-process.ts';

type Call = Exclude<keyof Cryptoki, symbol>;
type Attributes = Map<number, Attribute['value']>;

interface StoredObject {
  readonly attributes: Attributes;
  readonly key: KeyObject | undefined;
}

/** A token: its objects outlive those who use it, and whoever holds it sees the calls and spoils them. */
export class FakeToken {
  readonly objects = new Map<number, StoredObject>();
  readonly calls: Call[] = [];
  label = 'credence';
  serialNumber = '0001';
  flags = 0;
  pin = '1234';
  mechanisms: number[] = [
    ...[CK.CKM_EC_KEY_PAIR_GEN, CK.CKM_ECDSA],
    ...[CK.CKM_RSA_PKCS_KEY_PAIR_GEN, CK.CKM_RSA_PKCS],
  ];
  present = true;
  /** A token that does not keep to what it was told. */
  extractable = false;
  /** Changes what it signs. */
  spoil = (signature: Buffer): Buffer => signature;
  /** Bare EC points, as some modules have them. */
  barePoints = false;
  /** A module that may not be called by several threads. */
  singleThreaded = false;
  /** How long making a key takes. */
  whileMaking: Promise<void> = Promise.resolve();
  #faults: { call: Call; code: string; times: number }[] = [];
  #next = 1;

  fail(call: Call, code: string, times = 1): void {
    this.#faults.push({ call, code, times });
  }

  count(call: Call): number {
    return this.calls.filter((one) => one === call).length;
  }

  called(call: Call): void {
    this.calls.push(call);
    const fault = this.#faults.find((one) => one.call === call && one.times > 0);
    if (!fault) return;
    fault.times--;
    throw refusal(fault.code);
  }

  add(object: StoredObject): Handle {
    this.objects.set(this.#next, object);
    return handleOf(this.#next++);
  }

  get(handle: Handle): StoredObject {
    const found = this.objects.get(numberOf(handle));
    if (!found) throw refusal('CKR_OBJECT_HANDLE_INVALID');
    return found;
  }
}

const refusal = (code: string) => new Error(`${code}:1`);
const handleOf = (n: number): Handle => {
  const handle = Buffer.alloc(8);
  handle.writeUInt32LE(n);
  return handle;
};
const numberOf = (handle: Handle) => handle.readUInt32LE(0);

/** The module of these tokens, one in each slot. */
export function fakeCryptoki(tokens: readonly FakeToken[]): Cryptoki {
  const slots = () => tokens.flatMap((token, n) => (token.present ? [{ token, n }] : []));
  const at = (slot: Handle) => tokens[numberOf(slot)] as FakeToken;
  let found: Handle[] = [];
  let signing: { key: KeyObject; mechanism: number } | undefined;
  const of = (session: Handle, call: Call): FakeToken => {
    const token = at(session);
    if (!token.present) throw refusal('CKR_DEVICE_REMOVED');
    token.called(call);
    return token;
  };
  const cryptoki: Cryptoki = {
    load: () => undefined,
    C_Initialize(options) {
      if (options && tokens.some((token) => token.singleThreaded)) throw refusal('CKR_CANT_LOCK');
    },
    C_Finalize: () => undefined,
    C_GetSlotList: () => slots().map(({ n }) => handleOf(n)),
    C_GetTokenInfo(slot) {
      const { label, serialNumber, flags } = at(slot);
      return { label: label.padEnd(32), serialNumber, flags };
    },
    C_GetMechanismList: (slot) => at(slot).mechanisms,
    C_OpenSession: (slot) => slot,
    C_Login(session, _user, pin) {
      if (pin !== of(session, 'C_Login').pin) throw refusal('CKR_PIN_INCORRECT');
    },
    C_FindObjectsInit(session, template) {
      const token = of(session, 'C_FindObjectsInit');
      const fits = ({ attributes }: StoredObject) =>
        template.every(({ type, value }) => same(attributes.get(type), value));
      found = [...token.objects].flatMap(([n, object]) => (fits(object) ? [handleOf(n)] : []));
    },
    C_FindObjects: (_session, most) => found.splice(0, most),
    C_FindObjectsFinal: () => undefined,
    C_GetAttributeValue(session, object, template) {
      const { attributes } = of(session, 'C_GetAttributeValue').get(object);
      return template.map(({ type }) => {
        if (!attributes.has(type)) throw refusal('CKR_ATTRIBUTE_TYPE_INVALID');
        return { type, value: bytesOf(attributes.get(type)) };
      });
    },
    C_SetAttributeValue(session, object, template) {
      const { attributes } = of(session, 'C_SetAttributeValue').get(object);
      for (const { type, value } of template) attributes.set(type, value);
    },
    C_GenerateKeyPair(session, _mechanism, publicTemplate, privateTemplate) {
      const token = of(session, 'C_GenerateKeyPair');
      const { key, more } = newKey(token, publicTemplate);
      const attributes = (template: readonly Attribute[], objectClass: number): Attributes =>
        new Map([
          [CK.CKA_CLASS, objectClass],
          ...template.map(({ type, value }) => [type, value] as const),
        ]);
      const own = attributes(privateTemplate, CK.CKO_PRIVATE_KEY);
      if (token.extractable) own.set(CK.CKA_EXTRACTABLE, true);
      const shown = attributes([...publicTemplate, ...more], CK.CKO_PUBLIC_KEY);
      return {
        privateKey: token.add({ attributes: own, key }),
        publicKey: token.add({ attributes: shown, key: undefined }),
      };
    },
    async C_GenerateKeyPairAsync(...args) {
      const token = of(args[0], 'C_GenerateKeyPairAsync');
      await token.whileMaking;
      return cryptoki.C_GenerateKeyPair(...args);
    },
    C_DestroyObject: (session, object) =>
      void of(session, 'C_DestroyObject').objects.delete(numberOf(object)),
    C_SignInit(session, { mechanism }, key) {
      const object = of(session, 'C_SignInit').get(key);
      if (!object.key) throw refusal('CKR_KEY_FUNCTION_NOT_PERMITTED');
      signing = { key: object.key, mechanism };
    },
    C_Sign(session, data) {
      const token = of(session, 'C_Sign');
      if (!signing) throw refusal('CKR_OPERATION_NOT_INITIALIZED');
      return token.spoil(rawSignature(signing.key, data));
    },
  };
  return cryptoki;
}

function newKey(
  token: FakeToken,
  template: readonly Attribute[],
): { key: KeyObject; more: readonly Attribute[] } {
  const bits = template.find(({ type }) => type === CK.CKA_MODULUS_BITS)?.value;
  if (typeof bits === 'number') {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
    const { n = '', e = '' } = privateKey.export({ format: 'jwk' });
    const more = [
      { type: CK.CKA_KEY_TYPE, value: number(CK.CKK_RSA) },
      { type: CK.CKA_MODULUS, value: Buffer.from(n, 'base64url') },
      { type: CK.CKA_PUBLIC_EXPONENT, value: Buffer.from(e, 'base64url') },
    ];
    return { key: privateKey, more };
  }
  const curve = template.find(({ type }) => type === CK.CKA_EC_PARAMS)?.value as Buffer;
  const names: Record<string, string> = {
    '06082a8648ce3d030107': 'prime256v1',
    '06052b81040022': 'secp384r1',
  };
  const namedCurve = names[curve.toString('hex')] ?? '';
  const { privateKey } = generateKeyPairSync('ec', { namedCurve });
  const { x = '', y = '' } = privateKey.export({ format: 'jwk' });
  const point = Buffer.concat([
    Buffer.of(4),
    Buffer.from(x, 'base64url'),
    Buffer.from(y, 'base64url'),
  ]);
  const wrapped = Buffer.concat([Buffer.of(4, point.length), point]);
  const more = [
    { type: CK.CKA_KEY_TYPE, value: number(CK.CKK_EC) },
    { type: CK.CKA_EC_POINT, value: token.barePoints ? point : wrapped },
  ];
  return { key: privateKey, more };
}

/** What a token does with what is hashed and padded already. */
function rawSignature(key: KeyObject, data: Buffer): Buffer {
  return key.asymmetricKeyType === 'rsa'
    ? privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, data)
    : rawEcdsa(key, data);
}

const ORDERS: Readonly<Record<string, bigint>> = {
  prime256v1: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  secp384r1:
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
};

/** FIPS 186-5 6.4.1. Node's own signs nothing without hashing it first. */
function rawEcdsa(key: KeyObject, digest: Buffer): Buffer {
  const curve = key.asymmetricKeyDetails?.namedCurve ?? '';
  const n = ORDERS[curve] ?? 1n;
  const size = n.toString(16).length / 2;
  const secret = toNumber(Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url'));
  const passing = createECDH(curve);
  const point = passing.generateKeys();
  const k = toNumber(passing.getPrivateKey());
  const r = toNumber(point.subarray(1, 1 + size)) % n;
  const s = (inverse(k, n) * (toNumber(digest) + r * secret)) % n;
  const text = (value: bigint) => value.toString(16).padStart(2 * size, '0');
  return Buffer.from(text(r) + text(s), 'hex');
}

const toNumber = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);

/** Fermat: the order is a prime. */
function inverse(value: bigint, prime: bigint): bigint {
  let [result, base] = [1n, value % prime];
  for (let power = prime - 2n; power > 0n; power >>= 1n) {
    if (power & 1n) result = (result * base) % prime;
    base = (base * base) % prime;
  }
  return result;
}

function number(value: number): Buffer {
  return handleOf(value);
}

function bytesOf(value: Attribute['value']): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  return typeof value === 'number' ? number(value) : Buffer.from(value ?? '');
}

function same(left: Attribute['value'], right: Attribute['value']): boolean {
  return bytesOf(left).equals(bytesOf(right));
}

/** Processes of such a module in this one. `hang` makes them take requests and say nothing. */
export function fakeProcesses(tokens: readonly FakeToken[]) {
  const processes = { started: 0, running: 0, hang: false, crash: (): void => undefined };
  const ends = new Set<(why: string) => void>();
  processes.crash = () => ends.forEach((end) => end('ended with SIGSEGV'));
  const start: StartProcess = ({ onChunk, onEnd }) => {
    let ended = false;
    const answers = createAnswers(
      () => fakeCryptoki(tokens),
      (line) => {
        if (!ended) onChunk(Buffer.from(line));
      },
    );
    processes.started++;
    processes.running++;
    const end = (why: string) => {
      if (ended) return;
      ended = true;
      ends.delete(end);
      processes.running--;
      onEnd(why);
    };
    ends.add(end);
    return {
      send(line) {
        if (processes.hang) return;
        queueMicrotask(() => {
          if (!ended) answers.take(line.trimEnd());
        });
      },
      end: () => end('ended with code 0'),
      kill: () => end('ended with SIGKILL'),
    };
  };
  return { processes, start };
}
