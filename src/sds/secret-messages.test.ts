import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import descriptors from '../gen/protos.json' with { type: 'json' };
import {
  encodeCertificateSecret,
  encodePlainBundleSecret,
  encodeResource,
  encodeSpiffeBundleSecret,
} from './secret-messages.ts';

// protobufjs, loaded with protos/, is the second opinion.
const root = protobuf.Root.fromJSON(descriptors as protobuf.INamespace);
const SecretType = root.lookupType('envoy.extensions.transport_sockets.tls.v3.Secret');
const SpiffeConfig = root.lookupType(
  'envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
);

function encode(type: protobuf.Type, value: object): Uint8Array {
  return type.encode(type.fromObject(value)).finish();
}

const pem = fc.uint8Array({ minLength: 1, maxLength: 300 });
const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 });

/** The only arm that is set, by its name. */
function arm(secret: Uint8Array): unknown {
  return SecretType.toObject(SecretType.decode(secret), { oneofs: true });
}

describe('encode…Secret()', () => {
  it('writes a certificate that protobufjs reads, and writes in the same bytes', () => {
    fc.assert(
      fc.property(name, pem, pem, (name, chainPem, keyPem) => {
        const secret = encodeCertificateSecret(name, { chainPem, keyPem });
        const value = {
          name,
          tls_certificate: {
            certificate_chain: { inline_bytes: chainPem },
            private_key: { inline_bytes: keyPem },
          },
        };
        assert.deepEqual(secret, Buffer.from(encode(SecretType, value)));
      }),
    );
  });

  it('writes a list of roots that protobufjs reads, and writes in the same bytes', () => {
    fc.assert(
      fc.property(name, pem, (name, rootsPem) => {
        const value = { name, validation_context: { trusted_ca: { inline_bytes: rootsPem } } };
        const secret = encodePlainBundleSecret(name, rootsPem);
        assert.deepEqual(secret, Buffer.from(encode(SecretType, value)));
      }),
    );
  });

  it('writes bundles for the SPIFFE validator that protobufjs reads, and writes alike', () => {
    const bundle = fc.record({ trustDomain: name, rootsPem: pem });
    const bundles = fc.uniqueArray(bundle, {
      minLength: 1,
      maxLength: 5,
      selector: ({ trustDomain }) => trustDomain,
    });
    fc.assert(
      fc.property(name, bundles, fc.option(pem, { nil: undefined }), (name, bundles, jwks) => {
        const trust_domains = bundles.map(({ trustDomain, rootsPem }) => ({
          name: trustDomain,
          trust_bundle: { inline_bytes: rootsPem },
        }));
        const typed_config = {
          type_url:
            'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
          value: encode(SpiffeConfig, {
            trust_domains,
            ...(jwks && { trust_bundles: { inline_bytes: jwks } }),
          }),
        };
        const custom_validator_config = { name: 'envoy.tls.cert_validator.spiffe', typed_config };
        const value = { name, validation_context: { custom_validator_config } };
        assert.deepEqual(
          encodeSpiffeBundleSecret(name, bundles, jwks),
          Buffer.from(encode(SecretType, value)),
        );
      }),
    );
  });

  it('never writes an empty secret', () => {
    const bug = { code: 'ERR_BUG' };
    const none = Buffer.alloc(0);
    const some = Buffer.from('pem');
    const certificate = (chainPem: Buffer, keyPem: Buffer, name = 'default'): Buffer =>
      encodeCertificateSecret(name, { chainPem, keyPem });
    assert.doesNotThrow(() => certificate(some, some));
    assert.throws(() => certificate(none, some), bug);
    assert.throws(() => certificate(some, none), bug);
    assert.throws(() => certificate(some, some, ''), bug);
    assert.throws(() => encodePlainBundleSecret('ROOTCA', none), bug);
    assert.throws(() => encodePlainBundleSecret('', some), bug);
    const spiffe = (...bundles: { trustDomain: string; rootsPem: Buffer }[]): Buffer =>
      encodeSpiffeBundleSecret('ALL', bundles);
    const good = { trustDomain: 'example.org', rootsPem: some };
    assert.doesNotThrow(() => spiffe(good));
    assert.throws(() => spiffe(), bug);
    assert.throws(() => spiffe(good, { trustDomain: 'partner.example', rootsPem: none }), bug);
    assert.throws(() => spiffe(good, { trustDomain: '', rootsPem: some }), bug);
    assert.throws(() => spiffe(good, good), bug);
    assert.throws(() => encodeResource(none), bug);
  });

  it('sets exactly the arm that its name says', () => {
    const some = Buffer.from('pem');
    assert.equal(
      typeOf(encodeCertificateSecret('a', { chainPem: some, keyPem: some })),
      'tls_certificate',
    );
    assert.equal(typeOf(encodePlainBundleSecret('a', some)), 'validation_context');
    assert.equal(
      typeOf(encodeSpiffeBundleSecret('a', [{ trustDomain: 'b', rootsPem: some }])),
      'validation_context',
    );
    function typeOf(secret: Uint8Array): unknown {
      return (arm(secret) as { type?: unknown }).type;
    }
  });
});
