import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { startBus, systemd, type FakeBus } from '../../test/support/system-bus.ts';
import { IdentityError } from '../core/errors.ts';
import { createSystemdAttestor } from './attestor.ts';
import { openBus } from './bus.ts';
import { createUnits, type Units } from './units.ts';

const WEB = { id: 'web.service', file: '/etc/systemd/system/web.service' };
const KNOWN = new Map([
  [7, WEB],
  [8, { id: 'init.scope', file: '' }],
]);
const never = { signal: new AbortController().signal, uid: 1000 };
setMaxListeners(0, never.signal);

describe('the unit of a process', () => {
  let bus: FakeBus;
  let clock: FakeClock;
  let units: Units;
  // The connection to a bus keeps no process alive, and neither does a fake clock.
  let awake: NodeJS.Timeout;
  beforeEach(async () => {
    awake = setInterval(() => undefined, 1000);
    bus = await startBus();
    bus.behave(systemd(KNOWN));
    clock = new FakeClock();
    units = unitsAt(bus.path);
  });
  afterEach(async () => {
    units.close();
    await bus[Symbol.asyncDispose]();
    clearInterval(awake);
  });

  const unitsAt = (path: string) =>
    createUnits({ path, clock, open: (options) => openBus(path, options) });
  const refused = (message: RegExp) => (thrown: unknown) => {
    assert.ok(thrown instanceof IdentityError, String(thrown));
    assert.equal(thrown.code, 'ERR_ATTESTATION');
    assert.match(thrown.message, message);
    return true;
  };

  it('is what systemd says, by its name and its file', async () => {
    assert.deepEqual(await units.unitOf(7, never), { id: WEB.id, fragmentPath: WEB.file });
    assert.deepEqual(await units.unitOf(8, never), { id: 'init.scope', fragmentPath: '' });
    assert.deepEqual(
      bus.calls.slice(0, 3).map(({ member, args }) => [member, ...args]),
      [
        ['GetUnitByPID', 7],
        ['Get', 'org.freedesktop.systemd1.Unit', 'Id'],
        ['Get', 'org.freedesktop.systemd1.Unit', 'FragmentPath'],
      ],
    );
  });

  it('is none of a process that is in none', async () => {
    assert.equal(await units.unitOf(9, never), undefined);
  });

  it('is asked for over one connection, however many ask', async () => {
    const told = await Promise.all(Array.from({ length: 200 }, () => units.unitOf(7, never)));
    for (const unit of told) assert.equal(unit?.id, WEB.id);
    assert.equal(bus.connections, 1);
  });

  it('is asked for again when the bus was restarted', async () => {
    await units.unitOf(7, never);
    bus.hangUp();
    assert.equal((await units.unitOf(7, never))?.id, WEB.id);
    let times = 0;
    bus.behave((call, socket) => {
      if (times++ > 0) return systemd(KNOWN)(call, socket);
      socket.destroy();
      return undefined;
    });
    assert.equal((await units.unitOf(7, never))?.id, WEB.id);
  });

  for (const [what, answer, message] of [
    ['an error', { error: 'org.freedesktop.DBus.Error.AccessDenied' }, /AccessDenied/],
    ['a number', { type: 'u', value: 7 }, /something else than was asked/],
    ['what is no path', { type: 's', value: '/a//b; rm' }, /something else than was asked/],
    ['nothing', { type: 's', value: '' }, /something else than was asked/],
  ] as const) {
    it(`is not told when systemd answers with ${what}`, async () => {
      bus.behave(() => answer);
      await assert.rejects(units.unitOf(7, never), refused(message));
    });
  }

  it('is not told when it goes in between', async () => {
    bus.behave((call, socket) =>
      call.member === 'Get'
        ? { error: 'org.freedesktop.DBus.Error.UnknownObject' }
        : systemd(KNOWN)(call, socket),
    );
    await assert.rejects(units.unitOf(7, never), refused(/UnknownObject/));
  });

  it('is given up, with the connection, when no answer comes', async () => {
    bus.behave(() => undefined);
    const told = assert.rejects(units.unitOf(7, never), refused(/no answer within 5 s/));
    await eventually(() => bus.calls.length === 1, { what: 'the question' });
    await clock.advance(5000);
    await told;
    bus.behave(systemd(KNOWN));
    assert.equal((await units.unitOf(7, never))?.id, WEB.id);
    assert.equal(bus.connections, 2);
  });

  it('is given up when the bus says nothing at all', async () => {
    bus.greet(undefined);
    const told = assert.rejects(units.unitOf(7, never), refused(/no answer within 5 s/));
    await eventually(() => bus.connections === 1, { what: 'the connection' });
    await clock.advance(5000);
    await told;
  });

  for (const [what, line, message] of [
    ['is not let in', 'REJECTED EXTERNAL\r\n', /does not let credence in/],
    ['finds no bus', 'SSH-2.0-OpenSSH_9.2\r\nmore', /is no message bus/],
    ['finds a line that does not end', 'x'.repeat(5000), /is no message bus/],
  ] as const) {
    it(`fails when credence ${what}, and the next one asks again`, async () => {
      bus.greet(line);
      await assert.rejects(units.unitOf(7, never), refused(message));
      bus.greet('OK 1234\r\n');
      assert.equal((await units.unitOf(7, never))?.id, WEB.id);
    });
  }

  it('fails where no bus is', async () => {
    await assert.rejects(unitsAt('/nowhere/bus').unitOf(7, never), refused(/no such socket/));
  });

  it('fails on bytes that are no message', async () => {
    bus.behave((_, socket) => {
      socket.write(Buffer.alloc(64, 0xff));
      return undefined;
    });
    await assert.rejects(units.unitOf(7, never), refused(/does not read as expected/));
  });

  it('is not waited for any more when the process is gone or the daemon stops', async () => {
    bus.behave(() => undefined);
    const own = new AbortController();
    const mine = assert.rejects(units.unitOf(7, { ...never, signal: own.signal }), /gone/);
    const others = assert.rejects(units.unitOf(7, never), { code: 'ERR_SHUTDOWN' });
    await eventually(() => bus.calls.length === 2, { what: 'the questions' });
    own.abort(new IdentityError('ERR_PEER_GONE', 'gone'));
    await mine;
    units.close();
    await others;
    await assert.rejects(units.unitOf(7, never), { code: 'ERR_SHUTDOWN' });
    await settle();
    assert.equal(clock.timers, 0);
  });
});

