import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import { createFrames } from './frames.ts';
import { decodeMessage, encodeCall, messageBytes } from './wire.ts';

/** What dbus-daemon and systemd 252 sent. */
const hex = (...parts: readonly string[]) => Buffer.from(parts.join(''), 'hex');
const UNIT = hex(
  '6c02010132000000590000002d000000050175000200000006017300040000003a312e330000000008016700016f0000',
  '07017300040000003a312e30000000002d0000002f6f72672f667265656465736b746f702f73797374656d64312f756e',
  '69742f646275735f32657365727669636500',
);
const NO_UNIT = hex(
  '6c030101320000005a0000005d000000050175000300000006017300040000003a312e330000000004017300250000006f',
  '72672e667265656465736b746f702e73797374656d64312e4e6f556e6974466f72504944000000080167000173000007',
  '017300040000003a312e30000000002d00000050494420393939393920646f6573206e6f742062656c6f6e6720746f20',
  '616e79206c6f6164656420756e69742e00',
);
const ID = hex(
  '6c020101150000005b0000002d000000050175000400000006017300040000003a312e33000000000801670001760000',
  '07017300040000003a312e3000000000017300000c000000646275732e7365727669636500',
);
const SIGNAL = hex(
  '6c04010109000000020000008d00000001016f00150000002f6f72672f667265656465736b746f702f44427573000000',
  '02017300140000006f72672e667265656465736b746f702e4442757300000000030173000c0000004e616d6541637175',
  '697265640000000006017300040000003a312e3300000000080167000173000007017300140000006f72672e66726565',
  '6465736b746f702e4442757300000000040000003a312e3300',
);

describe('messages of the bus', () => {
  for (const [what, bytes, expected] of [
    [
      'an object path',
      UNIT,
      {
        ...{ type: 'return', replyTo: 2, errorName: '' },
        text: '/org/freedesktop/systemd1/unit/dbus_2eservice',
      },
    ],
    [
      'an error',
      NO_UNIT,
      {
        ...{ type: 'error', replyTo: 3, errorName: 'org.freedesktop.systemd1.NoUnitForPID' },
        text: 'PID 99999 does not belong to any loaded unit.',
      },
    ],
    [
      'a text in a variant',
      ID,
      { type: 'return', replyTo: 4, errorName: '', text: 'dbus.service' },
    ],
    ['a signal', SIGNAL, { type: 'other', replyTo: 0, errorName: '', text: undefined }],
  ] as const) {
    it(`are read as systemd sends them: ${what}`, () => {
      assert.deepEqual(decodeMessage(bytes), expected);
    });
  }

  it('are read in the other order of bytes as well', () => {
    const whole = hex('42020101', '00000000', '00000001', '00000008', '05017500', '00000007');
    assert.deepEqual(decodeMessage(whole), {
      ...{ type: 'return', replyTo: 7, errorName: '', text: undefined },
    });
  });

  it('are written with all that a call needs', () => {
    const call = encodeCall(
      { destination: 'a.b', path: '/c', interface: 'd.e', member: 'F', args: [7, 'ghi'] },
      9,
    );
    assert.equal(
      call.toString('hex'),
      [
        '6c0100010c00000009000000',
        '48000000',
        '01016f00020000002f63000000000000',
        '0201730003000000642e650000000000',
        '03017300010000004600000000000000',
        '0601730003000000612e620000000000',
        '0801670002757300',
        '07000000',
        '0300000067686900',
      ].join(''),
    );
  });

  it('are cut from a stream wherever it is split, and long ones are passed over', () => {
    const long = Buffer.concat([UNIT.subarray(0, 16), Buffer.alloc(48 + 100_000)]);
    long.writeUInt32LE(100_000, 4);
    const stream = Buffer.concat([UNIT, long, ID, SIGNAL, long, NO_UNIT]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: stream.length })), (cuts) => {
        const seen: Buffer[] = [];
        const frames = createFrames(1000, (bytes) => seen.push(Buffer.from(bytes)));
        let from = 0;
        for (const cut of [...cuts, stream.length].sort((a, b) => a - b)) {
          frames(stream.subarray(from, cut));
          from = cut;
        }
        assert.deepEqual(seen, [UNIT, ID, SIGNAL, NO_UNIT]);
      }),
      { numRuns: 50 },
    );
  });

  for (const [what, change] of [
    ['an order of bytes that there is not', (bytes: Buffer) => bytes.writeUInt8(0x41, 0)],
    ['another version', (bytes: Buffer) => bytes.writeUInt8(2, 3)],
    ['more than any message has', (bytes: Buffer) => bytes.writeUInt32LE(0xffff_ffff, 4)],
    ['a header of more than any has', (bytes: Buffer) => bytes.writeUInt32LE(0x0500_0000, 12)],
  ] as const) {
    it(`are refused with ${what}, before anything is kept`, () => {
      const bytes = Buffer.from(UNIT);
      change(bytes);
      assert.throws(() => messageBytes(bytes.subarray(0, 16)), { code: 'ERR_ATTESTATION' });
      const frames = createFrames(1000, () => assert.fail('a message'));
      assert.throws(() => frames(bytes), { code: 'ERR_ATTESTATION' });
    });
  }

  it('are refused when their texts reach beyond them', () => {
    for (const at of [40, 24, 64]) {
      const bytes = Buffer.from(UNIT);
      bytes.writeUInt32LE(0x00ff_ffff, at);
      assert.throws(() => decodeMessage(bytes), { code: 'ERR_ATTESTATION' });
    }
  });

  it('throw nothing but its own error, whatever bytes they have', () => {
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(
          fc.constantFrom(UNIT, NO_UNIT, ID, SIGNAL),
          fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
        )
        .map(([message, changes]) => {
          const bytes = Buffer.from(message);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          return bytes;
        }),
    );
    fc.assert(
      fc.property(any, (bytes) => {
        for (const read of [
          () => decodeMessage(bytes),
          () => createFrames(1000, (one) => decodeMessage(one))(bytes),
        ]) {
          try {
            read();
          } catch (thrown) {
            assert.ok(thrown instanceof IdentityError, String(thrown));
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});
