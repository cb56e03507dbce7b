import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { parseConfig } from './config.ts';
import { PIN_VARIABLE } from './settings-token.ts';

const text = (lines: string, type = 'pkcs11') =>
  `trust_domain: example.org\nissuer:\n  key_manager:\n    type: ${type}\n    pkcs11: ${lines}\n`;
const GOOD = '{ module: /lib/m.so, token_label: ca, pin_file: pin }';
const faultOf = (lines: string, env = {}, type?: string) => {
  try {
    parseConfig(text(lines, type), '/etc/credence.yaml', env);
    return '';
  } catch (thrown) {
    return (thrown as Error).message;
  }
};

describe('the settings of a token', () => {
  it('make a configuration with absolute paths', () => {
    const { issuer } = parseConfig(text(GOOD), '/etc/credence.yaml', {});
    assert.equal(issuer.keyManager, 'pkcs11');
    assert.deepEqual(issuer.pkcs11, {
      module: '/lib/m.so',
      token: { by: 'label', value: 'ca' },
      pin: { file: '/etc/pin' },
      keyLabel: 'credence',
    });
  });

  it('take the PIN from the environment and show it nowhere', () => {
    const env = { [PIN_VARIABLE]: 's3cret-pin' };
    const config = parseConfig(text('{ module: m.so, slot: 3 }'), '/etc/credence.yaml', env);
    const pin = config.issuer.pkcs11?.pin;
    assert.equal(pin && 'text' in pin && pin.text(), 's3cret-pin');
    assert.doesNotMatch(JSON.stringify(config) + inspect(config, { depth: 9 }), /s3cret/);
  });

  it('name the key that is missing, or too many', () => {
    for (const [lines, env, expected] of [
      ['{ token_label: ca, pin_file: pin }', {}, /pkcs11\.module: expected a path/],
      [
        '{ module: m.so, pin_file: pin }',
        {},
        /pkcs11: expected one of token_label, serial and slot/,
      ],
      [
        '{ module: m.so, token_label: a, slot: 1, pin_file: p }',
        {},
        /slot: expected it or token_label/,
      ],
      ['{ module: m.so, slot: 1 }', {}, /pin_file: expected a path, or the PIN in CREDENCE_/],
      [GOOD, { [PIN_VARIABLE]: '1' }, /pin_file: expected it or CREDENCE_/],
      [
        '{ module: m.so, slot: 1, pin_file: p, key_label: "a b" }',
        {},
        /key_label: expected 1 to 32/,
      ],
      ['{ module: m.so, slot: 1, pin_file: p, pin: "1234" }', {}, /pin: unknown setting/],
      ['{ module: m.so, slot: -1, pin_file: p }', {}, /slot: expected a whole number/],
    ] as const) {
      assert.match(faultOf(lines, env), expected, lines);
    }
  });

  it('are refused for keys that are elsewhere', () => {
    assert.match(
      faultOf(GOOD, {}, 'disk'),
      /module: expected issuer.key_manager.type to be pkcs11/,
    );
  });

  it('do not go with a CA whose key is a file', () => {
    const upstream = '  upstream: { type: disk, cert_file: c, key_file: k, bundle_file: b }\n';
    assert.throws(
      () => parseConfig(text(GOOD) + upstream, '/etc/credence.yaml', {}),
      /issuer\.upstream\.type: expected another type/,
    );
  });
});
