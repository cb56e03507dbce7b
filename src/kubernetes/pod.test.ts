import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pod, type PodParts } from '../../test/support/pods.ts';
import { readPod } from './pod.ts';

const read = (parts: PodParts) => readPod(pod(parts)) ?? assert.fail();

describe('readPod()', () => {
  it('reads anything at all, or nothing of it', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.anything(), (metadata, spec, status) => {
        const known = { uid: 'u', name: 'n', namespace: 's' };
        readPod({ metadata, spec, status });
        readPod({
          metadata: { ...known, annotations: metadata },
          spec: { ephemeralContainers: spec },
          status: { phase: metadata, ephemeralContainerStatuses: status },
        });
      }),
    );
  });

  it('keeps of annotations what a template can use, and the marks of a static pod', () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`a-${n}`, 'x']));
    const { annotations, configHash } = read({
      annotations: {
        ...{ fits: 'x'.repeat(2048), 'does-not': 'x'.repeat(2049), ...many },
        'kubernetes.io/config.hash': 'h',
        'kubernetes.io/config.mirror': 'm',
      },
    });
    assert.equal(annotations.size, 128 + 2);
    assert.equal(annotations.get('fits')?.length, 2048);
    assert.ok(!annotations.has('does-not'));
    assert.equal(configHash, 'h');
  });

  it('tells whether there is an ephemeral container that has no id yet', () => {
    const pending = (parts: PodParts) => read(parts).pendingEphemeral;
    assert.equal(pending({}), false);
    assert.equal(pending({ ephemeral: ['there'] }), false);
    assert.equal(pending({ ephemeral: ['there'], added: ['new'] }), true);
    assert.equal(pending({ ephemeral: ['waiting'], ids: { waiting: '' } }), true);
    // Of that name there may be another kind.
    assert.equal(pending({ containers: ['new'], added: ['new'] }), true);
  });

  it('knows whether it has ended', () => {
    const ended = (phase: string) => read({ phase }).ended;
    assert.deepEqual(['Failed', 'Succeeded'].map(ended), [true, true]);
    assert.deepEqual(['Pending', 'Running', 'Unknown', ''].map(ended), [
      false,
      false,
      false,
      false,
    ]);
  });
});
