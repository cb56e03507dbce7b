import { setMaxListeners } from 'node:events';
import type { Clock } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { IssuedCa, UpstreamAuthority } from '../issuer/upstream-authority.ts';
import type { UpstreamCertificate } from '../issuer/upstream-certificates.ts';
import { fromFiles } from '../kubernetes/access.ts';
import { createApi, type Api } from '../kubernetes/api.ts';
import type { Fields } from '../kubernetes/fields.ts';
import { createCollection, type Collection } from './collection.ts';
import { certificatesOf, chainFault, isBelow, isRoot } from './issued.ts';
import { inquire, type Inquiry } from './inquiry.ts';
import type { KnownRoots } from './known-roots.ts';
import { createLedger } from './ledger.ts';
import { obtain } from './obtain.ts';
import { encodeRequest, type Asker, type EncodedRequest } from './request.ts';
import { followRoots, type RootsPlace } from './roots.ts';
import type { Verdict } from './verdict.ts';

/** What a CA at an API server has in common, whoever signs it. */
export interface KubeCaTerms extends Asker {
  readonly apiServer: { readonly host: string; readonly port: number };
  readonly caFile: string;
  readonly tokenFile: string;
  /** For one CA, from the request to the certificate. */
  readonly timeoutMs: number;
  /** Undefined: the roots come with the certificates. */
  readonly roots: RootsPlace | undefined;
}

/** Requests of one kind, and how they are written and read. */
export interface RequestKind {
  /** For messages; without the API server, which is added. */
  readonly name: string;
  readonly path: string;
  readonly rule: (verbs: readonly string[]) => string;
  readonly body: (request: EncodedRequest, name: string, ttlMs: number) => object;
  readonly isSame: (request: EncodedRequest, object: Fields) => boolean;
  readonly judge: (object: Fields) => Verdict;
  /** Roots that came with it, and what belongs to the chain besides; where no others are told. */
  readonly rootsOf?: (ca: string) => readonly UpstreamCertificate[];
  /** Takes requests of before away, where nobody else does, but for those to be kept; may reject. */
  readonly tidy?: (
    isKept: (name: string) => boolean,
    collection: Collection,
    inquiry: Inquiry,
  ) => Promise<void>;
}

export interface KubeCaDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** An object of the API has 1.5 MB at the most; of ours there are a hundred in a list at the most. */
const MOST_BYTES = 16 * 1024 * 1024;

/** An authority that is asked by objects of a Kubernetes API server. */
export function createKubeAuthority(
  terms: KubeCaTerms,
  kind: RequestKind,
  deps: KubeCaDeps,
): UpstreamAuthority {
  return new KubeAuthority(terms, kind, deps);
}

class KubeAuthority implements UpstreamAuthority {
  readonly name: string;
  readonly roots?: KnownRoots;
  readonly #terms: KubeCaTerms;
  readonly #kind: RequestKind;
  readonly #deps: KubeCaDeps;
  readonly #api: Api;
  readonly #collection: Collection;
  readonly #ledger = createLedger();
  readonly #closing = new AbortController();

