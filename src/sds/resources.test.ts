import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeBundle, fakeSvid, WEB } from '../../test/support/identities.ts';
import { decodeResource } from '../../test/support/secrets.ts';
import type { TrustBundle } from '../identity/bundle.ts';
import { pemBytes } from '../identity/pem.ts';
import { bundleFormOf, createSecretEncoder } from './resources.ts';

describe('createSecretEncoder()', () => {
  it('leaves no copy of a key but the one in the secret', (t) => {
    const svid = fakeSvid(WEB);
    const copies: Buffer[] = [];
    const pem = svid.key.pem.bind(svid.key);
    const expected = pem();
    t.mock.method(svid.key, 'pem', () => {
      const copy = pem();
      copies.push(copy);
      return copy;
    });
    const { resource } = createSecretEncoder().certificate('default', svid);
    assert.ok(Buffer.from(resource).includes(expected));
    assert.deepEqual(copies, [Buffer.alloc(expected.length)]);
  });

  it('writes leaf and intermediates and the key of an SVID', () => {
    const svid = fakeSvid(WEB);
    const { name, resource } = createSecretEncoder().certificate('default', svid);
    assert.equal(name, 'default');
    assert.deepEqual(decodeResource(resource), {
      kind: 'certificate',
      name: 'default',
      chain: Buffer.from(svid.chainPem).toString('latin1'),
      key: svid.key.pem().toString('latin1'),
    });
  });

  it('makes the secret of one SVID under one name once', () => {
    const encoder = createSecretEncoder();
    const svid = fakeSvid(WEB);
    assert.equal(encoder.certificate('default', svid), encoder.certificate('default', svid));
    assert.notEqual(encoder.certificate('default', svid), encoder.certificate(WEB, svid));
  });

  it('gives an SVID the same version under each name and in each run, another one another', () => {
    const [a, b] = [createSecretEncoder(), createSecretEncoder()];
    const version = a.certificate('default', fakeSvid(WEB)).version;
    assert.equal(a.certificate(WEB, fakeSvid(WEB)).version, version);
    assert.equal(b.certificate('default', fakeSvid(WEB)).version, version);
    assert.notEqual(a.certificate('default', fakeSvid(WEB, { serial: '02' })).version, version);
  });

  it('puts nothing of the key into the version', () => {
    const svid = fakeSvid(WEB);
    const other = { ...svid, key: fakeSvid(WEB, { serial: '99' }).key };
    const encoder = createSecretEncoder();
    assert.equal(
      encoder.certificate('default', svid).version,
      encoder.certificate('default', other).version,
    );
  });

  it('writes all roots of a domain in plain form', () => {
    const bundle = fakeBundle('example.org', 1, 2);
    const secret = decodeResource(
      createSecretEncoder().bundles('ROOTCA', [bundle], 'plain').resource,
    );
    assert.ok(secret.kind === 'plain bundle');
    assert.equal(secret.roots.match(/BEGIN CERTIFICATE/g)?.length, 2);
  });

  it('keeps the domains apart in SPIFFE form', () => {
    const bundles = [fakeBundle('example.org'), fakeBundle('partner.example')];
    const secret = decodeResource(
      createSecretEncoder().bundles('ALL', bundles, 'domains').resource,
    );
    assert.ok(secret.kind === 'spiffe bundle');
    assert.deepEqual(Object.keys(secret.domains), ['example.org', 'partner.example']);
    assert.notEqual(secret.domains['example.org'], secret.domains['partner.example']);
  });

  it('says the same twice to a proxy that knows trust_bundles', () => {
    const bundles = [fakeBundle('example.org', 1, 2), fakeBundle('partner.example')];
    const secret = decodeResource(
      createSecretEncoder().bundles('ALL', bundles, 'domains-and-bundles').resource,
    );
    assert.ok(secret.kind === 'spiffe bundle');
    const { trust_domains } = JSON.parse(secret.jwks ?? '') as {
      trust_domains: Record<string, { keys: { use: string; x5c: string[] }[] }>;
    };
    const roots = Object.entries(trust_domains).map(([domain, { keys }]) => [
      domain,
      keys.map(({ use, x5c }) => {
        assert.equal(use, 'x509-svid');
        const [der = '', ...more] = x5c;
        assert.deepEqual(more, []);
        return pemBytes('CERTIFICATE', Buffer.from(der, 'base64')).toString();
      }),
    ]);
    assert.deepEqual(
      roots.map(([domain, pems]) => [domain, [pems].flat().join('')]),
      Object.entries(secret.domains),
    );
  });

  const crls = [Buffer.from('crl of the root'), Buffer.from('crl of the issuing CA')];
  const crlsPem = Buffer.concat(crls.map((crl) => pemBytes('X509 CRL', crl))).toString();

  it('writes CRLs beside the roots in plain form', () => {
    const bundle = fakeBundle('example.org');
    const encoder = createSecretEncoder();
    const rootsOf = (which: TrustBundle) => {
      const secret = decodeResource(encoder.bundles('ROOTCA', [which], 'plain').resource);
      assert.ok(secret.kind === 'plain bundle');
      return secret;
    };
    const without = rootsOf({ ...bundle, crls: [] });
    assert.equal(without.crls, undefined);
    assert.deepEqual(rootsOf({ ...bundle, crls }), { ...without, crls: crlsPem });
  });

  it('writes CRLs behind the roots of their domain in SPIFFE form, where alone they are read', () => {
    const [own, partner] = [fakeBundle('example.org'), fakeBundle('partner.example')];
    const encoder = createSecretEncoder();
    const decode = (which: TrustBundle) => {
      const { resource } = encoder.bundles('ALL', [which, partner], 'domains-and-bundles');
      const secret = decodeResource(resource);
      assert.ok(secret.kind === 'spiffe bundle');
      return secret;
    };
    const without = decode(own);
    assert.notEqual(without.jwks, undefined);
    const revoked = decode({ ...own, sequence: 2, crls });
    // `trust_bundles` would win, and holds no CRL.
    assert.equal(revoked.jwks, undefined);
    assert.deepEqual(revoked.domains, {
      ...without.domains,
      'example.org': `${without.domains['example.org']}${crlsPem}`,
    });
  });

  it('never mixes domains in plain form', () => {
    const bundles = [fakeBundle('example.org'), fakeBundle('partner.example')];
    assert.throws(() => createSecretEncoder().bundles('ALL', bundles, 'plain'), /one bundle/);
  });

  it('makes one object for one content, and another when any of the bundles changes', () => {
    const encoder = createSecretEncoder();
    const [own, partner] = [fakeBundle('example.org'), fakeBundle('partner.example')];
    const before = encoder.bundles('ALL', [own, partner], 'domains');
    assert.equal(encoder.bundles('ALL', [own, partner], 'domains'), before);
    const after = encoder.bundles('ALL', [own, fakeBundle('partner.example', 2)], 'domains');
    assert.notEqual(after.version, before.version);
    assert.notEqual(encoder.bundles('ALL', [own], 'domains').version, after.version);
    assert.notEqual(encoder.bundles('ROOTCA', [own], 'plain').version, after.version);
  });

  it('gives the same bundle the same version in each run', () => {
    const version = () =>
      createSecretEncoder().bundles('ROOTCA', [fakeBundle('example.org')], 'domains').version;
    assert.equal(version(), version());
  });

  it('never writes an empty validation context', () => {
    const encoder = createSecretEncoder();
    const empty = fakeBundle('example.org', 1, 0);
    assert.throws(() => encoder.bundles('ROOTCA', [], 'domains'));
    assert.throws(() => encoder.bundles('ROOTCA', [empty], 'plain'), { code: 'ERR_BUG' });
    assert.throws(() => encoder.bundles('ROOTCA', [empty], 'domains'), { code: 'ERR_BUG' });
    const full = fakeBundle('a.example');
    assert.throws(() => encoder.bundles('ALL', [full, empty], 'domains'), { code: 'ERR_BUG' });
  });

  it('never writes a certificate without chain or key', () => {
    const encoder = createSecretEncoder();
    const svid = { ...fakeSvid(WEB), chainPem: Buffer.alloc(0) };
    assert.throws(() => encoder.certificate('default', svid), { code: 'ERR_BUG' });
  });
});

