import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { systemClock } from '../core/clock.ts';
import { silentLogger, type LogFields, type Logger } from '../core/log.ts';
import { parseSelector } from '../identity/selector.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { registerPolicyMetrics } from './metrics.ts';
import { createPolicyStore, type PolicyStore, type PolicyStoreDeps } from './store.ts';

const TD = parseTrustDomain('example.org');
const DEADLINE_MS = 10_000;
let root: string;
let folder: string;
let stores: PolicyStore[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'credence-store-'));
  folder = join(root, 'policy');
  mkdirSync(folder);
  stores = [];
});
afterEach(() => {
  for (const store of stores) store.close();
  rmSync(root, { recursive: true, force: true });
});

function text(...names: readonly string[]): string {
  const entries = names.map((name) => ({
    spiffe_id: `spiffe://example.org/${name}`,
    selectors: ['unix:uid:1'],
  }));
  return JSON.stringify({ entries });
}

async function open(
  paths: readonly string[],
  deps: Partial<PolicyStoreDeps> = {},
): Promise<PolicyStore> {
  const store = await createPolicyStore(
    { paths, trustDomain: TD },
    { clock: systemClock, log: silentLogger, ...deps },
  );
  stores.push(store);
  return store;
}

function granted(store: PolicyStore): string {
  const grants = store.current().match([parseSelector('unix:uid:1')]);
  return grants.map(({ id }) => id.slice('spiffe://example.org/'.length)).join();
}

/** Resolves after the first reload at which `holds`; rejects at the deadline. */
function until(store: PolicyStore, holds: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => {
      remove();
      reject(
        new Error(
          `still waiting; granted ${granted(store)}, ${store.status().lastError ?? 'no error'}`,
        ),
      );
    }, DEADLINE_MS);
    const remove = store.onReload(() => {
      if (!holds()) return;
      clearTimeout(deadline);
      remove();
      resolve();
    });
  });
}

const becomes = (store: PolicyStore, names: string) => until(store, () => granted(store) === names);
const fails = (store: PolicyStore) => until(store, () => store.status().lastError !== undefined);

