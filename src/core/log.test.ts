import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PrivateKey } from '../identity/private-key.ts';
import { IdentityError } from './errors.ts';
import { createLogger, silentLogger, type LogFields, type LogLevel } from './log.ts';

interface Line extends Record<string, unknown> {
  readonly level: string;
  readonly msg: string;
  readonly err?: Described;
}

interface Described {
  readonly message: string;
  readonly code?: unknown;
  readonly stack?: string;
  readonly cause?: Described;
}

function start(level: LogLevel = 'debug') {
  const texts: string[] = [];
  const log = createLogger({ level, write: (line) => void texts.push(line) });
  return { log, texts, lines: () => texts.map((text) => JSON.parse(text) as Line) };
}

/** The one line that logging this error gives. */
function logged(err: unknown): Line {
  const { log, lines } = start();
  log.error({ err }, 'failed');
  return onlyLine(lines());
}

function onlyLine(lines: readonly Line[]): Line {
  const [line] = lines;
  assert.ok(line && lines.length === 1);
  return line;
}

/** How many errors hang below this one. */
const depthOf = (described: Described): number =>
  described.cause ? 1 + depthOf(described.cause) : 0;

describe('createLogger()', () => {
  it('writes one JSON line with time, level, message and fields', () => {
    const { log, texts, lines } = start();
    log.info({ peer_pid: 7, resource_names: ['default'] }, 'names asked for');
    assert.equal(texts.length, 1);
    assert.match(texts[0] ?? '', /^\{.*\}\n$/);
    const { time, ...rest } = onlyLine(lines());
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(rest, {
      level: 'info',
      msg: 'names asked for',
      peer_pid: 7,
      resource_names: ['default'],
    });
  });

  for (const [level, expected] of [
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['info', ['info', 'warn', 'error']],
    ['warn', ['warn', 'error']],
    ['error', ['error']],
  ] as const) {
    it(`writes ${expected.join(', ')} when the level is ${level}`, () => {
      const { log, lines } = start(level);
      for (const name of ['debug', 'info', 'warn', 'error'] as const) log[name]({}, name);
      assert.deepEqual(
        lines().map((line) => [line.level, line.msg]),
        expected.map((name) => [name, name]),
      );
    });
  }

  it('gives a child its fields and its level', () => {
    const { log, lines } = start('info');
    const child = log.child({ component: 'sds' }).child({ peer_pid: 7 });
    child.debug({}, 'not written');
    child.info({ nonce: '1' }, 'written');
    const { time: _time, ...rest } = onlyLine(lines());
    const fields = { component: 'sds', peer_pid: 7, nonce: '1' };
    assert.deepEqual(rest, { level: 'info', msg: 'written', ...fields });
  });

  it('keeps a line a line, whatever a peer put into a field', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const { log, texts, lines } = start();
        log.info({ detail: text, node_id: `a\n${text}` }, 'refused');
        assert.equal(texts.length, 1);
        assert.match(texts[0] ?? '', /^[^\n]*\n$/);
        assert.equal(lines()[0]?.['node_id'], `a\n${text}`);
      }),
    );
  });
});

describe('a time in a log line', () => {
  it('is written in ISO 8601, and made into text only when the line is written', (t) => {
    const not_after = new Date(Date.UTC(2030, 0, 1));
    const toText = t.mock.method(not_after, 'toJSON');
    const quiet = start('info');
    quiet.log.debug({ not_after }, 'minted');
    assert.deepEqual([quiet.texts.length, toText.mock.callCount()], [0, 0]);
    const { log, lines } = start();
    log.debug({ not_after, refresh_at: not_after }, 'minted');
    const line = onlyLine(lines());
    const text = '2030-01-01T00:00:00.000Z';
    assert.deepEqual([line['not_after'], line['refresh_at']], [text, text]);
  });
});

describe('an error in a log line', () => {
  it('has message, code and stack, and the same of each cause', () => {
    const root = Object.assign(new Error('no space'), { code: 'ENOSPC' });
    const middle = new IdentityError('ERR_DISK', 'cannot write the journal', { cause: root });
    const { err } = logged(new Error('cannot renew', { cause: middle }));
    assert.equal(err?.message, 'cannot renew');
    assert.match(err.stack ?? '', /log\.test/);
    assert.deepEqual(
      [err.cause?.message, err.cause?.code],
      ['cannot write the journal', 'ERR_DISK'],
    );
    assert.deepEqual([err.cause?.cause?.message, err.cause?.cause?.code], ['no space', 'ENOSPC']);
    assert.equal(err.cause?.cause?.cause, undefined);
  });

  for (const [what, thrown, message] of [
    ['a text', 'why', 'why'],
    ['nothing', undefined, undefined],
    ['an object without a prototype', Object.create(null), 'something that has no text was thrown'],
  ] as const) {
    it(`has the text of ${what}`, () => assert.equal(logged(thrown).err?.message, message));
  }

  it('ends when it is its own cause', () => {
    const loop = new Error('loop');
    loop.cause = new Error('back', { cause: loop });
    const { err } = logged(loop);
    assert.ok(err && depthOf(err) >= 2 && depthOf(err) < 20);
  });

  it('ends when its causes are very many', () => {
    let chain = new Error('0');
    for (let n = 1; n < 20_000; n++) chain = new Error(`${n}`, { cause: chain });
    const { err } = logged(chain);
    assert.ok(err && depthOf(err) >= 2 && depthOf(err) < 20);
  });

  it('is written for anything that can be thrown', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (thrown) => {
        assert.equal(logged(thrown).msg, 'failed');
        const code = Object.assign(new Error('odd code'), { code: thrown });
        assert.equal(logged(code).err?.message, 'odd code');
      }),
    );
  });
});

describe('a private key in a log line', () => {
  const SECRET = 'the key itself';
  const key = new PrivateKey(Buffer.from(SECRET));
  const forms = [
    SECRET,
    Buffer.from(SECRET).toString('base64'),
    Buffer.from(SECRET).toString('hex'),
  ];
  const withKey = (fields: Record<string, unknown>) => fields as LogFields;

  for (const [where, fields] of [
    ['as a field', withKey({ detail: key })],
    ['within a field', withKey({ detail: { svid: [{ key }] } })],
    ['as an error', { err: key }],
    ['as the cause of an error', { err: new Error('x', { cause: key }) }],
    ['as the code of an error', { err: Object.assign(new Error('x'), { code: key }) }],
    ['in the message of an error', { err: new Error(`cannot use ${String(key)}`) }],
  ] as const) {
    it(`is [redacted] ${where}`, () => {
      const { log, texts } = start();
      log.error(fields, 'failed');
      log.child(fields).error({}, 'failed');
      for (const text of texts) {
        assert.match(text, /\[redacted\]/);
        for (const form of forms) assert.equal(text.includes(form), false);
      }
      assert.equal(texts.length, 2);
    });
  }
});

describe('silentLogger', () => {
  it('takes everything, as do its children', () => {
    for (const log of [silentLogger, silentLogger.child({ component: 'x' })]) {
      for (const level of ['debug', 'info', 'warn', 'error'] as const) {
        assert.equal(log[level]({}, 'nothing'), undefined);
      }
    }
  });
});