  constructor(terms: KubeCaTerms, kind: RequestKind, deps: KubeCaDeps) {
    const { host, port } = terms.apiServer;
    const { clock } = deps;
    this.name = `${kind.name} at ${host.includes(':') ? `[${host}]` : host}:${port}`;
    [this.#terms, this.#kind, this.#deps] = [terms, kind, deps];
    const files = { host, port, ca: terms.caFile, token: terms.tokenFile };
    this.#api = createApi(fromFiles(files, clock), clock, { mostBytes: MOST_BYTES });
    this.#collection = createCollection({ ...kind, api: this.#api, clock });
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    if (terms.roots) this.roots = followRoots(terms.roots, { ...deps, api: this.#api, signal });
  }

  issue(
    { key, ttlMs }: Parameters<UpstreamAuthority['issue']>[0],
    { signal }: { signal: AbortSignal },
  ): Promise<IssuedCa> {
    const { clock } = this.#deps;
    const inquiry = {
      ...{ name: this.name, timeoutMs: this.#terms.timeoutMs, clock },
      signal: AbortSignal.any([signal, this.#closing.signal]),
    };
    return inquire(inquiry, async (asked) => {
      const request = await encodeRequest(key, this.#terms);
      await this.#tidy(request.name, asked);
      const issued = await this.#obtain(request, ttlMs, asked);
      const chain = this.#read(issued, key.spki);
      const found = await this.#withRoots(chain, issued.ca, asked);
      this.#ledger.spend(issued.name);
      return found;
    });
  }

  close(): void {
    this.#closing.abort(new IdentityError('ERR_SHUTDOWN', 'credence is shutting down'));
    this.#api.close();
  }

  #obtain(request: EncodedRequest, ttlMs: number, inquiry: Inquiry) {
    const { body, isSame, judge } = this.#kind;
    const requested = {
      ...{ collection: this.#collection, name: request.name, ledger: this.#ledger, judge },
      body: (name: string) => body(request, name, ttlMs),
      isSame: (object: Fields) => isSame(request, object),
    };
    return obtain(requested, inquiry, this.#deps);
  }

  #read({ certificate, name }: { certificate: string; name: string }, spki: Buffer) {
    try {
      const chain = certificatesOf(certificate, `the certificate of request ${name}`);
      const fault = chainFault(chain, spki);
      if (fault === undefined) return chain;
      throw new IdentityError('ERR_ISSUER', `request ${name}: ${fault}`);
    } catch (thrown) {
      // It would be found again and again.
      this.#ledger.spend(name);
      throw thrown;
    }
  }

  /** Roots of elsewhere may be told a moment later than the first certificate below them. */
  async #withRoots(
    chain: readonly UpstreamCertificate[],
    ca: string,
    { signal, waits }: Inquiry,
  ): Promise<IssuedCa> {
    const { roots } = this;
    if (!roots) return withOwnRoots(chain, this.#kind.rootsOf?.(ca) ?? []);
    const last = chain.at(-1);
    const end = `the chain ends at ${last?.subjectText ?? ''}, issued by ${last?.issuerText ?? ''}`;
    const suffice = (told: readonly UpstreamCertificate[]) => {
      if (isBelow(chain, told)) return true;
      waits(`${end}, which is none of the ${told.length} roots in ${roots.whose}`);
      return false;
    };
    waits(roots.fault() ?? end);
    return { chain: ders(chain), roots: ders(await roots.until(suffice, { signal })) };
  }

  /** What is left over does no harm: it fails without a word to who waits for the CA. */
  async #tidy(name: string, inquiry: Inquiry): Promise<void> {
    const isKept = (one: string) => one.startsWith(name) || one === this.#ledger.undecided;
    try {
      await this.#kind.tidy?.(isKept, this.#collection, inquiry);
    } catch (thrown) {
      inquiry.signal.throwIfAborted();
      const reason = toIdentityError(thrown, 'ERR_ISSUER').message;
      this.#deps.log.info({ reason }, 'requests of earlier CAs are left in the cluster');
    }
  }
}

function withOwnRoots(
  chain: readonly UpstreamCertificate[],
  given: readonly UpstreamCertificate[],
): IssuedCa {
  const all = [...chain, ...given];
  const roots = all.filter(isRoot);
  if (roots.length === 0) throw new IdentityError('ERR_ISSUER', NO_ROOT);
  const between = given.filter((one) => !isRoot(one) && !chain.some((c) => c.der.equals(one.der)));
  return { chain: ders([...chain, ...between]), roots: ders(roots) };
}

const NO_ROOT =
  'no root came with the certificate (status.ca): issuer.upstream.cert_manager.roots says where it is';

const ders = (certificates: readonly UpstreamCertificate[]) => certificates.map(({ der }) => der);
