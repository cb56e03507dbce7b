import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  API,
  entitlement,
  fakeBundle,
  fakeSvid,
  OWN,
  PARTNER,
  WEB,
} from '../../test/support/identities.ts';
import { decodeResource } from '../../test/support/secrets.ts';
import { IdentityError } from '../core/errors.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { parseTrustDomain, type SpiffeId } from '../identity/spiffe-id.ts';
import {
  everyName,
  resolveName,
  type HeldSvid,
  type IdentitySource,
  type Resolution,
} from './resolve.ts';
import { createSecretEncoder, type BundleForm } from './resources.ts';

const ALIASES = { svid: 'default', bundle: 'ROOTCA', allBundles: 'ALL' };
const held = (id: string): HeldSvid => ({ svid: fakeSvid(id), renewAtMs: 1, dueAtMs: undefined });

/** What a caller is granted and what there is of it. */
interface World {
  readonly identities?: readonly string[];
  readonly trustDomains?: readonly (typeof OWN)[];
  readonly svids?: readonly string[];
  readonly bundles?: readonly TrustBundle[];
  readonly failing?: boolean;
  readonly form?: BundleForm;
}

function world(of: World) {
  const identities = (of.identities ?? [WEB, API]).map((id) => entitlement(id));
  const bundles = of.bundles ?? [fakeBundle(OWN), fakeBundle(PARTNER)];
  const source: IdentitySource = {
    grant: () => ({
      identities,
      byId: new Map(identities.map((identity) => [identity.id, identity])),
      trustDomains: of.trustDomains ?? [OWN, PARTNER],
    }),
    svid: ({ id }) => ({
      current: () => ((of.svids ?? [WEB, API]).includes(id) ? held(id) : undefined),
      failure: () => (of.failing ? new IdentityError('ERR_ISSUER', 'no CA') : undefined),
    }),
    bundle: (trustDomain) => bundles.find((bundle) => bundle.trustDomain === trustDomain),
    keep: () => undefined,
  };
  const used = new Set<SpiffeId>();
  const form = of.form ?? 'domains';
  const context = { source, encoder: createSecretEncoder(), aliases: ALIASES, form };
  return {
    used,
    everyName: () => everyName(context),
    resolve: (name: string) => resolveName(name, used, context),
  };
}

function secretOf(resolution: Resolution) {
  assert.ok(resolution.kind === 'ready', JSON.stringify(resolution));
  return decodeResource(resolution.secret.resource);
}

describe('resolveName()', () => {
  it('gives the first identity as default, under that name', () => {
    const { resolve, used } = world({});
    const secret = secretOf(resolve('default'));
    assert.deepEqual([secret.kind, secret.name], ['certificate', 'default']);
    assert.ok(secret.kind === 'certificate');
    assert.equal(secret.chain, Buffer.from(fakeSvid(WEB).chainPem).toString('latin1'));
    assert.deepEqual([...used], [WEB]);
  });

  it('gives an identity that the caller holds under its ID', () => {
    const { resolve, used } = world({});
    assert.equal(secretOf(resolve(API)).name, API);
    assert.deepEqual([...used], [API]);
  });

  it('gives both names of one identity', () => {
    const { resolve, used } = world({});
    assert.equal(secretOf(resolve('default')).kind, 'certificate');
    assert.equal(secretOf(resolve(WEB)).kind, 'certificate');
    assert.deepEqual([...used], [WEB]);
  });

  it('denies an identity of somebody else, naming only what was asked', () => {
    const { resolve } = world({ identities: [WEB] });
    const resolution = resolve(API);
    assert.ok(resolution.kind === 'denied');
    assert.ok(resolution.reason.includes(API));
    assert.ok(resolution.reason.includes('entry'));
    assert.ok(!resolution.reason.includes(WEB));
  });

  it('denies the default to a caller without an identity', () => {
    assert.equal(world({ identities: [] }).resolve('default').kind, 'denied');
  });

  it('gives bundles to a caller without an identity', () => {
    const { resolve } = world({ identities: [], trustDomains: [OWN] });
    assert.equal(secretOf(resolve('ROOTCA')).kind, 'spiffe bundle');
    assert.equal(secretOf(resolve('spiffe://example.org')).kind, 'spiffe bundle');
  });

  it('waits while an SVID is being made, and says so when that fails', () => {
    const making = world({ svids: [] }).resolve('default');
    assert.deepEqual(making, { kind: 'waiting', reason: 'default is being signed' });
    const failing = world({ svids: [], failing: true }).resolve('default');
    assert.deepEqual(failing, { kind: 'waiting', reason: 'default could not be signed yet' });
  });

  it('gives the own bundle as ROOTCA and as the trust domain', () => {
    const { resolve } = world({});
    for (const name of ['ROOTCA', 'spiffe://example.org']) {
      const secret = secretOf(resolve(name));
      assert.ok(secret.kind === 'spiffe bundle');
      assert.deepEqual([secret.name, Object.keys(secret.domains)], [name, [OWN]]);
    }
  });

  it('gives a federated bundle, denies any other', () => {
    const secret = secretOf(world({}).resolve('spiffe://partner.example'));
    assert.ok(secret.kind === 'spiffe bundle');
    assert.deepEqual(Object.keys(secret.domains), [PARTNER]);
    assert.equal(world({ trustDomains: [OWN] }).resolve(`spiffe://${PARTNER}`).kind, 'denied');
  });

  it('waits for a bundle that is not there or empty, and never writes it', () => {
    const without = world({ bundles: [fakeBundle(OWN)] });
    assert.equal(without.resolve('spiffe://partner.example').kind, 'waiting');
    const empty = world({ bundles: [fakeBundle(OWN, 1, 0)] });
    for (const name of ['ROOTCA', 'ALL', 'spiffe://example.org']) {
      assert.equal(empty.resolve(name).kind, 'waiting', name);
    }
  });

  it('lists the domains of ALL by name, without those that are not known yet', () => {
    const bundles = [fakeBundle('zz.example'), fakeBundle(OWN), fakeBundle(PARTNER, 1, 0)];
    const trustDomains = [OWN, PARTNER, parseTrustDomain('zz.example')];
    const secret = secretOf(world({ bundles, trustDomains }).resolve('ALL'));
    assert.ok(secret.kind === 'spiffe bundle');
    assert.deepEqual([secret.name, ...Object.keys(secret.domains)], ['ALL', OWN, 'zz.example']);
  });

  it('gives plain bundles one at a time, refuses ALL in that form', () => {
    const { resolve } = world({ form: 'plain' });
    assert.equal(secretOf(resolve('ROOTCA')).kind, 'plain bundle');
    assert.equal(secretOf(resolve('spiffe://partner.example')).kind, 'plain bundle');
    const all = resolve('ALL');
    assert.ok(all.kind === 'refused' && /SPIFFE validator/.test(all.reason));
  });

  for (const name of ['file-cert:/a~/b', 'sds://x', 'nonsense', 'spiffe://example.org/', '']) {
    it(`refuses ${JSON.stringify(name)} whatever the policy says`, () => {
      const resolution = world({}).resolve(name);
      assert.equal(resolution.kind, 'refused');
    });
  }
});

describe('everyName()', () => {
  it('lists known bundles, then identities, all under SPIFFE names', () => {
    assert.deepEqual(world({}).everyName(), [`spiffe://${OWN}`, `spiffe://${PARTNER}`, WEB, API]);
    const { everyName: names } = world({ bundles: [], identities: [] });
    assert.deepEqual(names(), [`spiffe://${OWN}`]);
  });
});
