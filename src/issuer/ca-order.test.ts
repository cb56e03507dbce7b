import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { FakeUpstream, makeRoot, TRUST_DOMAIN } from '../../test/support/authorities.ts';
import { authorityWorld, idOf, signer } from '../../test/support/authority-world.ts';
import { seededRandom } from '../../test/support/fake-random.ts';
import { DAY_MS } from '../../test/support/issuer.ts';
import type { Clock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { createCaCertifier } from './authority.ts';
import { orderCa } from './ca-order.ts';
import { createMemoryKeys } from './memory-keys.ts';
import type { IssuedCa } from './upstream-authority.ts';
import { readOneCertificate } from './upstream-certificates.ts';

const options = { signal: AbortSignal.timeout(120_000) };

async function world(t: TestContext) {
  const all = authorityWorld(t);
  const upstream = new FakeUpstream(all.clock, await makeRoot(all.clock, 365 * DAY_MS));
  const source = await all.open({ upstream });
  const control = source.control() ?? assert.fail('no control');
  return { ...all, upstream, source, control };
}

type World = Awaited<ReturnType<typeof world>>;

/** One made for the key that is asked for, with other dates. */
function dated({ upstream, clock }: World, offsetMs: number, ttlMs: number) {
  const at = { now: () => clock.now() + offsetMs } as Clock;
  const certify = createCaCertifier(TRUST_DOMAIN, false, {
    clock: at,
    random: seededRandom('dated'),
  });
  upstream.twist = async (issued, { key }) => {
    const { der } = await certify({ key, ttlMs, issuer: upstream.root });
    return { ...issued, chain: [der] };
  };
}

describe('an answer of an upstream', () => {
  const bad: readonly [string, RegExp, (world: World) => void | Promise<void>][] = [
    [
      'nothing',
      /there is none/,
      ({ upstream }) => {
        upstream.twist = (issued) => ({ ...issued, chain: [] });
      },
    ],
    [
      'no roots',
      /the chain ends at/,
      async ({ upstream, clock }) => {
        upstream.root = await makeRoot(clock, 365 * DAY_MS);
        upstream.twist = (issued) => ({ ...issued, roots: [] });
      },
    ],
    [
      'HTML',
      /certificate 1 cannot be read/,
      ({ upstream }) => {
        upstream.twist = (issued) => ({ ...issued, chain: [Buffer.from('<!doctype html>')] });
      },
    ],
    [
      'a certificate without end',
      /certificate 1 has 65537 bytes/,
      ({ upstream }) => {
        upstream.twist = (issued) => ({ ...issued, chain: [Buffer.alloc(65_537)] });
      },
    ],
    [
      'a chain without end',
      /17 of certificate, at most 16/,
      ({ upstream }) => {
        upstream.twist = ({ chain: [first = Buffer.alloc(0)], roots }) => ({
          ...{ chain: Array<Buffer>(17).fill(first), roots },
        });
      },
    ],
    ['another key', /is for another key/, () => undefined],
    [
      'the root itself',
      /is for another key/,
      ({ upstream }) => {
        upstream.twist = ({ roots }) => ({ chain: roots, roots });
      },
    ],
    [
      'a chain that does not verify',
      /chain ends at|did not sign it/,
      async ({ upstream, clock }) => {
        const other = await makeRoot(clock, 365 * DAY_MS);
        upstream.root = await makeRoot(clock, 365 * DAY_MS);
        upstream.twist = ({ chain }) => ({ chain, roots: [other.certificate.der] });
      },
    ],
    [
      'a root that is none',
      /signed by another/,
      ({ upstream }) => {
        upstream.twist = ({ chain }) => ({ chain, roots: chain });
      },
    ],
    ['a validity in the past', /expired at/, (all) => dated(all, -3 * DAY_MS, DAY_MS)],
    ['a validity to come', /valid from/, (all) => dated(all, 3 * DAY_MS, DAY_MS)],
    ['a life of seconds', /ends at .*, it is/, (all) => dated(all, 0, 5000)],
    [
      'one that ends before the one in use',
      /before the one it is to replace/,
      (all) => dated(all, 0, DAY_MS / 2),
    ],
    [
      'an error of another kind',
      /fake https.*: socket hang up/,
      ({ upstream }) => {
        upstream.twist = () => Promise.reject(new Error('socket hang up'));
      },
    ],
  ];
  for (const [what, message, change] of bad) {
    it(`is refused for: ${what}, and the CA that signs goes on`, async (t) => {
      const all = await world(t);
      const before = signer(all.source);
      const { text } = all.disk;
      if (what === 'another key') {
        const stale = await makeStale(all);
        all.upstream.twist = () => stale;
      } else await change(all);
      await assert.rejects(all.control.prepare('issuing', options), (thrown) => {
        assert.ok(thrown instanceof IdentityError && thrown.code === 'ERR_ISSUER');
        assert.match(thrown.message, message);
        return true;
      });
      assert.equal(signer(all.source), before);
      assert.equal(all.disk.text, text);
      assert.deepEqual(await all.disk.keys.ids(), [before]);
      all.upstream.twist = (issued) => issued;
      await all.control.prepare('issuing', options);
      assert.notEqual(idOf(all.source, 'prepared'), 'none');
    });
  }

  async function makeStale({ upstream }: World): Promise<IssuedCa> {
    const key = await createMemoryKeys().generate('ec-p256');
    return upstream.issue({ key, csr: Buffer.alloc(0), ttlMs: DAY_MS });
  }

  it('may have CAs between, and name constraints that leave the trust domain whole', async (t) => {
    const all = await world(t);
    const key = await createMemoryKeys().generate('ec-p256');
    const certify = createCaCertifier(TRUST_DOMAIN, true, {
      ...{ clock: all.clock, random: seededRandom('constrained') },
    });
    const { der } = await certify({ key, ttlMs: DAY_MS, issuer: all.upstream.root });
    const facts = readOneCertificate(der).facts;
    assert.ok(facts.nameConstraints);
    all.upstream.twist = async (issued, order) => {
      const made = await certify({ key: order.key, ttlMs: DAY_MS, issuer: all.upstream.root });
      return { ...issued, chain: [made.der] };
    };
    await all.control.prepare('issuing', options);
    assert.notEqual(idOf(all.source, 'prepared'), 'none');
  });

  it('of any bytes is a CA or ERR_ISSUER', async (t) => {
    const all = await world(t);
    const state = all.disk.read() ?? assert.fail('no journal');
    const key = await createMemoryKeys().generate('ec-p256');
    const honest = await all.upstream.issue({ key, csr: Buffer.alloc(0), ttlMs: DAY_MS });
    const real = [...honest.chain, ...honest.roots];
    const der = fc.oneof(
      fc.constantFrom(...real),
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(fc.constantFrom(...real), fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.length] = value;
        return copy;
      }),
    );
    const answers = fc.record({
      chain: fc.array(der, { maxLength: 4 }),
      roots: fc.array(der, { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(answers, async (answer) => {
        all.upstream.twist = () => answer;
        const terms = {
          trustDomain: TRUST_DOMAIN,
          ttlMs: DAY_MS,
          state,
          now: () => all.clock.now(),
        };
        try {
          const ca = await orderCa(
            all.upstream,
            key,
            { ...terms, beyondMs: undefined, insteadOf: undefined },
            options,
          );
          assert.ok(ca.chain[0].spki.equals(key.spki));
        } catch (thrown) {
          assert.ok(
            thrown instanceof IdentityError && thrown.code === 'ERR_ISSUER',
            String(thrown),
          );
        }
      }),
      { numRuns: 200 },
    );
  });
});
