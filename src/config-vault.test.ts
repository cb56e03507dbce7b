import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from './config.ts';

const SECTION = 'issuer.upstream.vault';

/** A configuration with this upstream, as JSON, which YAML is a superset of. */
function parse(vault: object, type = 'vault') {
  const upstream = { type, vault };
  const document = { trust_domain: 'example.org', issuer: { upstream } };
  const { issuer } = parseConfig(JSON.stringify(document), '/etc/credence/credence.yaml', {});
  return issuer.remote?.type === 'vault' ? issuer.remote : undefined;
}

/** What it is refused with, behind the place. */
function refusal(vault: object, type?: string): string {
  try {
    parse(vault, type);
  } catch (thrown) {
    return (thrown as Error).message.replace(/^[^ ]* /, '');
  }
  return assert.fail('it was accepted');
}

const TOKEN = { auth: { type: 'token', token_file: 'token' } };
const MINIMAL = { address: 'https://vault.test:8200', ...TOKEN };

describe('an authority in Vault', () => {
  it('is where the configuration says, and files are relative to it', () => {
    assert.deepEqual(parse({ ...MINIMAL, ca_file: 'ca.pem', root_file: '/root.pem' }), {
      type: 'vault',
      vault: {
        ...{ address: 'https://vault.test:8200', namespace: '', issuerRef: undefined },
        ...{ caFile: '/etc/credence/ca.pem', serverName: undefined, redirectHosts: [] },
        ...{ pkiMount: 'pki', rootFile: '/root.pem' },
        auth: { type: 'token', tokenFile: '/etc/credence/token' },
      },
    });
    const more = { namespace: 'a/b', pki_mount: '/pki/spiffe/', issuer_ref: 'node-ca' };
    const { vault } = parse({ ...MINIMAL, ...more, redirect_hosts: ['A.test'] }) ?? assert.fail();
    assert.deepEqual(
      [vault.namespace, vault.pkiMount, vault.issuerRef, vault.redirectHosts],
      ['a/b', 'pki/spiffe', 'node-ca', ['a.test']],
    );
  });

  it('is logged in to in one of four ways', () => {
    const auth = (one: object) => parse({ ...MINIMAL, auth: one })?.vault.auth;
    assert.deepEqual(auth({ type: 'approle', role_id: 'r', secret_id_file: '/s' }), {
      ...{ type: 'approle', mount: 'approle', roleId: 'r', secretIdFile: '/s' },
    });
    assert.deepEqual(auth({ type: 'kubernetes', role: 'r', mount: 'k8s/one' }), {
      ...{ type: 'kubernetes', mount: 'k8s/one', role: 'r' },
      jwtFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    });
    assert.deepEqual(auth({ type: 'cert', cert_file: '/c', key_file: '/k' }), {
      ...{ type: 'cert', mount: 'cert', role: undefined, certFile: '/c', keyFile: '/k' },
    });
  });

  it('wants what it needs, and nothing that is of another way', () => {
    assert.equal(
      refusal(TOKEN),
      `${SECTION}.address: expected a URL, as issuer.upstream.type is vault`,
    );
    assert.equal(
      refusal({ address: MINIMAL.address }),
      `${SECTION}.auth.type: expected one of token, approle, kubernetes, cert, as issuer.upstream.type is vault`,
    );
    const auth = (one: object) => refusal({ ...MINIMAL, auth: one });
    assert.equal(
      auth({ type: 'approle', role_id: 'r' }),
      `${SECTION}.auth.secret_id_file: expected a value, as ${SECTION}.auth.type is approle`,
    );
    assert.equal(
      auth({ type: 'token', token_file: '/t', role: 'r' }),
      `${SECTION}.auth.role: expected ${SECTION}.auth.type to be kubernetes or cert`,
    );
    assert.equal(
      auth({ type: 'token', token_file: '/t', mount: 'x' }),
      `${SECTION}.auth.mount: expected ${SECTION}.auth.type to be approle or kubernetes or cert`,
    );
    assert.equal(
      refusal({ auth: { role: 'r' } }, 'self_signed'),
      `${SECTION}.auth.role: expected issuer.upstream.type to be vault`,
    );
    assert.equal(parse({}, 'self_signed'), undefined);
  });

  it('is talked to with TLS, but for this machine itself', () => {
    const at = (address: string) => refusal({ ...MINIMAL, address });
    assert.match(at('http://vault.test:8200'), /address: expected https: everybody on the way/);
    assert.match(at('http://127.0.0.1.evil.test'), /address: expected https: /);
    assert.match(at('http://[::2]:8200'), /address: expected https: /);
    for (const address of ['vault.test:8200', 'ftp://vault.test', 'https://', '//x', 'unix:/x']) {
      assert.match(at(address), /address: expected https:\/\/host:port, found/, address);
    }
    for (const address of ['https://a:b@vault.test', 'https://vault.test?x=1', 'https://v#x']) {
      assert.match(at(address), /address: expected https:\/\/host:port, without user/, address);
    }
    const address = (text: string) => parse({ ...MINIMAL, address: text })?.vault.address;
    for (const text of ['http://127.0.0.1:8200', 'http://localhost', 'http://[::1]:8200']) {
      assert.equal(address(text), text);
    }
    assert.equal(address('https://Vault.test/behind/'), 'https://vault.test/behind');
    const auth = { type: 'cert', cert_file: '/c', key_file: '/k' };
    assert.match(
      refusal({ address: 'http://localhost', auth }),
      /address: expected https, as auth\.type is cert/,
    );
  });

  it('takes no path that leads elsewhere', () => {
    for (const pki_mount of [
      '../sys',
      'pki/../sys',
      'pki//x',
      'a b',
      'pki?x',
      'pki/.',
      '%2e',
      '/',
    ]) {
      assert.match(
        refusal({ ...MINIMAL, pki_mount }),
        /pki_mount: expected what stands for itself in a URL/,
        pki_mount,
      );
    }
    for (const issuer_ref of ['a/b', '..', '.', 'a?', 'x/sign-verbatim']) {
      assert.match(refusal({ ...MINIMAL, issuer_ref }), /issuer_ref: expected what stands/);
    }
    assert.match(refusal({ ...MINIMAL, namespace: 'a\nb' }), /namespace: expected what stands/);
  });

  it('is not measured by the life of a root of our own', () => {
    const upstream = { type: 'vault', vault: MINIMAL };
    const issuer = { ca_ttl: '48h', root_ttl: '24h', upstream };
    const text = JSON.stringify({ trust_domain: 'example.org', issuer });
    assert.equal(parseConfig(text, '/c.yaml', {}).issuer.caTtlMs, 172_800_000);
  });
});
