import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../test/support/fake-clock.ts';
import { FakeLogger, issuerConfig, issuerDeps, WEB } from '../test/support/issuer.ts';
import { openIssuer } from './issuer/issuer.ts';
import { createSigning } from './signing.ts';

const ask = { id: WEB, ttlMs: undefined, dnsNames: [] };

describe('createSigning()', () => {
  it('lets who asks early wait for the issuer, and no longer', async (t) => {
    const signing = createSigning(new FakeLogger());
    const early = signing.svids.mint(ask, { signal: new AbortController().signal });
    let done = false;
    void early.then(() => (done = true));
    await settle();
    assert.equal(done, false);
    const issuer = await openIssuer(issuerConfig(), issuerDeps());
    t.after(() => signing.close());
    signing.begin(issuer);
    assert.equal((await early).id, WEB);
    const late = await signing.svids.mint(ask, { signal: new AbortController().signal });
    assert.notEqual(late.serial, (await early).serial);
  });

  it('lets go of who stops waiting', async () => {
    const signing = createSigning(new FakeLogger());
    const abort = new AbortController();
    const early = signing.svids.mint(ask, { signal: abort.signal });
    abort.abort(new Error('gone'));
    await assert.rejects(early, /gone/);
    signing.close();
  });

  it('has no bundle before the issuer, and says when it has one', async (t) => {
    const signing = createSigning(new FakeLogger());
    const seen: unknown[] = [];
    signing.bundle.onChange(() => seen.push(signing.bundle.current()));
    const stop = signing.bundle.onChange(() => assert.fail('it was stopped'));
    stop();
    assert.deepEqual([signing.bundle.current(), signing.issuer()], [undefined, undefined]);
    const issuer = await openIssuer(issuerConfig(), issuerDeps());
    t.after(() => signing.close());
    signing.begin(issuer);
    assert.equal(seen.length, 1);
    assert.equal(seen[0], issuer.bundle());
    assert.equal(signing.bundle.current(), issuer.bundle());
  });

  it('closes the issuer it was given', async () => {
    const signing = createSigning(new FakeLogger());
    signing.begin(await openIssuer(issuerConfig(), issuerDeps()));
    signing.close();
    await assert.rejects(signing.svids.mint(ask, { signal: new AbortController().signal }), {
      code: 'ERR_SHUTDOWN',
    });
  });
});
