import { errorText, IdentityError } from '../core/errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { isoTime } from './authority.ts';
import type { NewCa } from './ca-changes.ts';
import { findPath, trustedRoots, type PathSources } from './ca-path.ts';
import { authorityName, type CaState, type KeyName } from './ca-state.ts';
import type { SigningKey } from './keys.ts';
import { createSigningRequest } from './signing-request.ts';
import type { IssuedCa, UpstreamAuthority } from './upstream-authority.ts';
import { readOneCertificate, type UpstreamCertificate } from './upstream-certificates.ts';

/** What an answer is held against. */
export interface OrderTerms {
  readonly trustDomain: TrustDomain;
  readonly ttlMs: number;
  readonly state: CaState;
  /** Asked when the answer is there. */
  readonly now: () => number;
  /** What the new one has to outlive; undefined: anything that lives long enough to be of use. */
  readonly beyondMs: number | undefined;
  /** Name of an authority that it must not be below; undefined: any that is not tainted. */
  readonly insteadOf: string | undefined;
}

const MAX_CHAIN = 16;
const MAX_ROOTS = 64;
/** Room for the longest RSA key and its extensions, many times over. */
const MAX_CERTIFICATE_BYTES = 16_384;
/** A CA with less to live is over before its bundle has reached everybody. */
const MIN_LIFE_MS = 10_000;

/**
 * Has a CA for the key signed and looks at every bit of what comes back. `ERR_ISSUER` for everything
 * that does not end in a CA to sign with; the signal's reason when aborted.
 */
export async function orderCa(
  upstream: UpstreamAuthority,
  key: SigningKey,
  terms: OrderTerms,
  { signal }: { signal: AbortSignal },
): Promise<NewCa> {
  const csr = await createSigningRequest(key, terms.trustDomain);
  let issued: IssuedCa;
  try {
    issued = await upstream.issue({ key, csr, ttlMs: terms.ttlMs }, { signal });
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof IdentityError && thrown.code === 'ERR_ISSUER') throw thrown;
    throw new IdentityError('ERR_ISSUER', `${upstream.name}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  signal.throwIfAborted();
  const refused = refusedBy(upstream);
  const told = readAll(issued.roots, MAX_ROOTS, 'root', refused);
  const channel = terms.state.roots.filter((root) => root.told).map((root) => root.certificate);
  return checkAnswer(readAll(issued.chain, MAX_CHAIN, 'certificate', refused), {
    ...terms,
    ...{ refused, key, told, all: [...told, ...channel] },
  });
}

/** The roots that an upstream tells of, those that can be trusted now; `ERR_ISSUER` as above. */
export function readToldRoots(
  upstream: UpstreamAuthority,
  told: readonly Buffer[],
  want: { trustDomain: TrustDomain; nowMs: number },
): readonly UpstreamCertificate[] {
  const refused = refusedBy(upstream);
  const all = readAll(told, MAX_ROOTS, 'root', refused);
  return trustedRoots(all, sourcesOf(refused), want).roots;
}

interface Answer extends OrderTerms {
  readonly refused: (why: string) => IdentityError;
  readonly key: SigningKey;
  readonly told: readonly UpstreamCertificate[];
  readonly all: readonly UpstreamCertificate[];
}

function checkAnswer(certificates: readonly UpstreamCertificate[], answer: Answer): NewCa {
  const { refused, key, trustDomain, state, beyondMs } = answer;
  const [issuing, ...between] = certificates;
  if (!issuing) throw refused('expected a certificate, there is none');
  if (!issuing.spki.equals(key.spki)) {
    throw refused(`${issuing.subjectText} is for another key than the one that was asked for`);
  }
  const nowMs = answer.now();
  const want = { trustDomain, nowMs };
  const sources = sourcesOf(refused);
  const { roots } = trustedRoots(answer.all, sources, want);
  const { chain, root, validity } = findPath({ issuing, between, roots }, sources, want);
  const [first, ...rest] = chain;
  if (!first) throw refused(`${issuing.subjectText} is a root itself, expected a CA below one`);
  if (validity.notAfterMs - nowMs < MIN_LIFE_MS) {
    throw refused(
      `the issuing CA ends at ${isoTime(validity.notAfterMs)}, it is ${isoTime(nowMs)}`,
    );
  }
  if (beyondMs !== undefined && validity.notAfterMs < beyondMs) {
    throw refused(
      `the issuing CA ends at ${isoTime(validity.notAfterMs)}, before the one it is to replace`,
    );
  }
  if (isBarred(state, root)) throw refused(`the root ${root.subjectText} is tainted`);
  if (authorityName(root) === answer.insteadOf) {
    throw refused(`the issuing CA is below the root ${root.subjectText} again`);
  }
  const fresh = answer.told.filter((one) => !isBarred(state, one));
  const ours: KeyName = { id: key.id, type: key.type };
  const trusted = fresh.filter((one) => roots.some(({ der }) => der.equals(one.der)));
  return { key: ours, chain: [first, ...rest], root, told: trusted };
}

/** Whether the root's key is one that is not to be signed under any more. */
export function isBarred({ roots }: CaState, { spki }: UpstreamCertificate): boolean {
  return roots.some((root) => root.tainted && root.certificate.spki.equals(spki));
}

function readAll(
  ders: readonly Buffer[],
  most: number,
  what: string,
  refused: (why: string) => IdentityError,
): UpstreamCertificate[] {
  if (ders.length > most) throw refused(`${ders.length} of ${what}, at most ${most} are expected`);
  return ders.map((der, n) => {
    if (der.length > MAX_CERTIFICATE_BYTES) {
      throw refused(`${what} ${n + 1} has ${der.length} bytes`);
    }
    try {
      return readOneCertificate(der);
    } catch (thrown) {
      throw refused(`${what} ${n + 1} cannot be read: ${errorText(thrown)}`);
    }
  });
}

const refusedBy = (upstream: UpstreamAuthority) => (why: string) =>
  new IdentityError('ERR_ISSUER', `cannot use the answer of ${upstream.name}: ${printable(why)}`);

const sourcesOf = (refused: (why: string) => IdentityError): PathSources => ({
  chain: 'the chain',
  roots: 'the roots',
  refused: (source, why) => refused(`${source}: ${why}`),
});

const MAX_TEXT = 512;

/** Names in certificates of others go into logs and terminals. */
function printable(text: string): string {
  return text.slice(0, MAX_TEXT).replaceAll(/[^\x20-\x7e]/g, '?');
}
