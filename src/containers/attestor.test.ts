import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ContainerPlace } from '../cgroup/container.ts';
import { selector, type Selector } from '../identity/selector.ts';
import { createContainerAttestor } from './attestor.ts';

const ID = 'ab'.repeat(32);
const options = { signal: new AbortController().signal };

function setUp({ rootless = false } = {}) {
  const asked: ContainerPlace[] = [];
  let answer: (selectors: readonly Selector[]) => void = () => undefined;
  const attestor = createContainerAttestor({
    roots: { parents: [], podsFollowed: true },
    rootless,
    containers: {
      selectorsOf(place) {
        asked.push(place);
        return new Promise((resolve) => (answer = resolve));
      },
    },
  });
  const peer = { credentials: { uid: 7 }, text: '0::/\n', cgroup: () => peer.text };
  return {
    ...{ asked, peer },
    attest: async () => attestor.attest(peer, options),
    answer: () => answer([selector('docker', 'label:app:web')]),
  };
}

describe('the attestor of containers', () => {
  it('says nothing of a process in none, until it moves', async () => {
    const { attest, peer } = setUp();
    const { selectors, agrees } = await attest();
    assert.deepEqual([selectors, agrees()], [[], true]);
    peer.text = `0::/docker/${ID}\n`;
    assert.equal(agrees(), false);
  });

  it('says of a process what its container is, until it moves', async () => {
    const { answer, attest, peer } = setUp();
    peer.text = `0::/docker/${ID}\n`;
    const told = attest();
    answer();
    const { selectors, agrees } = await told;
    assert.deepEqual([selectors, agrees()], [['docker:label:app:web'], true]);
    peer.text = '0::/\n';
    assert.equal(agrees(), false);
  });

  it('says nothing of a process that moved while its engine was asked', async () => {
    const { answer, attest, peer } = setUp();
    peer.text = `0::/docker/${ID}\n`;
    const told = attest();
    peer.text = `0::/docker/${'cd'.repeat(32)}\n`;
    answer();
    await assert.rejects(told, { code: 'ERR_PEER_GONE' });
  });

  it("asks of a user's own container only where that is wanted", async () => {
    const text = `0::/user.slice/user-7.slice/user@7.service/libpod-${ID}.scope\n`;
    const off = setUp();
    off.peer.text = text;
    assert.deepEqual((await off.attest()).selectors, []);
    assert.deepEqual(off.asked, []);
    const on = setUp({ rootless: true });
    on.peer.text = text;
    const told = on.attest();
    on.answer();
    await told;
    assert.deepEqual(
      on.asked.map(({ uid, id }) => [uid, id]),
      [[7, ID]],
    );
  });
});
