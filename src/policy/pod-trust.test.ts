import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseSelector } from '../identity/selector.ts';
import { restsOnLittle } from './pod-trust.ts';

const judge = (texts: readonly string[], spiffeId = 'spiffe://example.org/web') =>
  restsOnLittle({ spiffeId, selectors: texts.map(parseSelector) });

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('restsOnLittle()', () => {
  it('warns of a namespace alone', () => {
    assert.equal(
      judge(['k8s:ns:web']),
      'k8s:ns:web is all that spiffe://example.org/web rests on: whoever may make a pod there gets it; add k8s:sa',
    );
    assert.match(judge(['k8s:ns:web', 'k8s:node-name:n1']) ?? '', /whoever may make a pod there/);
    assert.match(
      judge(['k8s:ns:web'], 'spiffe://example.org/{k8s:ns}') ?? '',
      /k8s:ns:web and \{k8s:ns\} is all/,
    );
  });

  it('warns of labels alone, also within a namespace and as a part of the ID', () => {
    for (const [selectors, id] of [
      [['k8s:pod-label:app:web'], undefined],
      [['k8s:pod-label:app:web', 'k8s:ns:web'], undefined],
      [['k8s:ns:web'], 'spiffe://example.org/{k8s:pod-label:app}'],
    ] as const) {
      assert.match(judge(selectors, id) ?? '', /whoever may change the labels of a pod gets it/);
    }
  });

  it('warns of an image by its tag, whatever stands beside it', () => {
    for (const image of [
      'k8s:container-image:docker.io/library/nginx:1.27',
      'k8s:container-image:registry:5000/nginx',
      'k8s:pod-image:nginx:latest',
      `k8s:container-image:nginx:${DIGEST}x`,
    ]) {
      assert.match(judge([image, 'k8s:sa:web', 'k8s:ns:web']) ?? '', / is a tag, .*digest/, image);
    }
  });

  it('warns of a service account whose namespace nobody says', () => {
    for (const selectors of [
      ['k8s:sa:web'],
      ['k8s:pod-label:app:web', 'k8s:sa:web'],
      ['k8s:sa:web', 'k8s:ns-label:env:prod'],
    ]) {
      assert.match(judge(selectors) ?? '', /of that name in any namespace gets it; add k8s:ns/);
    }
    const id = 'spiffe://example.org/{k8s:ns}/{k8s:sa}';
    assert.equal(judge(['k8s:container-name:istio-proxy'], id), undefined);
  });

  it('warns of what whoever makes the pod writes into it', () => {
    for (const selector of [
      'k8s:pod-name:web-1',
      'k8s:container-name:web',
      'k8s:pod-owner:ReplicaSet:web',
      'k8s:pod-image-count:2',
    ]) {
      assert.match(judge([selector, 'k8s:ns:web']) ?? '', /whoever may make a pod there gets it/);
    }
  });

  it('says nothing of what only the operator chooses, or the content decides', () => {
    for (const selectors of [
      ['k8s:ns:web', 'k8s:sa:web'],
      ['k8s:pod-label:app:web', 'k8s:sa:web', 'k8s:ns:web'],
      ['k8s:pod-uid:2c48913c-b29f-41e7-9350-020968147796'],
      ['k8s:ns:web', 'unix:uid:0'],
      ['k8s:ns:web', `k8s:container-image:docker.io/library/nginx@${DIGEST}`],
      ['k8s:ns:web', `k8s:container-image:${DIGEST}`],
      ['unix:uid:1000'],
    ]) {
      assert.equal(judge(selectors), undefined, selectors.join());
    }
    const id = 'spiffe://example.org/ns/{k8s:ns}/sa/{k8s:sa}';
    assert.equal(judge(['k8s:ns:web'], id), undefined);
  });
});
