import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { document, startApiServer, type ApiServer } from '../../test/support/api-server.ts';
import { credence } from '../../test/support/transcript.ts';

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'credence-ca-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function configFor(t: TestContext, { host, port, caFile, tokenFile }: ApiServer): string {
  const path = join(folderFor(t), 'credence.yaml');
  const kubernetes = {
    enabled: true,
    node_name: 'node-1',
    api_server: `${host}:${port}`,
    ca_file: caFile,
    token_file: tokenFile,
  };
  const issuer = { root_ttl: '30d' };
  writeFileSync(
    path,
    JSON.stringify({ trust_domain: 'example.org', attestation: { kubernetes }, issuer }),
  );
  return path;
}

interface Posted {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly body: {
    kind: string;
    type: string;
    metadata: { name: string; namespace: string };
    stringData: Record<string, string>;
  };
}

/** Keeps what is posted, and answers 201 as the API server does. */
function keep(api: ApiServer): Posted[] {
  const posted: Posted[] = [];
  api.behave((request: IncomingMessage, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part));
    request.on('end', () => {
      const { method, url: path } = request;
      posted.push({ method, path, body: JSON.parse(text) as Posted['body'] });
      response.writeHead(201).end(text);
    });
  });
  return posted;
}

describe('credence ca create --out', () => {
  it('writes three files for their owner alone', async (t) => {
    const folder = join(folderFor(t), 'ca');
    const { code, out } = await credence([
      ...['ca', 'create', '--trust-domain', 'example.org'],
      ...['--out', folder],
    ]);
    assert.equal(code, 0);
    assert.match(out, /^root: O=example\.org, CN=Credence root \w+, until \d{4}-/);
    assert.match(out, /^issuing CA: O=example\.org, CN=Credence issuing CA \w+, until \d{4}-/m);
    assert.deepEqual(readdirSync(folder).sort(), ['ca.crt', 'tls.crt', 'tls.key']);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    for (const name of readdirSync(folder)) {
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    }
  });

  it('leaves a CA that is there as it is', async (t) => {
    const folder = join(folderFor(t), 'ca');
    const args = ['ca', 'create', '--trust-domain', 'example.org', '--out', folder];
    await credence(args);
    const before = readFileSync(join(folder, 'tls.key'), 'utf8');
    rmSync(join(folder, 'tls.crt'));
    const { code, err } = await credence(args);
    assert.equal(code, 1);
    assert.match(err, /tls\.key exists: nothing was made\n/);
    assert.equal(readFileSync(join(folder, 'tls.key'), 'utf8'), before);
    assert.ok(!existsSync(join(folder, 'tls.crt')));
  });
});

describe('credence ca create --secret', () => {
  it('creates a TLS Secret that lives as long as the configuration says', async (t) => {
    await using api = await startApiServer();
    const posted = keep(api);
    const config = configFor(t, api);
    const args = ['ca', 'create', '--config', config, '--secret', 'credence/credence-ca'];
    const { code, out, err } = await credence(args);
    assert.equal(code, 0, err);
    assert.match(err, /^created Secret credence\/credence-ca$/m);
    const [secret] = posted;
    assert.equal(secret?.method, 'POST');
    assert.equal(secret.path, '/api/v1/namespaces/credence/secrets');
    const { kind, type, metadata, stringData } = secret.body;
    assert.deepEqual([kind, type], ['Secret', 'kubernetes.io/tls']);
    assert.deepEqual([metadata.namespace, metadata.name], ['credence', 'credence-ca']);
    assert.deepEqual(Object.keys(stringData).sort(), ['ca.crt', 'tls.crt', 'tls.key']);
    const [, until = ''] = /^root: .*, until (\S+)$/m.exec(out) ?? [];
    const days = (Date.parse(until) - Date.now()) / 86_400_000;
    assert.ok(days > 29.9 && days <= 30, until);
  });

  it('is content with a Secret that exists', async (t) => {
    await using api = await startApiServer();
    api.behave(document({ message: 'secrets "credence-ca" already exists' }, 409));
    const args = [
      'ca',
      'create',
      '--config',
      configFor(t, api),
      '--secret',
      'credence/credence-ca',
    ];
    const { code, out, err } = await credence(args);
    assert.deepEqual([code, out], [0, '']);
    assert.match(err, /^Secret credence\/credence-ca exists and stays as it is$/m);
  });

  it('says which right is missing, and never what it wanted to write', async (t) => {
    await using api = await startApiServer();
    api.behave(document({ message: 'secrets is forbidden' }, 403));
    const args = [
      'ca',
      'create',
      '--config',
      configFor(t, api),
      '--secret',
      'credence/credence-ca',
    ];
    const { code, out, err } = await credence(args);
    assert.equal(code, 1);
    assert.match(err, /answered 403: secrets is forbidden\nhint: it takes the right to create/);
    assert.doesNotMatch(out + err, /PRIVATE/);
  });

  it('ends with 69 when nobody answers', async (t) => {
    const api = await startApiServer();
    const config = configFor(t, api);
    const { caFile, tokenFile } = api;
    const kept = [readFileSync(caFile), readFileSync(tokenFile)] as const;
    await api[Symbol.asyncDispose]();
    const folder = folderFor(t);
    const files = ['ca', 'token'].map((name, n) => {
      writeFileSync(join(folder, name), kept[n] ?? '');
      return join(folder, name);
    });
    const env = {
      CREDENCE_ATTESTATION_KUBERNETES_CA_FILE: files[0],
      CREDENCE_ATTESTATION_KUBERNETES_TOKEN_FILE: files[1],
    };
    const args = ['ca', 'create', '--config', config, '--secret', 'credence/credence-ca'];
    const { code, err } = await credence(args, env);
    assert.equal(code, 69, err);
    assert.match(err, /API server 127\.0\.0\.1:\d+: connect ECONNREFUSED/);
  });
});

describe('credence ca create', () => {
  const refusals: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [[], /takes one of --out DIR and --secret NS\/NAME/],
    [['--out', 'a', '--secret', 'b/c'], /takes one of --out DIR and --secret NS\/NAME/],
    [['--out', 'a'], /takes one of --config FILE and --trust-domain TD/],
    [['--out', 'a', '--trust-domain', 'Example.org'], /--trust-domain is "Example\.org": /],
    [['--secret', 'b/c', '--trust-domain', 'example.org'], /--secret needs --config FILE/],
  ];
  for (const [args, message] of refusals) {
    it(`refuses ${args.join(' ') || 'to guess where to'}`, async () => {
      const { code, err } = await credence(['ca', 'create', ...args]);
      assert.equal(code, 64);
      assert.match(err, message);
    });
  }

  for (const name of ['credence-ca', 'a/b/c', '../kube-system/x', 'a/', 'a/B', 'a/b?x=1']) {
    it(`refuses the name ${name}`, async (t) => {
      await using api = await startApiServer();
      const args = ['ca', 'create', '--config', configFor(t, api), '--secret', name];
      const { code, err } = await credence(args);
      assert.equal(code, 64);
      assert.match(err, /expected NAMESPACE\/NAME/);
      assert.deepEqual(api.asked, []);
    });
  }
});
