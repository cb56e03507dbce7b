import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { broken, document, halved, type Behaviour } from '../../test/support/api-server.ts';
import { eventually } from '../../test/support/eventually.ts';
import { HOUR_MS } from '../../test/support/issuer.ts';
import {
  holds,
  newKey,
  orderFor,
  ROOTS_PATH,
  signed,
  startKubeWorld,
  type KubeWorld,
} from '../../test/support/kube-ca.ts';
import { base64 } from '../../test/support/request-signer.ts';
import { CSRS } from '../../test/support/signing-cluster.ts';
import { foreignCas } from '../../test/support/upstream.ts';
import { IdentityError } from '../core/errors.ts';
import type { UpstreamAuthority } from '../issuer/upstream-authority.ts';
import { createKubernetesCsr, type KubernetesCsrTerms } from './kubernetes-csr.ts';

const foreign = foreignCas();
const { signal } = new AbortController();

async function open(t: TestContext, terms: Partial<KubernetesCsrTerms> = {}) {
  const world = await startKubeWorld(t, foreign);
  const reopen = () =>
    world.keep(
      createKubernetesCsr(
        {
          ...world.terms,
          signerName: 'credence.io/node-ca',
          roots: { kind: 'config_map', namespace: 'credence', name: 'roots' },
          ...terms,
        },
        world.deps,
      ),
    );
  return { ...world, authority: reopen(), reopen };
}

