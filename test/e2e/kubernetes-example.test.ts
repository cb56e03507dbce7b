import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { replaceScalars, type Bootstrap, type Replacements } from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-client.ts';
import { freePort } from '../support/ports.ts';
import { createForeignCas, mountSecret } from '../support/upstream.ts';

const EXAMPLE = fileURLToPath(new URL('../../k8s/example', import.meta.url));
/** None that a file of k8s/ names. */
const DOMAIN = 'prod.test';
const id = (path: string) => entryForMe(`spiffe://${DOMAIN}${path}`);

/** The file of the example, elsewhere and with an admin interface. */
async function bootstrapOf(side: 'client' | 'server', elsewhere: Replacements) {
  const text = readFileSync(join(EXAMPLE, `envoy-${side}.yaml`), 'utf8');
  const read = JSON.parse(JSON.stringify(parse(text))) as Bootstrap;
  const address = { socket_address: { address: '127.0.0.1', port_value: await freePort() } };
  return { ...replaceScalars(read, elsewhere), admin: { address } };
}

describe('the Envoys of k8s/example, in a trust domain of one’s own', () => {
  const folder = mkdtempSync('/tmp/credence-example-');
  const root = createForeignCas(folder)({ name: 'root of all nodes' });
  const ca = mountSecret(join(folder, 'ca'), { ...root, bundle: root.cert });
  const application = createServer((_request, response) => response.end('hello'));
  /** Free ports, by those that the files name. */
  const ports = new Map([10001, 10002, 10003, 8080].map((port) => [port, 0]));
  const port = (inFile: number) => ports.get(inFile) ?? 0;
  const started: AsyncDisposable[] = [];

  before(async () => {
    for (const inFile of ports.keys()) ports.set(inFile, await freePort());
    application.listen(port(8080), '127.0.0.1');
  });
  after(async () => {
    for (const one of started.reverse()) await one[Symbol.asyncDispose]();
    application.close();
    rmSync(folder, { recursive: true });
  });

  /** A node of its own, with the CA of all, and the proxy on it. */
  async function startOn(side: 'client' | 'server', path: string) {
    const settings = { trust_domain: DOMAIN, issuer: { upstream: ca.settings } };
    const node = await createDaemon({ entries: [id(path)], settings });
    started.push(node);
    await node.start();
    const elsewhere = new Map<string | number, string | number>([
      ...ports,
      ...[['0.0.0.0', '127.0.0.1'] as const, ['server', '127.0.0.1'] as const],
      ['/spiffe/api.sock', node.socketPath],
    ]);
    const envoy = await startEnvoy({ bootstrap: await bootstrapOf(side, elsewhere), name: side });
    started.push(envoy);
    await envoy.waitLive();
    return { node, envoy };
  }

  it('refuse who only ends like the peer, and speak with the peer on another node', async () => {
    const server = await startOn('server', '/ns/credence-example/sa/server');
    const client = await startOn('client', '/other/ns/credence-example/sa/client');
    assert.equal((await httpGet(port(10003))).status, 200);
    assert.equal((await httpGet(port(10002))).status, 503);
    const refused = `listener.127.0.0.1_${port(10001)}.ssl.fail_verify_san`;
    assert.ok((await server.envoy.stat(refused)) > 0);

    await client.node.setPolicy([id('/ns/credence-example/sa/client')]);
    await eventually(async () => (await httpGet(port(10002))).body === 'hello', {
      what: 'an answer of the application',
    });
  });
});
