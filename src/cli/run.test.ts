import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../core/clock.ts';
import { credence } from '../../test/support/transcript.ts';
import { program } from './program.ts';

/** A configuration with these lines, in a folder of its own. */
function configuration(t: TestContext, ...lines: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-run-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'credence.yaml');
  const common = [
    'trust_domain: example.org',
    'socket_path: api.sock',
    'admin_socket_path: private/admin.sock',
    'data_dir: data',
    "telemetry: {metrics_address: ''}",
  ];
  writeFileSync(file, [...common, ...lines, ''].join('\n'));
  return file;
}

/** Starts the daemon, which ends at once, and returns the details of its log's lines of this text. */
async function startAndStop(file: string, msg: string): Promise<unknown[]> {
  let err = '';
  const code = await program(['run', '--config', file], {
    out: () => undefined,
    err: (text) => void (err += text),
    isTTY: false,
    screen: undefined,
    env: {},
    exists: () => false,
    clock: systemClock,
    signal: AbortSignal.abort(),
  });
  assert.equal(code, 0, err);
  const lines = err.split('\n').filter(Boolean);
  return lines
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
    .filter((line) => line['msg'] === msg)
    .map(({ detail }) => detail);
}

describe('credence run', () => {
  it('warns at its start of all that check warns of in the configuration', async (t) => {
    const file = configuration(t, 'issuer: {key_type: ec-p384, key_manager: {type: memory}}');
    const logged = await startAndStop(file, 'configuration warning');
    assert.equal(logged.length, 3);
    assert.equal(logged[2], `${file}: policy.paths: no policy, so nobody gets an identity`);
    const { out } = await credence(['check', '--config', file]);
    const warned = Array.from(out.matchAll(/^warning: (.*)$/gm), ([, text]) => text);
    assert.deepEqual(logged, warned);
  });

  it('warns at its start of each file that an attestor needs and that is not there', async (t) => {
    const kubernetes = `{enabled: true, node_name: n1, api_server: '127.0.0.1:1', ca_file: ca.crt, token_file: token}`;
    const settings = `attestation: {kubernetes: ${kubernetes}}\nissuer: {key_manager: {type: memory}}`;
    const message = 'a file that an attestor needs cannot be used now';
    assert.deepEqual(await startAndStop(configuration(t, settings), message), [
      'attestation.kubernetes.ca_file',
      'attestation.kubernetes.token_file',
    ]);
  });
});
