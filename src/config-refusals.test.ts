import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseConfig, type Config } from './config.ts';
import { IdentityError } from './core/errors.ts';
import type { Environment } from './read-settings.ts';
import { environmentName, SETTINGS } from './settings.ts';

const FILE = '/etc/credence/credence.yaml';
const MINIMAL = 'trust_domain: example.org\n';

function parse(text: string, env: Environment = {}): Config {
  return parseConfig(text, FILE, env);
}

/** What a configuration is refused with. */
function refusal(text: string | Uint8Array, env: Environment = {}): string {
  try {
    parseConfig(text, FILE, env);
  } catch (thrown) {
    assert.ok(thrown instanceof IdentityError, String(thrown));
    assert.equal(thrown.code, 'ERR_CONFIG');
    return thrown.message;
  }
  return assert.fail('it was accepted');
}

describe('parseConfig() on what is wrong', () => {
  const at = (line: number, column: number) => `${FILE}:${line}:${column}: `;
  const cases: readonly (readonly [what: string, text: string, expected: string])[] = [
    [
      'a missing trust domain',
      'data_dir: x\n',
      `${at(1, 1)}trust_domain is missing: expected a trust domain name: a-z, 0-9, dot, dash and underscore, without spiffe://`,
    ],
    [
      'capitals in the trust domain',
      'trust_domain: Example.org\n',
      `${at(1, 15)}trust_domain: expected a trust domain name: a-z, 0-9, dot, dash and underscore, without spiffe://, found "Example.org"`,
    ],
    [
      'an unknown setting',
      `${MINIMAL}issuer:\n  x509_svid_tll: 1h\n`,
      `${at(3, 3)}issuer.x509_svid_tll: unknown setting, did you mean issuer.x509_svid_ttl?`,
    ],
    [
      'an unknown section',
      `${MINIMAL}isuer: {}\n`,
      `${at(2, 1)}isuer: unknown setting, did you mean issuer?`,
    ],
    [
      'a setting without its section',
      `${MINIMAL}log_level: debug\n`,
      `${at(2, 1)}log_level: unknown setting, did you mean telemetry.log_level?`,
    ],
    [
      'a setting of another section, written in another way',
      `${MINIMAL}attestation:\n  kubernetes:\n    clusterName: x\n`,
      `${at(4, 5)}attestation.kubernetes.clusterName: unknown setting, did you mean policy.kubernetes.cluster_name?`,
    ],
    [
      'a section that could be one of two',
      `${MINIMAL}kubernetes: {}\n`,
      `${at(2, 1)}kubernetes: unknown setting, did you mean policy.kubernetes or attestation.kubernetes?`,
    ],
    ['nothing like any setting', `${MINIMAL}colour: red\n`, `${at(2, 1)}colour: unknown setting`],
    [
      'a dotted key, which would otherwise be passed over',
      `${MINIMAL}"data_dir": x\n"issuer.ca_ttl": 1h\n`,
      `${at(3, 1)}issuer.ca_ttl: unknown setting, write it as nested mappings, one for each dot`,
    ],
    [
      'a key of every object',
      `${MINIMAL}constructor: x\n`,
      `${at(2, 1)}constructor: unknown setting`,
    ],
    [
      'a section that is a value',
      `${MINIMAL}issuer: 5\n`,
      `${at(2, 9)}issuer: expected a mapping of settings, found 5`,
    ],
    [
      'a document that is a list',
      '- a\n',
      `${at(1, 1)}expected a mapping of settings, found a list`,
    ],
    [
      'a duration without unit',
      `${MINIMAL}issuer:\n  ca_ttl: 24\n`,
      `${at(3, 11)}issuer.ca_ttl: expected a duration such as 250ms, 30s, 10m, 1h or 7d, at least 20s and at most 3650d, found 24`,
    ],
    [
      'a word of every object as a flag',
      `${MINIMAL}sds: {spiffe_cert_validation: constructor}\n`,
      `${at(2, 31)}sds.spiffe_cert_validation: expected true or false, found "constructor"`,
    ],
    [
      'a list as a flag',
      `${MINIMAL}sds: {spiffe_cert_validation: ["true"]}\n`,
      `${at(2, 31)}sds.spiffe_cert_validation: expected true or false, found a list`,
    ],
    [
      'a number out of range',
      `${MINIMAL}rotation: {fraction: 1}\n`,
      `${at(2, 22)}rotation.fraction: expected a number from 0.05 to 0.95, found 1`,
    ],
    [
      'no number at all',
      `${MINIMAL}rotation: {jitter: .nan}\n`,
      `${at(2, 20)}rotation.jitter: expected a number from 0 to 0.5, found NaN`,
    ],
    [
      'half a stream',
      `${MINIMAL}limits: {names_per_stream: 2.5}\n`,
      `${at(2, 28)}limits.names_per_stream: expected a whole number from 1 to 100000, found 2.5`,
    ],
    [
      'a word that is none of the allowed',
      `${MINIMAL}issuer: {key_type: ed25519}\n`,
      `${at(2, 20)}issuer.key_type: expected one of ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096, found "ed25519"`,
    ],
    [
      'a list with something else in it',
      `${MINIMAL}policy: {paths: [a, 5]}\n`,
      `${at(2, 17)}policy.paths: expected a list of texts, found a list`,
    ],
    [
      'a value that is missing',
      `${MINIMAL}data_dir:\n`,
      `${at(2, 10)}data_dir: expected a text, found nothing`,
    ],
    [
      'a metrics address without port',
      `${MINIMAL}telemetry: {metrics_address: localhost}\n`,
      `${at(2, 30)}telemetry.metrics_address: expected host:port, found "localhost"`,
    ],
    [
      'a metrics port beyond the last',
      `${MINIMAL}telemetry: {metrics_address: "a:65536"}\n`,
      `${at(2, 30)}telemetry.metrics_address: expected host:port, found "a:65536"`,
    ],
    [
      'two default names that are the same',
      `${MINIMAL}sds: {default_bundle_name: default}\n`,
      `${at(2, 6)}sds: the three default names must differ: one name is one kind of secret`,
    ],
    [
      'a default name that already means something',
      `${MINIMAL}sds: {default_svid_name: "spiffe://a/b"}\n`,
      `${at(2, 26)}sds.default_svid_name: "spiffe://a/b" has a fixed meaning and cannot be a default name`,
    ],
    [
      'a CA that outlives its root',
      `${MINIMAL}issuer: {ca_ttl: 2h, root_ttl: 1h}\n`,
      `${at(2, 18)}issuer.ca_ttl: expected at most issuer.root_ttl: a CA cannot outlive its root`,
    ],
    [
      'an SVID that outlives its CA',
      `${MINIMAL}issuer: {x509_svid_ttl: 2h, ca_ttl: 1h}\n`,
      `${at(2, 25)}issuer.x509_svid_ttl: expected at most issuer.ca_ttl: an SVID cannot outlive its CA`,
    ],
    [
      'nobody to attest',
      `${MINIMAL}attestation: {unix: {enabled: false}}\n`,
      `${at(2, 31)}attestation.unix.enabled: expected true: each process is attested by its user`,
    ],
    [
      'a socket path beyond what the kernel takes',
      `${MINIMAL}socket_path: /${'x'.repeat(107)}\n`,
      `${at(2, 14)}socket_path: /${'x'.repeat(107)} has 108 bytes, a socket path has at most 107`,
    ],
    [
      'two sockets in one place',
      `${MINIMAL}socket_path: /a\nadmin_socket_path: /a\n`,
      `${at(3, 20)}admin_socket_path: /a is named twice, each socket needs a path of its own`,
    ],
    [
      'a key twice',
      `${MINIMAL}trust_domain: b\n`,
      `${at(2, 1)}the key "trust_domain" is there twice`,
    ],
    ['two documents', `${MINIMAL}---\n${MINIMAL}`, `${at(3, 1)}only one document is allowed`],
  ];
  for (const [what, text, expected] of cases) {
    it(`names file, line and key of ${what}`, () => assert.equal(refusal(text), expected));
  }

  it('names the line of a syntax error', () => {
    assert.match(refusal(`${MINIMAL}issuer: [\n`), /^\/etc\/credence\/credence\.yaml:[23]:\d+: /);
  });

  it('accepts a socket path of exactly as many bytes as the kernel takes', () => {
    const path = `/${'x'.repeat(106)}`;
    assert.deepEqual(parse(`${MINIMAL}socket_path: ${path}\n`).socketPaths, [path]);
  });

  it('names the environment variable that a bad value came from', () => {
    assert.equal(
      refusal(MINIMAL, { CREDENCE_ROTATION_FRACTION: 'half' }),
      'CREDENCE_ROTATION_FRACTION: expected a number from 0.05 to 0.95, found "half"',
    );
    assert.equal(
      refusal(MINIMAL, { CREDENCE_ISSUER_X509_SVID_TTL: '48h' }),
      'CREDENCE_ISSUER_X509_SVID_TTL: expected at most issuer.ca_ttl: an SVID cannot outlive its CA',
    );
  });

  it('refuses a bad value in the file also when the environment wins over it', () => {
    assert.equal(
      refusal(`${MINIMAL}data_dir: {a: b}\n`, { CREDENCE_DATA_DIR: '/data' }),
      `${at(2, 11)}data_dir: expected a text, found a mapping`,
    );
  });

  it('names the file when a variable of that name means something else', () => {
    assert.equal(
      refusal(`${MINIMAL}admin_socket: x\n`, { CREDENCE_ADMIN_SOCKET: '/run/a.sock' }),
      `${at(2, 1)}admin_socket: unknown setting, did you mean admin_socket_path?`,
    );
  });
});

