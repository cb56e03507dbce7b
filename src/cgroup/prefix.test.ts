import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCgroupLines } from './lines.ts';
import { podPrefix } from './prefix.ts';

describe('podPrefix()', () => {
  for (const [where, text, expected] of [
    ['on a plain node', '0::/kubepods/pod1/c\n', []],
    ['in a nested one', '4:memory:/\n0::/docker/abc/kubepods.slice/x\n', ['docker', 'abc']],
    ['below a root of the kubelet', '0::/kubelet.slice/kubelet-kubepods.slice/x\n', []],
    ['outside of all pods', '0::/system.slice/credence.service\n', undefined],
  ] as const) {
    it(`is what stands before the pods ${where}`, () => {
      assert.deepEqual(podPrefix(parseCgroupLines(text), ['kubelet']), expected);
    });
  }
});