describe('createPolicyStore()', () => {
  it('rejects when the first load is not good', async () => {
    await assert.rejects(open([join(root, 'absent')]), { code: 'ERR_POLICY' });
    writeFileSync(join(folder, 'p.yaml'), 'entries: 5');
    await assert.rejects(open([folder]), { code: 'ERR_POLICY' });
  });

  it('is an empty policy without paths', async () => {
    const store = await open([]);
    assert.deepEqual([store.status().entries, granted(store)], [0, '']);
  });

  const CHANGES: readonly (readonly [what: string, change: (file: string) => void])[] = [
    ['written in place', (file) => writeFileSync(file, text('b'))],
    [
      'replaced by a rename',
      (file) => {
        writeFileSync(join(root, 'new'), text('b'));
        renameSync(join(root, 'new'), file);
      },
    ],
    [
      'deleted and made again',
      (file) => {
        unlinkSync(file);
        writeFileSync(file, text('b'));
      },
    ],
  ];
  for (const [what, change] of CHANGES) {
    for (const which of ['folder', 'file'] as const) {
      it(`follows a document that is ${what}, given its ${which}`, async () => {
        const file = join(folder, 'p.json');
        writeFileSync(file, text('a'));
        const store = await open([which === 'file' ? file : folder]);
        assert.equal(granted(store), 'a');
        const changed = becomes(store, 'b');
        change(file);
        await changed;
      });
    }
  }

  it('follows documents that come and go in a folder', async () => {
    writeFileSync(join(folder, 'a.json'), text('a'));
    const store = await open([folder]);
    let changed = becomes(store, 'a,b');
    writeFileSync(join(folder, 'b.json'), text('b'));
    await changed;
    changed = becomes(store, 'b');
    unlinkSync(join(folder, 'a.json'));
    await changed;
  });

  it('follows the link swap of a mounted ConfigMap, again and again', async () => {
    const swap = (version: number, name: string) => {
      mkdirSync(join(folder, `..${version}`));
      writeFileSync(join(folder, `..${version}`, 'p.json'), text(name));
      symlinkSync(`..${version}`, join(folder, '..data_tmp'));
      renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    };
    swap(1, 'a');
    symlinkSync(join('..data', 'p.json'), join(folder, 'p.json'));
    for (const paths of [[folder], [join(folder, 'p.json')]]) {
      const store = await open(paths);
      for (const [n, name] of ['b', 'c', 'a'].entries()) {
        const changed = becomes(store, name);
        swap(paths[0] === folder ? n + 2 : n + 10, name);
        await changed;
      }
      store.close();
    }
  });

  it('keeps the last good policy while the folder is gone, and follows it when it is back', async () => {
    writeFileSync(join(folder, 'p.json'), text('a'));
    const store = await open([folder]);
    const gone = fails(store);
    rmSync(folder, { recursive: true });
    await gone;
    assert.equal(granted(store), 'a');
    assert.match(store.status().lastError ?? '', /there is no such file or folder/);

    const back = becomes(store, 'b');
    mkdirSync(folder);
    writeFileSync(join(folder, 'p.json'), text('b'));
    await back;
    assert.equal(store.status().lastError, undefined);

    const again = becomes(store, 'c');
    writeFileSync(join(folder, 'p.json'), text('c'));
    await again;
  });

  it('follows a file whose folders come only later', async () => {
    const deep = join(root, 'x', 'y', 'p.json');
    mkdirSync(join(root, 'x', 'y'), { recursive: true });
    writeFileSync(deep, text('a'));
    const store = await open([deep]);
    const gone = fails(store);
    rmSync(join(root, 'x'), { recursive: true });
    await gone;
    const back = becomes(store, 'b');
    mkdirSync(join(root, 'x', 'y'), { recursive: true });
    writeFileSync(deep, text('b'));
    await back;
  });

  it('warns when the last entry goes, and only then', async () => {
    writeFileSync(join(folder, 'p.json'), text('a'));
    const warnings: string[] = [];
    const log: Logger = {
      ...silentLogger,
      warn: (_, message) => void warnings.push(message),
      child: () => log,
    };
    const store = await open([folder], { log });
    assert.deepEqual(warnings, []);
    const emptied = becomes(store, '');
    writeFileSync(join(folder, 'p.json'), JSON.stringify({ entries: [] }));
    await emptied;
    assert.deepEqual(warnings, ['no policy entry is left: nobody gets an identity']);
  });

  it('refuses a change that is not good as a whole, loudly, and recovers', async () => {
    writeFileSync(join(folder, 'p.json'), text('a'));
    const warnings: LogFields[] = [];
    const log: Logger = {
      ...silentLogger,
      warn: (fields) => void warnings.push(fields),
      child: () => log,
    };
    const store = await open([folder], { log });
    const registry = new Registry();
    registerPolicyMetrics(registry, store);
    const events: string[] = [];
    store.onChange((policy) => events.push(policy.revision));
    const before = store.status();

    const refused = fails(store);
    writeFileSync(join(folder, 'q.json'), text('b').replace('unix:uid:1', 'unix'));
    await refused;
    assert.equal(granted(store), 'a');
    const status = store.status();
    assert.equal(status.revision, before.revision);
    assert.match(status.lastError ?? '', /q\.json:1:\d+: entries\[0\]\.selectors\[0\]: expected/);
    assert.ok((status.lastErrorAtMs ?? 0) >= before.loadedAtMs);
    assert.deepEqual(events, []);
    assert.ok(warnings.some(({ reason }) => reason === status.lastError));

    const recovered = until(store, () => store.status().lastError === undefined);
    unlinkSync(join(folder, 'q.json'));
    await recovered;
    assert.deepEqual(events, [], 'the content is what it was');

    const changed = becomes(store, 'a,b');
    writeFileSync(join(folder, 'q.json'), text('b'));
    await changed;
    assert.deepEqual(events, [store.status().revision]);
    const metrics = await registry.metrics();
    assert.match(metrics, /^credence_policy_entries 2$/m);
    assert.match(metrics, /^credence_policy_reloads_total\{result="applied"\} 1$/m);
    assert.match(metrics, /^credence_policy_reloads_total\{result="refused"\} [1-9]/m);
    assert.match(metrics, /^credence_policy_reloads_total\{result="unchanged"\} [1-9]/m);
  });

  it('parses a large change on another thread, with the same result', async () => {
    const file = join(folder, 'p.json');
    writeFileSync(file, text('a'));
    const store = await open([folder]);
    const names = Array.from({ length: 2000 }, (_, n) => `n${n}`);
    const changed = until(store, () => store.status().entries === 2000);
    writeFileSync(file, text(...names));
    await changed;
    assert.equal(granted(store), [...names].sort().join());
    const { revision } = store.status();
    assert.equal((await open([folder])).status().revision, revision);

    const refused = fails(store);
    appendFileSync(file, ']');
    await refused;
    assert.match(store.status().lastError ?? '', /p\.json:1:\d+: /);
    assert.equal(store.status().revision, revision);
  });

  it('hears nothing more after it is closed', async () => {
    writeFileSync(join(folder, 'p.json'), text('a'));
    const [closed, other] = [await open([folder]), await open([folder])];
    closed.onReload(() => assert.fail('it is closed'));
    closed.close();
    const changed = becomes(other, 'b');
    writeFileSync(join(folder, 'p.json'), text('b'));
    await changed;
    assert.equal(granted(closed), 'a');
  });
});