describe('parseConfig() on bytes from anywhere', () => {
  const line = fc.oneof(
    fc.constantFrom(...SETTINGS.map(({ key }) => key)),
    fc.constantFrom(
      '- ',
      ': ',
      '  ',
      '{',
      '[',
      ']',
      '}',
      '&a ',
      '*a',
      '!!x ',
      '"',
      "'",
      '|',
      '---',
    ),
    fc.string({ unit: 'binary', maxLength: 12 }),
  );
  const text = fc.array(line, { maxLength: 30 }).map((parts) => parts.join(''));

  it('answers with a configuration or ERR_CONFIG and nothing else', () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.uint8Array({ maxLength: 200 })), (input) => {
        acceptsOrRefuses(input, {});
      }),
      { numRuns: 500 },
    );
  });

  it('does so for every setting with every kind of value, in the file and the environment', () => {
    const value = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom('1h', '0', '-1', '1e400', '__proto__', 'constructor', 'a:1', ' ', ',,'),
    );
    const setting = fc.constantFrom(...SETTINGS);
    fc.assert(
      fc.property(setting, value, fc.jsonValue({ maxDepth: 2 }), ({ key }, plain, json) => {
        acceptsOrRefuses(MINIMAL, { [environmentName(key)]: plain });
        const nested = key.split('.').reduceRight<unknown>((inner, k) => ({ [k]: inner }), json);
        acceptsOrRefuses(
          JSON.stringify({ trust_domain: 'example.org', ...(nested as object) }),
          {},
        );
      }),
      { numRuns: 500 },
    );
  });

  function acceptsOrRefuses(input: string | Uint8Array, env: Environment): void {
    try {
      parseConfig(input, FILE, env);
    } catch (thrown) {
      assert.ok(thrown instanceof IdentityError, String(thrown));
      assert.equal(thrown.code, 'ERR_CONFIG', thrown.stack ?? '');
      assert.ok(!thrown.message.includes('\n'), thrown.message);
    }
  }
});
