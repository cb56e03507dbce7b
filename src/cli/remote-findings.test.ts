import assert from 'node:assert/strict';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { foreignCas } from '../../test/support/upstream.ts';
import { parseConfig } from '../config.ts';
import { remoteFindings } from './remote-findings.ts';

describe('what credence check says of the files for Vault', () => {
  const { folder, make } = foreignCas();
  const ca = make({ name: 'ca' });
  const write = (name: string, text: string, mode = 0o600) => {
    const path = join(folder, name);
    rmSync(path, { force: true });
    writeFileSync(path, text, { mode });
    return path;
  };
  const findings = (auth: object, more: object = {}) => {
    const vault = { address: 'https://vault.test', auth, ...more };
    const issuer = { upstream: { type: 'vault', vault } };
    const text = JSON.stringify({ trust_domain: 'example.org', issuer });
    const { error, warnings } = remoteFindings(parseConfig(text, '/c.yaml', {}));
    return [error?.message, ...warnings.map(({ message }) => message)].filter(Boolean).join('\n');
  };
  const token = write('token', 'hvs.x\n');
  const auth = { type: 'token', token_file: token };

  it('is nothing when they are good, or nobody else is asked', () => {
    const pem = write('ca.pem', ca.cert, 0o644);
    assert.equal(findings(auth, { ca_file: pem, root_file: pem }), '');
    const cert_file = write('cert.pem', ca.cert, 0o644);
    assert.equal(findings({ type: 'cert', cert_file, key_file: write('key', ca.key) }), '');
    const jwt_file = write('jwt', 'a.b.c', 0o644);
    assert.equal(findings({ type: 'kubernetes', role: 'r', jwt_file }), '');
    const none = parseConfig('trust_domain: example.org\n', '/c.yaml', {});
    assert.deepEqual(remoteFindings(none), { warnings: [] });
  });

  it('is a doubt of what is not there, with its setting', () => {
    assert.match(
      findings({ type: 'approle', role_id: 'r', secret_id_file: '/nowhere/secret' }),
      /^issuer\.upstream\.vault\.auth\.secret_id_file: cannot read \/nowhere\/secret: ENOENT.*needs it$/,
    );
    assert.match(findings(auth, { ca_file: '/nowhere' }), /^issuer\.upstream\.vault\.ca_file: /);
  });

  it('is an error for what is no good', () => {
    chmodSync(token, 0o604);
    assert.match(findings(auth), /token has mode 0604, others may reach the token/);
    chmodSync(token, 0o600);
    const html = write('html', '<html>', 0o644);
    assert.match(findings(auth, { ca_file: html }), /expected certificates in PEM, found none/);
    const cert_file = write('cert.pem', ca.cert, 0o644);
    const key_file = write('other.key', make({ name: 'other' }).key);
    assert.match(findings({ type: 'cert', cert_file, key_file }), /does not go with .*cert\.pem: /);
    const empty = write('empty', '');
    assert.match(findings({ ...auth, token_file: empty }), /empty is empty/);
  });
});
