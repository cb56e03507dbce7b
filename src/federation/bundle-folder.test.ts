import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { temporaryFolder } from '../../test/support/issuer.ts';
import { foreignCas } from '../../test/support/upstream.ts';
import { systemClock } from '../core/clock.ts';
import { silentLogger } from '../core/log.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { followBundleFolder, readFolder } from './bundle-folder.ts';
import { createForeignBundles } from './foreign-bundles.ts';
import { openKeptBundles } from './kept-bundles.ts';

const { make } = foreignCas();
const root = make({ name: 'root' }).cert;
const next = make({ name: 'next' }).cert;
const OWN = parseTrustDomain('example.org');
const A = parseTrustDomain('a.example');

/** A check that holds before long. */
const soon = (check: () => void) =>
  eventually(
    () => {
      check();
      return true;
    },
    { what: 'the folder is read again' },
  );

function follow(t: TestContext, folder: string) {
  const bundles = createForeignBundles({ clock: systemClock, log: silentLogger });
  const deps = { ownTrustDomain: OWN, clock: systemClock, log: silentLogger };
  const followed = followBundleFolder(folder, bundles, deps);
  t.after(() => followed.close());
  const roots = () => bundles.get(A)?.x509Authorities.length;
  return { followed, roots };
}

describe('a folder of bundles', () => {
  it('is followed: files that come, change and go', async (t) => {
    const folder = temporaryFolder(t);
    const { roots } = follow(t, folder);
    assert.equal(roots(), undefined);
    writeFileSync(join(folder, 'a.example.pem'), root);
    await soon(() => assert.equal(roots(), 1));
    writeFileSync(join(folder, 'a.example.pem'), root + next);
    await soon(() => assert.equal(roots(), 2));
    rmSync(join(folder, 'a.example.pem'));
    await soon(() => assert.equal(roots(), undefined));
  });

  it('keeps the last good bundle of a file that is no good any more, and says so', async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, 'a.example.pem'), root);
    const { roots, followed } = follow(t, folder);
    writeFileSync(join(folder, 'a.example.pem'), 'nonsense');
    await soon(() => assert.match(followed.faults()[0]?.reason ?? '', /found neither/));
    assert.equal(roots(), 1);
    writeFileSync(join(folder, 'a.example.pem'), root + next);
    await soon(() => assert.equal(roots(), 2));
    assert.deepEqual(followed.faults(), []);
  });

  it('takes nothing away when it cannot be read, and waits for one that is not there', async (t) => {
    const folder = join(temporaryFolder(t), 'bundles');
    const { roots, followed } = follow(t, folder);
    assert.match(followed.faults()[0]?.reason ?? '', /ENOENT/);
    mkdirSync(folder);
    writeFileSync(join(folder, 'a.example.pem'), root);
    await soon(() => assert.equal(roots(), 1));
    rmSync(folder, { recursive: true });
    await soon(() => assert.match(followed.faults()[0]?.reason ?? '', /ENOENT/));
    assert.equal(roots(), 1);
  });

  it('has no place for the own domain, two files of one, pipes, and what everybody writes', (t) => {
    const folder = temporaryFolder(t);
    for (const name of ['example.org.pem', 'a.example.json', 'a.example.pem', 'B.pem', '.c.pem']) {
      writeFileSync(join(folder, name), root);
    }
    writeFileSync(join(folder, 'open.pem'), root);
    chmodSync(join(folder, 'open.pem'), 0o666);
    mkdirSync(join(folder, 'folder.pem'));
    symlinkSync('nowhere', join(folder, 'link.pem'));
    const { good, faults } = readFolder(folder, OWN);
    assert.deepEqual([...good.keys()], [A]);
    const reasons = faults.map(({ reason }) => reason).join('\n');
    assert.match(reasons, /a.example.json has the same trust domain/);
    for (const part of [/own trust domain/, /everybody may write/, /regular file/, /ENOENT/]) {
      assert.match(reasons, part);
    }
  });
});

describe('bundles that are set by hand', () => {
  function open(folder: string) {
    const bundles = createForeignBundles({ clock: systemClock, log: silentLogger });
    return { bundles, kept: openKeptBundles(folder, OWN, bundles, silentLogger) };
  }

  it('are there again after a restart, those without a root too', (t) => {
    const folder = join(temporaryFolder(t), 'bundles');
    const { kept } = open(folder);
    kept.set(A, root, undefined);
    kept.set(parseTrustDomain('empty.example'), '{"keys":[]}', undefined);
    const again = open(folder).bundles.status();
    assert.deepEqual(
      again.map((one) => [one.trustDomain, one.roots]),
      [
        ['a.example', 1],
        ['empty.example', 0],
      ],
    );
  });

  it('change nothing when they are no good, and are gone once deleted', (t) => {
    const folder = join(temporaryFolder(t), 'bundles');
    const { kept, bundles } = open(folder);
    kept.set(A, root, 'pem');
    assert.throws(() => kept.set(A, 'nonsense', undefined), { code: 'ERR_BAD_REQUEST' });
    assert.throws(() => kept.set(OWN, root, undefined), /the own trust domain/);
    assert.equal(bundles.get(A)?.x509Authorities.length, 1);
    assert.equal(kept.delete(A), true);
    assert.equal(kept.delete(A), false);
    assert.equal(bundles.get(A), undefined);
    assert.deepEqual(open(folder).bundles.status(), []);
  });
});