describe('bundleFormOf()', () => {
  const node = (disableSpiffeCertValidation: boolean | undefined) => ({
    ...{ id: 'a', cluster: 'b', userAgentName: '', userAgentVersion: undefined },
    disableSpiffeCertValidation,
  });

  it('lets a proxy override what is configured, both ways', () => {
    assert.equal(bundleFormOf(node(true), true), 'plain');
    assert.equal(bundleFormOf(node(false), false), 'domains');
  });

  it('adds trust_bundles for an Envoy that states a version which knows them', () => {
    const forms = [
      [1, 33, 99],
      [1, 34, 0],
      [1, 40, 0],
      [2, 0, 0],
    ].map(([major = 0, minor = 0, patch = 0]) =>
      bundleFormOf(
        {
          ...node(undefined),
          ...{ userAgentName: 'envoy', userAgentVersion: { major, minor, patch } },
        },
        true,
      ),
    );
    const both = 'domains-and-bundles';
    assert.deepEqual(forms, ['domains', both, both, both]);
    const other = { userAgentName: 'other', userAgentVersion: { major: 9, minor: 0, patch: 0 } };
    assert.equal(bundleFormOf({ ...node(undefined), ...other }, true), 'domains');
  });

  it('follows the configuration when a proxy says nothing', () => {
    for (const silent of [undefined, node(undefined)]) {
      assert.equal(bundleFormOf(silent, true), 'domains');
      assert.equal(bundleFormOf(silent, false), 'plain');
    }
  });
});
