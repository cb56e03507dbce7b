import type { TrustBundle } from '../identity/bundle.ts';
import type { Entitlement } from '../identity/entitlement.ts';
import { trustDomainId, type SpiffeId, type TrustDomain } from '../identity/spiffe-id.ts';
import type { X509Svid } from '../identity/svid.ts';
import { parseResourceName, type AliasNames } from './names.ts';
import type { BundleForm, Secret, SecretEncoder } from './resources.ts';

/** An SVID and the plan for it; `dueAtMs` is when it was due to replace another one. */
export interface HeldSvid {
  readonly svid: X509Svid;
  readonly renewAtMs: number;
  readonly dueAtMs: number | undefined;
}

/** What a caller may have and holds, as SDS sees it. */
export interface IdentitySource {
  grant(): {
    readonly identities: readonly Entitlement[];
    readonly byId: ReadonlyMap<SpiffeId, Entitlement>;
    readonly trustDomains: readonly TrustDomain[];
  };
  svid(identity: Entitlement): {
    current(): HeldSvid | undefined;
    failure(): Error | undefined;
  };
  bundle(trustDomain: TrustDomain): TrustBundle | undefined;
  keep(ids: ReadonlySet<SpiffeId>): void;
}

/** A secret that can be sent, and the SVID in it if it is a certificate. */
export interface Ready {
  readonly secret: Secret;
  readonly held: HeldSvid | undefined;
  /** Sequence of the own trust domain's bundle in it, undefined where there is none. */
  readonly ownBundle?: number | undefined;
}

/** What became of one name. */
export type Resolution =
  | ({ readonly kind: 'ready' } & Ready)
  /** Entitled, but there is nothing to send yet. */
  | { readonly kind: 'waiting'; readonly reason: string }
  /** Not entitled; a policy entry could change that. */
  | { readonly kind: 'denied'; readonly reason: string }
  /** Nothing that Credence serves under any policy. */
  | { readonly kind: 'refused'; readonly reason: string };

/** For whom names are resolved, and how what they stand for is written. */
export interface ResolveContext {
  readonly source: IdentitySource;
  readonly encoder: SecretEncoder;
  readonly aliases: AliasNames;
  readonly form: BundleForm;
}

/** Finds the secret behind a name for one caller; adds the identity it needs to `used`. */
export function resolveName(
  name: string,
  used: Set<SpiffeId>,
  context: ResolveContext,
): Resolution {
  const parsed = parseResourceName(name, context.aliases);
  switch (parsed.kind) {
    case 'svid':
      return resolveSvid(name, parsed.id, used, context);
    case 'bundle':
      return resolveBundle(name, parsed.trustDomain, context);
    case 'all-bundles':
      return resolveAllBundles(name, context);
    case 'elsewhere':
      return refused(`credence does not serve ${name}: ${parsed.servedBy}`);
    case 'unknown':
      return refused(`${quoted(name)} is not a name that credence serves`);
  }
}

/** HTTP/2 has no header that begins with a blank: names that a reader would not see are quoted. */
function quoted(name: string): string {
  return name === '' || name.startsWith(' ') || name.endsWith(' ') ? JSON.stringify(name) : name;
}

/** A name that cannot be sent, and why. */
export interface Unserved {
  readonly name: string;
  readonly reason: string;
}

/** What all names wait for before anything is known of the caller; no resource has an empty name. */
export const ATTESTATION: Unserved = {
  name: '',
  reason: 'the process has not been attested yet',
};

/** What became of a list of names. */
export interface Survey {
  /** Identities that the names need. */
  readonly used: ReadonlySet<SpiffeId>;
  readonly ready: readonly Ready[];
  /** Entitled, with nothing to send yet. */
  readonly waiting: readonly Unserved[];
  /** Not entitled; a policy entry could change that. */
  readonly denied: readonly Unserved[];
  /** Served under no policy. */
  readonly refused: readonly Unserved[];
}

/** Resolves all names; nothing is decided about what it means that some cannot be served. */
export function survey(names: Iterable<string>, context: ResolveContext): Survey {
  const used = new Set<SpiffeId>();
  const ready: Ready[] = [];
  const waiting: Unserved[] = [];
  const denied: Unserved[] = [];
  const refused: Unserved[] = [];
  const lists = { waiting, denied, refused };
  for (const name of names) {
    const resolution = resolveName(name, used, context);
    if (resolution.kind === 'ready') ready.push(resolution);
    else lists[resolution.kind].push({ name, reason: resolution.reason });
  }
  return { used, ready, waiting, denied, refused };
}

/** Everything the caller holds, under SPIFFE names: bundles that are known, then identities. */
export function everyName({ source }: ResolveContext): string[] {
  const { trustDomains, identities } = source.grant();
  const bundles = trustDomains.filter((td, i) => i === 0 || source.bundle(td) !== undefined);
  return [...bundles.map(trustDomainId), ...identities.map(({ id }) => id)];
}

function resolveSvid(
  name: string,
  id: SpiffeId | undefined,
  used: Set<SpiffeId>,
  { source, encoder }: ResolveContext,
): Resolution {
  const { identities, byId } = source.grant();
  const identity = id === undefined ? identities[0] : byId.get(id);
  if (!identity) return denied(`no policy entry for this process grants ${name}`);
  used.add(identity.id);
  const holding = source.svid(identity);
  const held = holding.current();
  if (held) {
    return { kind: 'ready', secret: encoder.certificate(name, held.svid), held };
  }
  return waiting(holding.failure() ? `${name} could not be signed yet` : `${name} is being signed`);
}

function resolveBundle(
  name: string,
  trustDomain: TrustDomain | undefined,
  { source, encoder, form }: ResolveContext,
): Resolution {
  const { trustDomains } = source.grant();
  const domain = trustDomain ?? trustDomains[0];
  if (domain === undefined || !trustDomains.includes(domain)) {
    return denied(`no policy entry for this process federates with ${name}`);
  }
  const bundle = source.bundle(domain);
  if (!usable(bundle)) return waiting(`no trust bundle of ${domain} is known yet`);
  const ownBundle = domain === trustDomains[0] ? bundle.sequence : undefined;
  return ready(encoder.bundles(name, [bundle], form), ownBundle);
}

function resolveAllBundles(name: string, { source, encoder, form }: ResolveContext): Resolution {
  if (form === 'plain') {
    return refused(
      `${name} needs the SPIFFE validator, which this proxy or the configuration has switched off`,
    );
  }
  const [own, ...others] = source.grant().trustDomains.map((td) => source.bundle(td));
  if (!usable(own)) return waiting('no trust bundle is known yet');
  // Sorted by name: the content, hence the version, does not depend on who federates first.
  const bundles = [own, ...others.filter(usable)].sort((a, b) =>
    a.trustDomain < b.trustDomain ? -1 : 1,
  );
  return ready(encoder.bundles(name, bundles, form), own.sequence);
}

/** An empty bundle is never sent: Envoy would accept it and verify nobody, or nothing. */
function usable(bundle: TrustBundle | undefined): bundle is TrustBundle {
  return bundle !== undefined && bundle.x509Authorities.length > 0;
}

const ready = (secret: Secret, ownBundle: number | undefined): Resolution => ({
  ...{ kind: 'ready', secret, ownBundle },
  held: undefined,
});
const waiting = (reason: string): Resolution => ({ kind: 'waiting', reason });
const denied = (reason: string): Resolution => ({ kind: 'denied', reason });
const refused = (reason: string): Resolution => ({ kind: 'refused', reason });
