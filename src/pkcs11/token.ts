import { randomBytes } from 'node:crypto';
import { IdentityError } from '../core/errors.ts';
import { KEY_TYPES, type EcKeyType, type KeyType } from '../issuer/key-type.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';
import { CK, moduleCode, type Attribute, type Cryptoki, type Handle } from './cryptoki.ts';
import { ecSpki, rsaSpki } from './forms.ts';

/** The keys of one label on a token. Calls block, all but one. */
export interface Token {
  /** Resolves with the public key, DER of its SubjectPublicKeyInfo; other calls may be made meanwhile. */
  generate(type: KeyType): Promise<Buffer>;
  find(id: string, type: KeyType): Buffer;
  /** `data` padded as the type's signatures want it; an EC signature is r and s. */
  sign(id: string, type: KeyType, data: Buffer): Buffer;
  ids(): readonly string[];
  remove(id: string): void;
}

const FIND_AT_ONCE = 64;
const MAX_SIGNATURE_BYTES = 512;
const EXPONENT_65537 = Buffer.of(1, 0, 1);

/** Sessions that are logged in. */
export interface Sessions {
  readonly main: Handle;
  /** For making keys on a thread, which may take minutes; undefined when the module knows no threads. */
  readonly making: Handle | undefined;
}

export function openKeys(library: Cryptoki, sessions: Sessions, label: string): Token {
  const session = sessions.main;
  const handles = new Map<string, Handle>();
  const own = (objectClass: number, ...more: Attribute[]) =>
    findAll(library, session, [
      { type: CK.CKA_CLASS, value: objectClass },
      { type: CK.CKA_LABEL, value: label },
      ...more,
    ]);
  const withId = (objectClass: number, id: string) =>
    own(objectClass, { type: CK.CKA_ID, value: Buffer.from(id, 'hex') });
  const read = (object: Handle, ...types: number[]) => attributes(library, session, object, types);

  function one(objectClass: number, id: string): Handle {
    const [found] = withId(objectClass, id);
    if (!found)
      throw new IdentityError(
        'ERR_KEY_STORE',
        `there is no key ${id} labelled "${label}" on the token`,
      );
    return found;
  }

  function publicKey(object: Handle, type: KeyType): Buffer {
    const [kind] = read(object, CK.CKA_KEY_TYPE);
    const wanted = KEY_TYPES[type].kind === 'ec' ? CK.CKK_EC : CK.CKK_RSA;
    if (kind?.length === 0 || kind?.readUInt8(0) !== wanted) {
      throw new IdentityError('ERR_KEY_STORE', `the token's key is not of the type ${type}`);
    }
    if (wanted === CK.CKK_EC) return ecSpki(type, read(object, CK.CKA_EC_POINT)[0] ?? empty);
    const [modulus, exponent] = read(object, CK.CKA_MODULUS, CK.CKA_PUBLIC_EXPONENT);
    return rsaSpki(type, modulus ?? empty, exponent ?? empty);
  }

  return {
    async generate(type) {
      // A name of its own until the right one is known: who finds it after a crash removes it.
      const passing = randomBytes(20);
      const common = [
        { type: CK.CKA_TOKEN, value: true },
        { type: CK.CKA_LABEL, value: label },
        { type: CK.CKA_ID, value: passing },
      ];
      const { mechanism, parameters } = generationOf(type);
      const ofPublic = [...common, { type: CK.CKA_VERIFY, value: true }, ...parameters];
      const ofPrivate = [...common, ...NEVER_LEAVES, ...SIGNS_ONLY];
      const pair = sessions.making
        ? await library.C_GenerateKeyPairAsync(
            ...([sessions.making, { mechanism }, ofPublic, ofPrivate] as const),
          )
        : library.C_GenerateKeyPair(session, { mechanism }, ofPublic, ofPrivate);
      try {
        const spki = publicKey(pair.publicKey, type);
        requireGuarded(read(pair.privateKey, CK.CKA_SENSITIVE, CK.CKA_EXTRACTABLE));
        const name = [{ type: CK.CKA_ID, value: subjectKeyId(spki) }];
        library.C_SetAttributeValue(session, pair.privateKey, name);
        library.C_SetAttributeValue(session, pair.publicKey, name);
        return spki;
      } catch (thrown) {
        for (const object of [pair.privateKey, pair.publicKey]) destroyQuietly(object);
        throw thrown;
      }
    },
    find(id, type) {
      one(CK.CKO_PRIVATE_KEY, id);
      return publicKey(one(CK.CKO_PUBLIC_KEY, id), type);
    },
    sign(id, type, data) {
      let handle = handles.get(id);
      if (!handle) handles.set(id, (handle = one(CK.CKO_PRIVATE_KEY, id)));
      const mechanism = KEY_TYPES[type].kind === 'ec' ? CK.CKM_ECDSA : CK.CKM_RSA_PKCS;
      library.C_SignInit(session, { mechanism }, handle);
      return library.C_Sign(session, data, Buffer.alloc(MAX_SIGNATURE_BYTES));
    },
    ids() {
      const objects = [...own(CK.CKO_PRIVATE_KEY), ...own(CK.CKO_PUBLIC_KEY)];
      return [...new Set(objects.flatMap((object) => read(object, CK.CKA_ID).map(hex)))];
    },
    remove(id) {
      handles.delete(id);
      const both = [CK.CKO_PRIVATE_KEY, CK.CKO_PUBLIC_KEY].flatMap((kind) => withId(kind, id));
      for (const object of both) library.C_DestroyObject(session, object);
    },
  };

  function destroyQuietly(object: Handle): void {
    try {
      library.C_DestroyObject(session, object);
    } catch {
      // The first error is the one that matters; what stays is found by its label.
    }
  }
}