/** What an order fails with. */
async function refusal(authority: UpstreamAuthority, key = newKey()): Promise<string> {
  const order = await orderFor(await key);
  const error = await authority.issue(order, { signal }).then(
    () => assert.fail('it was issued'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof IdentityError, String(error));
  assert.equal(error.code, 'ERR_ISSUER', error.message);
  assert.doesNotMatch(error.message, /[\p{C}\p{Zl}\p{Zp}]/u);
  return error.message;
}

/** For requests of this kind alone; what the roots are asked for is answered as ever. */
const onRequests =
  (
    { cluster }: KubeWorld,
    behaviour: Behaviour,
    which: (asked: string) => boolean = () => true,
  ): Behaviour =>
  (request, response) => {
    const asked = `${request.method ?? ''} ${request.url ?? ''}`;
    const isMeant = asked.includes(CSRS) && which(asked);
    return (isMeant ? behaviour : cluster.behaviour)(request, response);
  };

describe('an authority that is asked by CertificateSigningRequests', { timeout: 60_000 }, () => {
  it('asks for a CA of this node and takes what its signer gives', async (t) => {
    const { authority, cluster, root, signs } = await open(t);
    signs();
    const key = await newKey();
    const { chain, roots } = await authority.issue(await orderFor(key), { signal });
    const [ca] = chain.map((der) => new X509Certificate(der));
    assert.ok(ca?.ca);
    assert.deepEqual(ca.publicKey.export({ type: 'spki', format: 'der' }), key.spki);
    assert.deepEqual(roots, [new X509Certificate(root.cert).raw]);
    assert.deepEqual(authority.roots?.current(), roots);
    const [object] = cluster.all(CSRS);
    assert.equal(object?.metadata.annotations?.['credence.io/node-name'], 'node-1');
    const { signerName, usages, expirationSeconds } = object.spec;
    assert.deepEqual(
      { signerName, usages, expirationSeconds },
      {
        signerName: 'credence.io/node-ca',
        usages: ['cert sign', 'crl sign'],
        expirationSeconds: HOUR_MS / 1000,
      },
    );
    assert.match(authority.name, /^kubernetes_csr credence\.io\/node-ca at 127\.0\.0\.1:\d+$/);
  });

  it('asks for no less than the API takes', async (t) => {
    const { authority, cluster, signs } = await open(t);
    signs();
    await authority.issue(await orderFor(await newKey(), 60_000), { signal });
    assert.equal(cluster.all(CSRS)[0]?.spec['expirationSeconds'], 600);
  });

  it('waits for who approves and for who signs', async (t) => {
    const { authority, cluster, root } = await open(t);
    const issuing = authority.issue(await orderFor(await newKey()), { signal });
    const watched = () => cluster.asked.some((one) => /signingrequests\?.*watch=true/.test(one));
    await eventually(watched, { what: 'the request is watched' });
    const [object] = cluster.all(CSRS);
    assert.ok(object);
    cluster.setStatus(CSRS, object.metadata.name, { conditions: [holds('Approved')] });
    cluster.setStatus(CSRS, object.metadata.name, await signed(CSRS, object, root));
    const { chain } = await issuing;
    assert.equal(chain.length, 1);
  });

  it('says by whom it was denied, and asks under another name the next time', async (t) => {
    const { authority, cluster, signs } = await open(t);
    cluster.onCreated = (path, { metadata }) =>
      cluster.setStatus(path, metadata.name, {
        conditions: [holds('Denied', 'NodeUnknown', 'no node\n\u001b[31m of that name')],
      });
    const key = newKey();
    assert.match(
      await refusal(authority, key),
      /^kubernetes_csr \S+ at \S+: request credence-node-1-\w+: it was denied \(NodeUnknown\): no node \[31m of that name$/,
    );
    signs();
    await authority.issue(await orderFor(await key), { signal });
    assert.deepEqual(
      cluster.all(CSRS).map(({ metadata }) => metadata.name.replace(/[0-9a-f]{40}/, 'KEY')),
      ['credence-node-1-KEY', 'credence-node-1-KEY-2'],
    );
  });

  it('finds its own request again after a restart', async (t) => {
    const { authority, reopen, cluster, root } = await open(t, { timeoutMs: 10_000 });
    const key = newKey();
    assert.match(await refusal(authority, key), /no CA within 10 s: request \S+: nobody has appro/);
    const [object] = cluster.all(CSRS);
    assert.ok(object);
    cluster.setStatus(CSRS, object.metadata.name, await signed(CSRS, object, root));
    const { chain } = await reopen().issue(await orderFor(await key), { signal });
    assert.equal(chain.length, 1);
    assert.equal(cluster.all(CSRS).length, 1);
  });

  it('makes no further request while nobody decides about the first', async (t) => {
    const { authority, cluster } = await open(t, { timeoutMs: 10_000 });
    const undecided = /no CA within 10 s: request \S+: nobody has approved it/;
    assert.match(await refusal(authority), undecided);
    assert.match(await refusal(authority), undecided);
    const [first, ...others] = cluster.all(CSRS);
    assert.ok(first);
    assert.deepEqual(others, []);
    cluster.onCreated = (path, { metadata }) =>
      cluster.setStatus(path, metadata.name, { conditions: [holds('Denied', 'Again')] });
    const failing = refusal(authority);
    // The signer is back: it decides about the one of before, and is asked for ours.
    cluster.setStatus(CSRS, first.metadata.name, { conditions: [holds('Denied', 'Before')] });
    assert.match(await failing, /it was denied \(Again\)/);
    assert.equal(cluster.all(CSRS).length, 2);
    // Whoever took it away has decided as well.
    cluster.onCreated = () => undefined;
    assert.match(await refusal(authority), undecided);
    cluster.remove(CSRS, cluster.all(CSRS).at(-1)?.metadata.name ?? '');
    assert.match(await refusal(authority), undecided);
    assert.equal(cluster.all(CSRS).length, 3);
  });

  it('leaves what is of somebody else alone', async (t) => {
    const { authority, cluster, signs } = await open(t);
    signs();
    const key = await newKey();
    await authority.issue(await orderFor(key), { signal });
    const [ours] = cluster.all(CSRS);
    assert.ok(ours);
    const { name } = ours.metadata;
    // The same name, but another signer: whoever it is from, it is not what is asked for.
    const next = await open(t);
    next.signs();
    next.cluster.put(CSRS, name, { ...ours, spec: { ...ours.spec, signerName: 'a.b/c' } });
    await next.authority.issue(await orderFor(key), { signal });
    assert.deepEqual(
      next.cluster.all(CSRS).map(({ metadata }) => metadata.name),
      [name, `${name}-2`],
    );
  });

  it('says which right is missing', async (t) => {
    const world = await open(t);
    const { authority, server } = world;
    const forbidden = document({ message: 'User "x" cannot' }, 403);
    server.behave(onRequests(world, forbidden));
    assert.match(
      await refusal(authority),
      /asked to create the request and answered 403: User "x" cannot; the right is missing: \{apiGroups: \[certificates\.k8s\.io\], resources: \[certificatesigningrequests\], verbs: \[create\]\} in a ClusterRole$/,
    );
    server.behave(onRequests(world, forbidden, (asked) => asked.includes('watch=true')));
    assert.match(await refusal(authority), /asked to follow the request .* verbs: \[watch\]/);
  });

  const faults: readonly (readonly [what: string, behaviour: Behaviour, expected: RegExp])[] = [
    ['a connection that is broken', broken, /could not be asked to create the request: socket/],
    ['an answer that is cut off', halved, /could not be asked to create the request: aborted/],
    [
      'HTML',
      (_, response) => void response.writeHead(200).end('<html>\n<b>welcome</b>'),
      /could not be asked to create the request: the answer is no JSON/,
    ],
    [
      'HTML with an error',
      (_, response) => void response.writeHead(502).end('<html>\n<b>gone</b>'),
      /answered 502: <html> <b>gone<\/b>$/,
    ],
    ['an error of the server', document({ message: 'etcd' }, 500), /answered 500: etcd$/],
    ['a group that is not there', document({}, 404), /answered 404.*no such resource/],
    [
      'an answer without end',
      (_, response) => {
        response.writeHead(201);
        // Node 24 tells of a peer that has gone by the error alone.
        const write = (failed?: Error | null) => {
          if (!failed && !response.destroyed) response.write(' '.repeat(1 << 20), write);
        };
        write();
      },
      /an answer of more than 16777216 bytes/,
    ],
    ['an answer that never comes', () => undefined, /could not be asked .*no answer within 10 s/],
    [
      'one object that says nothing',
      document({ kind: 'Status', status: 7, metadata: [] }, 201),
      /no CA within 60 s: request \S+: /,
    ],
  ];
  for (const [what, behaviour, expected] of faults) {
    it(`has a sentence for ${what}`, async (t) => {
      const world = await open(t);
      world.server.behave(onRequests(world, behaviour));
      assert.match(await refusal(world.authority), expected);
      world.server.behave(world.cluster.behaviour);
      world.signs();
      await world.authority.issue(await orderFor(await newKey()), { signal });
    });
  }

  it('asks again when the server has too much to do, for as long as it wishes', async (t) => {
    const world = await open(t);
    world.signs();
    let refused = 0;
    const busy: Behaviour = (request, response) => {
      if (refused++ > 0) return world.cluster.behaviour(request, response);
      response.writeHead(429, { 'retry-after': '5' }).end('{"message":"slow down"}');
    };
    world.server.behave(onRequests(world, busy, (asked) => asked.startsWith('POST')));
    await world.authority.issue(await orderFor(await newKey()), { signal });
    assert.equal(refused, 2);
  });

  it('goes on waiting through an outage, a watch that breaks and one that says nothing', async (t) => {
    const world = await open(t);
    const { authority, cluster, server, root } = world;
    let watches = 0;
    const whimsical: Behaviour = (request, response) => {
      watches++;
      if (watches === 1) return broken(request, response);
      if (watches === 2) return void response.writeHead(200).end('{"type":"MODIFIED"\n');
      if (watches === 3) return document({ message: 'too old' }, 410)(request, response);
      if (watches === 4) return void response.writeHead(200).end();
      // Half open: neither a line nor an end.
      response.writeHead(200).flushHeaders();
      const [object] = cluster.all(CSRS);
      if (!object) return;
      void signed(CSRS, object, root).then((status) =>
        cluster.setStatus(CSRS, object.metadata.name, status),
      );
    };
    server.behave(onRequests(world, whimsical, (asked) => asked.includes('watch=true')));
    const { chain } = await authority.issue(await orderFor(await newKey()), { signal });
    assert.equal(chain.length, 1);
    assert.equal(watches, 5);
  });

  it('takes up a token that was replaced', async (t) => {
    const { authority, server, signs } = await open(t);
    signs();
    await authority.issue(await orderFor(await newKey()), { signal });
    server.setToken('token-2');
    await authority.issue(await orderFor(await newKey()), { signal });
  });

  it('says that the request was deleted', async (t) => {
    const { authority, cluster } = await open(t);
    const failing = refusal(authority);
    const watched = () => cluster.asked.some((one) => /signingrequests\?.*watch=true/.test(one));
    await eventually(watched, { what: 'the request is watched' });
    cluster.remove(CSRS, cluster.all(CSRS)[0]?.metadata.name ?? '');
    assert.match(await failing, /the request was deleted before it was signed$/);
  });

  const answers: readonly (readonly [string, (world: KubeWorld) => string, RegExp])[] = [
    ['no PEM', () => base64('<html>'), /expected certificates in PEM, found none/],
    ['a key beside it', ({ root }) => base64(root.cert + root.key), /certificates alone/],
    [
      'a certificate of another key',
      ({ root }) => base64(root.cert),
      /the first certificate is of another key: CN=root/,
    ],
    ['one that is cut short', ({ root }) => base64(root.cert.slice(0, 300)), /found none/],
    ['a megabyte', () => base64('A'.repeat(1 << 20)), /1048576 bytes, at most 262144/],
  ];
  for (const [what, certificate, expected] of answers) {
    it(`refuses ${what} and does not look at it again`, async (t) => {
      const world = await open(t);
      const { cluster, authority, signs } = world;
      cluster.onCreated = (path, object) =>
        void cluster.put(path, object.metadata.name, {
          ...object,
          status: { conditions: [holds('Approved')], certificate: certificate(world) },
        });
      const key = newKey();
      assert.match(await refusal(authority, key), expected);
      signs();
      await authority.issue(await orderFor(await key), { signal });
    });
  }

  it('waits for the root that the chain ends at to be told', async (t) => {
    const { authority, cluster, signs, make, root, tellRoots } = await open(t);
    const next = make({ name: 'next' });
    signs({ ca: next });
    const key = await newKey();
    const issuing = authority.issue(await orderFor(key), { signal });
    await eventually(() => cluster.all(CSRS).length > 0, { what: 'the request' });
    tellRoots(root, next);
    const { roots } = await issuing;
    assert.equal(roots.length, 2);
  });

  it('says that the chain ends elsewhere, and takes the certificate once it does not', async (t) => {
    const { authority, cluster, signs, make, root, tellRoots } = await open(t, {
      timeoutMs: 20_000,
    });
    const next = make({ name: 'next' });
    signs({ ca: next });
    const key = newKey();
    assert.match(
      await refusal(authority, key),
      /no CA within 20 s: the chain ends at .*issued by CN=next, which is none of the 1 roots in ConfigMap credence\/roots$/,
    );
    tellRoots(root, next);
    await authority.issue(await orderFor(await key), { signal });
    assert.equal(cluster.all(CSRS).length, 1);
  });

  it('says that nobody tells of the roots', async (t) => {
    const { authority, cluster, signs } = await open(t, {
      roots: { kind: 'config_map', namespace: 'credence', name: 'other' },
      timeoutMs: 20_000,
    });
    signs();
    assert.match(
      await refusal(authority),
      /no CA within 20 s: ConfigMap credence\/other is not there, or has no ca\.crt$/,
    );
    assert.equal(authority.roots?.current(), undefined);
    assert.ok(cluster.asked.some((one) => one.includes(ROOTS_PATH)));
  });

  it('ends at once when it is closed or not wanted any more', async (t) => {
    const { authority } = await open(t);
    const abort = new AbortController();
    const unwanted = authority.issue(await orderFor(await newKey()), { signal: abort.signal });
    abort.abort(new Error('no more'));
    await assert.rejects(unwanted, /^Error: no more$/);
    const pending = authority.issue(await orderFor(await newKey()), { signal });
    authority.close();
    await assert.rejects(pending, { code: 'ERR_SHUTDOWN' });
    await assert.rejects(authority.issue(await orderFor(await newKey()), { signal }), {
      code: 'ERR_SHUTDOWN',
    });
  });
});
