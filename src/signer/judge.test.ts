import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { newKey, nodeRequest, requestText, type Wish } from '../../test/support/node-requests.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { subjectKeyId } from '../issuer/subject-key-id.ts';
import { judge, keyIdOf, nodeCommonName, type DenialReason, type SigningRules } from './judge.ts';

const RULES: SigningRules = {
  trustDomain: parseTrustDomain('example.org'),
  signerName: 'credence.io/node-ca',
  serviceAccount: { namespace: 'credence', name: 'credence' },
  minTtlMs: 600_000,
  maxTtlMs: 86_400_000,
};
const node = (value: unknown) => ({ 'authentication.kubernetes.io/node-name': value });

/** What is wrong, and why it is denied. */
const FORGED: readonly (readonly [string, Wish, DenialReason])[] = [
  ['another user', { spec: { username: 'system:serviceaccount:credence:other' } }, 'NotTheDaemon'],
  ['a user', { spec: { username: 'credence' } }, 'NotTheDaemon'],
  ['no user', { spec: { username: undefined } }, 'NotTheDaemon'],
  ['groups of nobody', { spec: { groups: ['system:authenticated'] } }, 'NotTheDaemon'],
  [
    'groups of another namespace',
    { spec: { groups: ['system:serviceaccounts', 'system:serviceaccounts:other'] } },
    'NotTheDaemon',
  ],
  ['no extras', { spec: { extra: undefined } }, 'NotBoundToAPod'],
  ['no node', { extra: node(undefined) }, 'NotBoundToAPod'],
  ['an empty list of nodes', { extra: node([]) }, 'NotBoundToAPod'],
  ['two nodes', { extra: node(['n1', 'n2']) }, 'NotBoundToAPod'],
  ['a node that is no text', { extra: node([1]) }, 'NotBoundToAPod'],
  ['a node that is no name', { extra: node(['N 1']) }, 'NotBoundToAPod'],
  ['no pod', { extra: { 'authentication.kubernetes.io/pod-uid': [] } }, 'NotBoundToAPod'],
  ['a forged node', { annotations: { 'credence.io/node-name': 'n2' } }, 'OtherNode'],
  ['no node in the request', { annotations: {} }, 'OtherNode'],
  ['another node in the subject', { commonName: 'Credence node n2' }, 'OtherNode'],
  ['a subject of no node', { commonName: 'n1' }, 'OtherNode'],
  ['another trust domain', { trustDomain: 'example.com' }, 'BadRequest'],
  ['one usage too many', { spec: { usages: ['cert sign', 'crl sign', 'any'] } }, 'BadUsages'],
  ['one usage too few', { spec: { usages: ['cert sign'] } }, 'BadUsages'],
  ['too long a life', { spec: { expirationSeconds: 86_401 } }, 'BadLifetime'],
  ['too short a life', { spec: { expirationSeconds: 599 } }, 'BadLifetime'],
  ['a life that is no number', { spec: { expirationSeconds: '3600' } }, 'BadLifetime'],
  ['no request', { spec: { request: undefined } }, 'BadRequest'],
  ['a request that is none', { spec: { request: 'AAAA' } }, 'BadRequest'],
  ['a request that is too long', { spec: { request: 'A'.repeat(20_000) } }, 'BadRequest'],
];

describe('judge()', () => {
  it('takes what a daemon asks for', async () => {
    const key = await newKey();
    const request = await nodeRequest('n1', { key });
    const verdict = judge(request, RULES);
    assert.ok(verdict.kind === 'candidate');
    assert.deepEqual(
      { node: verdict.node, pod: verdict.pod, ttlMs: verdict.ttlMs },
      { node: 'n1', pod: { name: 'credence-n1', uid: 'pod-n1' }, ttlMs: 86_400_000 },
    );
    assert.ok(verdict.spki.equals(key.spki));
    assert.ok(keyIdOf(request)?.equals(subjectKeyId(key.spki)));
  });

  it('gives who names no life the longest', async () => {
    const request = await nodeRequest('n1', { spec: { expirationSeconds: undefined } });
    const verdict = judge(request, RULES);
    assert.equal(verdict.kind === 'candidate' && verdict.ttlMs, RULES.maxTtlMs);
  });

  it('takes a node whose name is longer than a common name may be', async () => {
    const long = `${'n'.repeat(60)}.example`;
    const verdict = judge(await nodeRequest(long), RULES);
    assert.equal(verdict.kind === 'candidate' && verdict.node, long);
    assert.equal(Buffer.byteLength(nodeCommonName(long)), 64);
  });

  for (const [what, wish, reason] of FORGED) {
    it(`denies ${what}`, async () => {
      const verdict = judge(await nodeRequest('n1', wish), RULES);
      assert.equal(verdict.kind === 'deny' ? verdict.reason : verdict.kind, reason);
      assert.ok(verdict.kind === 'deny' && verdict.message.length > 10);
    });
  }

  it('denies two requests in one text', async () => {
    const request = await nodeRequest('n1');
    const twice = Buffer.from(Buffer.from(request.spec.request, 'base64').toString().repeat(2));
    const verdict = judge(
      { ...request, spec: { ...request.spec, request: twice.toString('base64') } },
      RULES,
    );
    assert.equal(verdict.kind === 'deny' && verdict.reason, 'BadRequest');
  });

  it('never throws and never takes what it was not made for', () => {
    fc.assert(
      fc.property(fc.anything(), fc.uint8Array({ maxLength: 300 }), (value, bytes) => {
        assert.equal(judge(value, RULES).kind, 'deny');
        assert.equal(judge({ spec: value }, RULES).kind, 'deny');
        const spec = { request: requestText(Buffer.from(bytes)) };
        assert.equal(judge({ spec }, RULES).kind, 'deny');
        assert.ok(keyIdOf({ spec }) === undefined || bytes.length > 10);
      }),
    );
  });
});