const empty = Buffer.alloc(0);
const hex = (bytes: Buffer) => bytes.toString('hex');

/** The private key stays on the token, in clear and wrapped. */
const NEVER_LEAVES: readonly Attribute[] = [
  { type: CK.CKA_PRIVATE, value: true },
  { type: CK.CKA_SENSITIVE, value: true },
  { type: CK.CKA_EXTRACTABLE, value: false },
];

/** Some tokens let a key do all that it could. */
const SIGNS_ONLY: readonly Attribute[] = [
  { type: CK.CKA_SIGN, value: true },
  { type: CK.CKA_DECRYPT, value: false },
  { type: CK.CKA_UNWRAP, value: false },
];

/** Some tokens take an attribute and do not keep to it. */
function requireGuarded([sensitive, extractable]: readonly Buffer[]): void {
  if (sensitive?.[0] === 1 && extractable?.[0] === 0) return;
  throw new IdentityError('ERR_KEY_STORE', 'the token makes keys that can be taken out of it');
}

/** Both mechanisms that keys of a type need. */
export function mechanismsOf(type: KeyType): readonly { name: string; number: number }[] {
  const names =
    KEY_TYPES[type].kind === 'ec'
      ? (['CKM_EC_KEY_PAIR_GEN', 'CKM_ECDSA'] as const)
      : (['CKM_RSA_PKCS_KEY_PAIR_GEN', 'CKM_RSA_PKCS'] as const);
  return names.map((name) => ({ name, number: CK[name] }));
}

function generationOf(type: KeyType): { mechanism: number; parameters: readonly Attribute[] } {
  const row = KEY_TYPES[type];
  if (row.kind === 'ec') {
    const parameters = [{ type: CK.CKA_EC_PARAMS, value: curveOf(row) }];
    return { mechanism: CK.CKM_EC_KEY_PAIR_GEN, parameters };
  }
  return {
    mechanism: CK.CKM_RSA_PKCS_KEY_PAIR_GEN,
    parameters: [
      { type: CK.CKA_MODULUS_BITS, value: row.modulusBits },
      { type: CK.CKA_PUBLIC_EXPONENT, value: EXPONENT_65537 },
    ],
  };
}

/** The curve's OBJECT IDENTIFIER: in a SubjectPublicKeyInfo it ends where the point's BIT STRING begins. */
function curveOf({ spkiPrefix }: EcKeyType): Buffer {
  const algorithm = spkiPrefix.subarray(2, 4 + (spkiPrefix[3] ?? 0));
  const first = 2 + 2 + (algorithm[3] ?? 0);
  return Buffer.from(algorithm.subarray(first));
}

function findAll(library: Cryptoki, session: Handle, template: readonly Attribute[]): Handle[] {
  library.C_FindObjectsInit(session, template);
  try {
    const found: Handle[] = [];
    for (;;) {
      const more = library.C_FindObjects(session, FIND_AT_ONCE);
      found.push(...more);
      if (more.length === 0) return found;
    }
  } finally {
    library.C_FindObjectsFinal(session);
  }
}

/** The values in the order of `types`; what an object does not have is empty. */
function attributes(
  library: Cryptoki,
  session: Handle,
  object: Handle,
  types: readonly number[],
): Buffer[] {
  return types.map((type) => {
    try {
      return library.C_GetAttributeValue(session, object, [{ type }])[0]?.value ?? empty;
    } catch (thrown) {
      if (moduleCode(thrown) === 'CKR_ATTRIBUTE_TYPE_INVALID') return empty;
      throw thrown;
    }
  });
}

/** How many private keys have a label that begins so, this daemon's own left out. */
export function countOthers(
  library: Cryptoki,
  session: Handle,
  { label, labelOfAll }: { label: string; labelOfAll: string },
): number {
  const all = findAll(library, session, [{ type: CK.CKA_CLASS, value: CK.CKO_PRIVATE_KEY }]);
  return all.filter((object) => {
    const text = attributes(library, session, object, [CK.CKA_LABEL])[0]?.toString('utf8') ?? '';
    return text.startsWith(labelOfAll) && text !== label;
  }).length;
}