describe('questions for systemd that wait for their turn', () => {
  it('take no place when nobody asks any more, nor for ever, nor those of other users', async () => {
    const clock = new FakeClock();
    const stuck = { call: () => new Promise<never>(() => undefined), closed: false };
    const open = () => Promise.resolve({ ...stuck, close: () => undefined });
    const units = createUnits({ path: '/bus', open, clock });
    const own = new AbortController();
    const mine = { signal: own.signal, uid: 1000 };
    setMaxListeners(0, own.signal);
    const results: Promise<unknown>[] = [];
    const ask = (options: typeof mine) => {
      const told = units.unitOf(7, options).catch((thrown: unknown) => thrown);
      results.push(told);
      return told;
    };
    // 32 are asked at once, 512 wait: the places of one user.
    for (let n = 0; n < 544; n++) void ask(mine);
    assert.equal(codeOf(await ask(mine)), 'ERR_LIMIT');
    const other = ask({ ...never, uid: 1001 });
    own.abort(new IdentityError('ERR_PEER_GONE', 'gone'));
    for (let n = 0; n < 512; n++) void ask(never);
    assert.equal(codeOf(await ask(never)), 'ERR_LIMIT');
    units.close();
    assert.equal(codeOf(await other), 'ERR_SHUTDOWN');
    await Promise.all(results);
    await clock.advance(10_000);
    assert.equal(clock.timers, 0);
  });
});

const codeOf = (thrown: unknown) => (thrown instanceof IdentityError ? thrown.code : undefined);

describe('the attestor of units', () => {
  const peer = (change: Partial<{ exited: boolean; cgroups: string[] }> = {}) => ({
    credentials: { pid: 7, uid: 1000 },
    hasExited: () => change.exited ?? false,
    cgroup: () => change.cgroups?.shift() ?? '0::/system.slice/web.service\n',
  });
  const attestor = (unit: { id: string; fragmentPath: string } | undefined) =>
    createSystemdAttestor({ unitOf: () => Promise.resolve(unit) });

  it('makes the selectors that SPIRE makes, none of a file that there is not', async () => {
    for (const [unit, expected] of [
      [
        { id: 'web.service', fragmentPath: '/etc/web.service' },
        ['systemd:id:web.service', 'systemd:fragment_path:/etc/web.service'],
      ],
      [{ id: 'init.scope', fragmentPath: '' }, ['systemd:id:init.scope']],
      [undefined, []],
    ] as const) {
      assert.deepEqual((await attestor(unit).attest(peer(), never)).selectors, expected);
    }
  });

  it('says nothing when the answer may have been about another process', async () => {
    const web = attestor({ id: 'web.service', fragmentPath: '' });
    for (const change of [{ exited: true }, { cgroups: ['0::/a\n', '0::/b\n'] }]) {
      await assert.rejects(web.attest(peer(change), never), { code: 'ERR_PEER_GONE' });
    }
  });

  it('holds until the process is in another cgroup', async () => {
    const moving = peer({ cgroups: ['0::/a\n', '0::/a\n', '0::/a\n', '0::/b\n'] });
    const { agrees } = await attestor(undefined).attest(moving, never);
    assert.deepEqual([agrees(), agrees()], [true, false]);
  });
});
