// A process that changes while its streams are open. Needs root and python3.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { certificateOf, namesOf, only } from '../support/answers.ts';
import { startApp } from '../support/app.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { eventually } from '../support/eventually.ts';
import { startPeer } from '../support/peer-process.ts';
import { connectProxy, type Proxy, type ProxyStream } from '../support/sds-proxy.ts';

const STAFF = 'spiffe://example.org/staff';
const GUEST = 'spiffe://example.org/guest';
const entries = [
  { spiffe_id: STAFF, selectors: ['unix:supplementary_gid:77'] },
  { spiffe_id: GUEST, selectors: ['unix:supplementary_gid:78'] },
];

/** A proxy whose connection is that of a process with these groups. */
async function startMember(socketPath: string, groups: string) {
  const dir = await mkdtemp(join(tmpdir(), 'credence-member-'));
  const peer = await startPeer(socketPath, ['setpriv', '--groups', groups]);
  const relay = join(dir, 'relay.sock');
  await peer.ask(`relay ${relay}`);
  const proxy = connectProxy(relay);
  return {
    peer,
    proxy,
    async [Symbol.asyncDispose]() {
      proxy.close();
      await peer.end();
      await rm(dir, { recursive: true });
    },
  };
}

function asking(proxy: Proxy, name: string): ProxyStream {
  const stream = proxy.stream();
  stream.ask(name);
  return stream;
}

describe('a process whose groups change', { timeout: 60_000 }, () => {
  before(() => assert.equal(process.getuid?.(), 0, 'these tests change groups: run them as root'));

  it('gets what it is granted now on open streams, loses the rest, and no other notices', async () => {
    await using app = await startApp({ entries });
    await using member = await startMember(app.socketPath, '77');
    const { peer, proxy } = member;
    const staff = asking(proxy, STAFF);
    const first = asking(proxy, 'default');
    const bundle = asking(proxy, 'ROOTCA');
    assert.equal(certificateOf(only(await staff.next())).uri, `URI:${STAFF}`);
    assert.equal(certificateOf(only(await first.next())).uri, `URI:${STAFF}`);
    await bundle.next();
    assert.equal((await asking(proxy, GUEST).ending()).code, 'PERMISSION_DENIED');
    const guest = asking(proxy, GUEST);
    const parked = async () =>
      (await app.status()).proxies[0]?.streams.some(({ waiting }) => waiting[0]?.includes(GUEST));
    await eventually(parked, { what: 'the refused name is parked' });
    await peer.ask('groups 78');
    assert.equal((await staff.ending()).code, 'PERMISSION_DENIED');
    assert.equal(certificateOf(only(await guest.next())).uri, `URI:${GUEST}`);
    assert.equal(certificateOf(only(await first.next())).uri, `URI:${GUEST}`);
    bundle.ack('spiffe://example.org');
    assert.deepEqual(namesOf(await bundle.next()), ['spiffe://example.org']);
    assert.equal(bundle.responses.length, 2);
  });

  it('is asked for its groups whenever it asks for more', async () => {
    // Its clock stands still: nothing but the request itself can tell.
    await using app = await startApp({ entries, deps: { clock: new FakeClock() } });
    await using member = await startMember(app.socketPath, '77');
    const stream = asking(member.proxy, 'default');
    assert.equal(certificateOf(only(await stream.next())).uri, `URI:${STAFF}`);
    await member.peer.ask('groups 79');
    stream.ack('default', STAFF);
    assert.equal((await stream.ending()).code, 'PERMISSION_DENIED');
    assert.equal(stream.responses.length, 1);
  });

  it('loses its streams when it becomes another user', async () => {
    await using app = await startApp({ entries });
    await using member = await startMember(app.socketPath, '77');
    const staff = asking(member.proxy, STAFF);
    await staff.next();
    await member.peer.ask('uid 10002');
    const { code, details } = await staff.ending();
    assert.equal(code, 'UNAVAILABLE');
    assert.match(details, /has ended or is another one now/);
  });
});
