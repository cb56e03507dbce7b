import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeCaller, fakeSvid, WEB } from '../test/support/identities.ts';
import type { Audit, AuditFields } from './audit/audit.ts';
import { createAuditing } from './auditing.ts';
import { IdentityError } from './core/errors.ts';

function auditing({ fault }: { fault?: Error } = {}) {
  const records: [event: string, fields: AuditFields, who: unknown][] = [];
  const audit: Audit = {
    record(event, fields, who) {
      if (fault) throw fault;
      records.push([event, fields, who]);
    },
    refuse: (event, fields, who) => void records.push([event, fields, who]),
    close: () => undefined,
  };
  return { records, auditing: createAuditing(audit, 'ec-p256') };
}

const caller = fakeCaller(7);
const recipient = { caller, sourceOf: () => 'web.yaml:3' };
const request = { id: WEB, ttlMs: undefined, dnsNames: [] };
const options = () => ({ signal: new AbortController().signal, recipient });
const full = new IdentityError('ERR_DISK', 'the disk is full');

describe('an SVID', () => {
  it('is thrown away, its key wiped, when its record is not written', async () => {
    const { records, auditing: audited } = auditing({ fault: full });
    const svid = fakeSvid(WEB);
    const mint = audited.failed(audited.signed(() => Promise.resolve(svid)));
    await assert.rejects(mint(request, options()), full);
    assert.throws(() => svid.key.pkcs8(), { code: 'ERR_BUG' });
    // It would not be written either.
    assert.deepEqual(records, []);
  });

  it('that was signed and is withheld has both records', async () => {
    const { records, auditing: audited } = auditing();
    const signed = audited.signed(() => Promise.resolve(fakeSvid(WEB)));
    const mint = audited.failed(async (...args) => {
      await signed(...args);
      throw new IdentityError('ERR_ISSUER', 'withheld');
    });
    await assert.rejects(mint(request, options()), /withheld/);
    assert.deepEqual(
      records.map(([event]) => event),
      ['x509_svid', 'mint_failed'],
    );
    assert.equal(records[1]?.[1]['entry'], 'web.yaml:3');
  });

  it('that nobody waits for any more is no refusal', async () => {
    const { records, auditing: audited } = auditing();
    const abort = new AbortController();
    const mint = audited.failed(() => {
      abort.abort();
      return Promise.reject(new Error('given up'));
    });
    await assert.rejects(mint(request, { signal: abort.signal, recipient }), /given up/);
    const closed = audited.failed(() => Promise.reject(new IdentityError('ERR_SHUTDOWN', 'bye')));
    await assert.rejects(closed(request, options()), /bye/);
    assert.deepEqual(records, []);
  });

  it('has as many DNS names in its record as that holds', async () => {
    const { records, auditing: audited } = auditing();
    const dnsNames = Array.from({ length: 100 }, (_, n) => `host-${n}.example`);
    const mint = audited.signed(() => Promise.resolve(fakeSvid(WEB)));
    await mint({ ...request, dnsNames }, options());
    const [, fields] = records[0] ?? assert.fail();
    assert.equal((fields['dns_names'] as string[]).length, 64);
    assert.equal(fields['dns_names_left_out'], 36);
  });
});

describe('a process that cannot be attested', () => {
  const credentials = { pid: 9, uid: 1000, gid: 1000 };
  const connection = (fault: Error) => ({
    ...{ id: 'peer-1', credentials, close: () => undefined },
    caller: () => Promise.reject(fault),
  });

  it('is recorded by what the kernel says of it', async () => {
    const { records, auditing: audited } = auditing();
    const fault = new IdentityError('ERR_PEER_HIDDEN', 'not in sight');
    const { signal } = new AbortController();
    await assert.rejects(audited.attested(connection(fault)).caller({ signal }), fault);
    const fields = { code: 'ERR_PEER_HIDDEN', reason: 'not in sight' };
    assert.deepEqual(records, [['attestation_failed', fields, credentials]]);
  });

  it('because the daemon stops is not', async () => {
    const { records, auditing: audited } = auditing();
    const fault = new IdentityError('ERR_SHUTDOWN', 'bye');
    const { signal } = new AbortController();
    await assert.rejects(audited.attested(connection(fault)).caller({ signal }), fault);
    assert.deepEqual(records, []);
  });
});

describe('names that are refused', () => {
  it('are recorded up to a number and a length', () => {
    const { records, auditing: audited } = auditing();
    const names = Array.from({ length: 2000 }, () => 'x'.repeat(2000));
    audited.denied(caller, 'no_entry', names);
    const [, fields, who] = records[0] ?? assert.fail();
    const shown = fields['names'] as string[];
    assert.deepEqual([shown.length, shown[0]?.length], [16, 256]);
    assert.equal(fields['names_left_out'], 1984);
    assert.equal(who, caller);
  });
});
