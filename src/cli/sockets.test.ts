import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { credence } from '../../test/support/transcript.ts';
import { systemClock } from '../core/clock.ts';
import type { Terminal } from './command.ts';
import { checkCommand, configFile } from './sockets.ts';

const CONFIG = 'envoy-configs/quickstart/credence.yaml';

const terminal = (env: Terminal['env'] = {}, installed = false): Terminal => ({
  out: () => undefined,
  err: () => undefined,
  isTTY: false,
  screen: undefined,
  env,
  exists: (path) => installed && path === '/run/credence/api.sock',
  clock: systemClock,
  signal: new AbortController().signal,
});

describe('within a clone', () => {
  let clone: string;
  const before = process.cwd();
  beforeEach(() => {
    clone = realpathSync(mkdtempSync(join(tmpdir(), 'credence-clone-')));
    mkdirSync(dirname(join(clone, CONFIG)), { recursive: true });
    writeFileSync(join(clone, CONFIG), 'trust_domain: example.org\npolicy: {paths: [p.yaml]}\n');
    writeFileSync(join(dirname(join(clone, CONFIG)), 'p.yaml'), 'entries: []\n');
    writeFileSync(join(clone, 'package.json'), '{"name": "credence"}');
    process.chdir(clone);
  });
  afterEach(() => {
    process.chdir(before);
    rmSync(clone, { recursive: true });
  });

  it('checks the configuration of npm start when it is told none', async () => {
    const { out, code } = await credence(['check']);
    assert.match(out, /^.*\/envoy-configs\/quickstart\/credence\.yaml: trust domain example\.org/m);
    assert.equal(code, 0);
  });

  it('calls check as it can be called there', () => {
    assert.equal(checkCommand({}, terminal()), 'npx credence check');
    const config = 'other.yaml';
    assert.equal(checkCommand({ config }, terminal()), 'credence check --config other.yaml');
  });

  it('means the installed daemon on a machine that has one', () => {
    assert.equal(configFile({}, terminal()), join(clone, CONFIG));
    assert.equal(configFile({}, terminal({}, true)), undefined);
    assert.equal(checkCommand({}, terminal({}, true)), 'credence check --config FILE');
  });

  it('names no configuration for a daemon that was found by its socket', () => {
    const expected = 'credence check --config FILE';
    assert.equal(checkCommand({ config: 'c', 'admin-socket': '/a' }, terminal()), expected);
    assert.equal(checkCommand({}, terminal({ CREDENCE_ADMIN_SOCKET: '/a' })), expected);
  });
});

describe('outside of a clone', () => {
  it('calls check with a configuration that is yet to be named', () => {
    const before = process.cwd();
    process.chdir('/');
    try {
      assert.equal(checkCommand({}, terminal()), 'credence check --config FILE');
    } finally {
      process.chdir(before);
    }
  });
});
