import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { systemRandom } from '../../src/core/random.ts';
import { pemBytes } from '../../src/identity/pem.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { X509Svid } from '../../src/identity/svid.ts';
import type { Authority } from '../../src/issuer/authority.ts';
import { buildCrl } from '../../src/issuer/crl.ts';
import { createLeafKeySource } from '../../src/issuer/leaf-keys.ts';
import { createMemoryKeys } from '../../src/issuer/memory-keys.ts';
import { createMint } from '../../src/issuer/mint.ts';
import { createAuthorityMaker } from '../support/authority-maker.ts';
import { findPlace, named, readBootstrap, type JsonObject } from '../support/bootstrap-file.ts';
import { startEnvoy } from '../support/envoy.ts';
import { DAY_MS, HOUR_MS } from '../support/issuer.ts';
import { CLIENT, SERVER } from '../support/pair.ts';
import { mtlsGet } from '../support/tls-client.ts';

/** Which CRLs a context carries, and whether a client that is not revoked gets in. */
const CASES = [
  { title: 'those of root and issuing CA', crls: ['root', 'issuing'], passes: true },
  { title: 'none at all', crls: [], passes: true },
  { title: 'none of the root', crls: ['issuing'], passes: false },
  { title: 'none of the issuing CA', crls: ['root'], passes: false },
  { title: 'an expired one of the issuing CA', crls: ['root', 'expired'], passes: false },
  { title: 'one of the future', crls: ['root', 'future'], passes: false },
  {
    title: 'that of a CA that has ended beside them',
    crls: ['root', 'issuing', 'other'],
    passes: true,
  },
] as const;
type Which = (typeof CASES)[number]['crls'][number];

/** What Envoy makes of CRLs that Credence never sends, and why it never does. */
describe('an Envoy with CRLs of its own (E25)', () => {
  let ca: { root: Authority; server: X509Svid; client: X509Svid };
  let partner: string;
  let crls: Readonly<Record<Which, string>>;
  before(async () => {
    const trustDomain = parseTrustDomain('example.org');
    const deps = { clock: systemClock, random: systemRandom };
    const config = {
      trustDomain,
      caKeyType: 'ec-p256',
      caTtlMs: DAY_MS,
      rootTtlMs: DAY_MS,
    } as const;
    const make = createAuthorityMaker(createMemoryKeys(), config, deps);
    const root = await make(undefined);
    const [issuing, other] = [await make(root), await make(root)];
    const mint = createMint({
      ...{ ...deps, trustDomain, defaultTtlMs: HOUR_MS },
      leafKeys: createLeafKeySource('ec-p256'),
      ca: { current: () => issuing, usable: () => Promise.resolve(issuing) },
    });
    const sign = (id: string) => mint({ id: parseSpiffeId(id), dnsNames: [] }, {});
    ca = { root, server: await sign(SERVER), client: await sign(CLIENT) };
    const now = systemClock.now();
    const crl = async (signer: Authority, fromMs = -HOUR_MS, toMs = HOUR_MS) => {
      const times = { thisUpdateMs: now + fromMs, nextUpdateMs: now + toMs };
      const der = await buildCrl({ signer, entries: [], number: 1, ...times });
      return pemBytes('X509 CRL', der).toString();
    };
    const theirs = await make(undefined);
    partner = theirs.certificate.pem.toString() + (await crl(theirs));
    crls = {
      root: await crl(root),
      issuing: await crl(issuing),
      expired: await crl(issuing, -HOUR_MS, -60_000),
      future: await crl(issuing, HOUR_MS, 2 * HOUR_MS),
      other: await crl(other, -HOUR_MS, -60_000),
    };
  });

  const inline = (text: string): JsonObject => ({ inline_string: text });
  function contextOf(form: 'plain' | 'spiffe', which: readonly Which[]): JsonObject {
    const roots = ca.root.certificate.pem.toString();
    const pem = which.map((one) => crls[one]).join('');
    if (form === 'plain') return { trusted_ca: inline(roots), ...(pem && { crl: inline(pem) }) };
    return {
      custom_validator_config: {
        name: 'envoy.tls.cert_validator.spiffe',
        typed_config: {
          '@type':
            'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig',
          trust_domains: [
            { name: 'example.org', trust_bundle: inline(roots + pem) },
            // One that revokes something itself: the CRLs of a domain are nobody else's.
            { name: 'partner.example', trust_bundle: inline(partner) },
          ],
        },
      },
    };
  }

  for (const version of ['1.40', '1.36'] as const) {
    for (const form of ['plain', 'spiffe'] as const) {
      for (const { title, crls: which, passes } of CASES) {
        it(`${passes ? 'lets in' : 'refuses'} with ${title}, ${version} ${form}`, async () => {
          const place = await findPlace('/nonexistent/api.sock');
          const bootstrap = await readBootstrap('server', place.replacements);
          const [chain] = named(bootstrap.static_resources.listeners, 'mtls')[
            'filter_chains'
          ] as unknown as [{ transport_socket: { typed_config: JsonObject } }];
          const { server, client } = ca;
          chain.transport_socket.typed_config['common_tls_context'] = {
            tls_certificates: [
              {
                certificate_chain: inline(Buffer.from(server.chainPem).toString()),
                private_key: inline(server.key.pem().toString()),
              },
            ],
            validation_context: contextOf(form, which),
          };
          await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
          await envoy.waitLive();
          const asked = mtlsGet({
            ...{ port: place.port('server'), server: SERVER },
            trust: ca.root.certificate.pem.toString(),
            svid: {
              cert: Buffer.from(client.chainPem).toString(),
              key: client.key.pem().toString(),
              bundle: '',
            },
          });
          await (passes ? asked : assert.rejects(asked));
        });
      }
    }
  }
});
