import assert from 'node:assert/strict';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { IdentityError } from '../../src/core/errors.ts';
import type { AuthorityControl } from '../../src/issuer/authority-control.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { only } from '../support/answers.ts';
import { startApp } from '../support/app.ts';
import { eventually } from '../support/eventually.ts';
import { connectProxy } from '../support/sds-proxy.ts';
import { credence } from '../support/transcript.ts';

/** A daemon whose issuer does by hand what the test says, and its command line. */
async function startByHand(control?: Partial<AuthorityControl>) {
  const state = {
    taint: undefined as ((authorityIds: readonly string[]) => void) | undefined,
    authorityId: '',
  };
  const never = () => Promise.reject(new IdentityError('ERR_ISSUER', 'not in this test'));
  const decorateIssuer = (issuer: Issuer): Issuer => ({
    ...issuer,
    async mint(request, options) {
      const svid = await issuer.mint(request, options);
      state.authorityId = svid.authorityId;
      return svid;
    },
    control: () =>
      control && { prepare: never, activate: never, taint: never, revoke: never, ...control },
    onTainted(listener) {
      state.taint = listener;
      return () => undefined;
    },
  });
  const app = await startApp({ deps: { decorateIssuer } });
  const admin = join(dirname(app.socketPath), 'admin.sock');
  const ca = (...words: string[]) => credence(['ca', ...words, '--admin-socket', admin]);
  return { app, state, ca };
}

describe('authorities by hand', { timeout: 60_000 }, () => {
  it('signs anew what a tainted authority has signed, and a proxy has the old one until then', async () => {
    const { app, state } = await startByHand();
    await using _app = app;
    using proxy = connectProxy(app.socketPath);
    const stream = proxy.stream();
    stream.send({ resource_names: ['default'] });
    const first = only(await stream.next());
    stream.ack('default');
    state.taint?.([state.authorityId]);
    const second = only(await stream.next());
    assert.equal(second.kind, 'certificate');
    assert.notDeepEqual(second, first);
    stream.ack('default');
  });

  it('shows how many proxies have acknowledged the bundle', async () => {
    const { app, ca } = await startByHand();
    await using _app = app;
    using one = connectProxy(app.socketPath);
    using other = connectProxy(app.socketPath);
    for (const proxy of [one, other]) {
      const stream = proxy.stream();
      stream.send({ resource_names: ['ROOTCA'] });
      await stream.next();
      if (proxy === one) stream.ack('ROOTCA');
    }
    await eventually(
      async () =>
        (await ca('status')).out.includes('bundle: 1 of 2 proxies has not acknowledged it'),
      { what: 'one acknowledgement is counted' },
    );
    const metrics = await app.get('/metrics');
    assert.match(metrics, /^credence_sds_bundle_readers\{state="current"\} 1$/m);
    assert.match(metrics, /^credence_sds_bundle_readers\{state="behind"\} 1$/m);
    const { bundle_readers } = JSON.parse(await app.get('/status')) as { bundle_readers: unknown };
    assert.deepEqual(bundle_readers, { readers: 2, behind: 1 });
  });

  it('leaves nothing behind of a fetch', async () => {
    const { app } = await startByHand();
    await using _app = app;
    using proxy = connectProxy(app.socketPath);
    await proxy.fetch({ resource_names: ['ROOTCA'] });
    assert.match(await app.get('/metrics'), /^credence_sds_bundle_readers\{state="behind"\} 0$/m);
  });

  it('takes commands, and gives up a wait when the daemon is to end', async () => {
    let arrived: ((signal: AbortSignal) => void) | undefined;
    const waiting = new Promise<AbortSignal>((resolve) => (arrived = resolve));
    const { app, ca } = await startByHand({
      prepare: (level) => Promise.resolve(`${level} ab12`),
      activate(_level, { signal }) {
        arrived?.(signal);
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
    });
    await using _app = app;
    assert.equal((await ca('prepare', '--root')).out, 'prepared the root root ab12\n');
    const refused = await ca('revoke', 'ab12');
    assert.deepEqual([refused.code, refused.err], [1, 'credence: not in this test\n']);
    const activating = ca('activate');
    const signal = await waiting;
    const aborted = once(signal, 'abort');
    await app.close();
    await aborted;
    assert.equal((await activating).code, 69);
  });

  it('says that there is nothing to do where the issuing CA comes from files', async () => {
    const { app, ca } = await startByHand();
    await using _app = app;
    for (const words of [['prepare'], ['activate'], ['taint', 'ab12'], ['revoke', 'ab12']]) {
      const { err, code } = await ca(...words);
      assert.match(err, /credence: the issuing CA comes from files: /, words.join(' '));
      assert.equal(code, 1);
    }
    assert.match((await ca('status')).out, /^by hand: nothing, the issuing CA comes from files/m);
  });
});
