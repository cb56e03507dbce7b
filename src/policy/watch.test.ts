import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, it } from 'node:test';
import { policyFolder } from '../../test/support/policy-folder.ts';
import { foldersToWatch } from './watch.ts';

const root = policyFolder();
let folder: string;

beforeEach(() => {
  folder = join(root.path, 'policy');
  mkdirSync(folder);
});

describe('foldersToWatch()', () => {
  type Found = Parameters<Parameters<typeof foldersToWatch>[1]>;
  const interests = (...paths: readonly string[]) => {
    const found: Found[] = [];
    foldersToWatch(paths, (...one) => found.push(one));
    return Object.fromEntries(
      found.map(([at, { names, documents }]) => [
        at.slice(root.path.length),
        [...names].sort().join() + (documents ? ' *' : ''),
      ]),
    );
  };

  it('tells of a folder before it is listed: what comes in between is not missed', () => {
    const late = join(folder, 'late.json');
    const listed = foldersToWatch([folder], (at) => {
      if (at === folder) writeFileSync(late, '');
    });
    assert.deepEqual(listed.map(({ files }) => files).flat(), [late]);
  });

  it('is the folder itself and its name in the one above', () => {
    assert.deepEqual(interests(folder), { '': 'policy', '/policy': ' *' });
  });

  it('is the folder itself also while one of its documents leads nowhere', () => {
    symlinkSync('nothere', join(folder, 'q.yaml'));
    assert.equal(interests(folder)['/policy']?.includes('*'), true);
  });

  it('is the first gap on the way to what is not there', () => {
    assert.deepEqual(interests(join(root.path, 'x', 'y', 'p.yaml')), { '': 'x' });
  });

  it('holds every link on the way', () => {
    mkdirSync(join(root.path, 'real'));
    writeFileSync(join(root.path, 'real', 'p.json'), '');
    symlinkSync('real', join(root.path, 'data'));
    symlinkSync('../data/p.json', join(folder, 'p.json'));
    assert.deepEqual(interests(join(folder, 'p.json')), {
      '': 'data',
      '/policy': 'p.json',
      '/real': 'p.json',
    });
  });

  it('ends for a link that leads to itself', () => {
    symlinkSync('loop', join(root.path, 'loop'));
    assert.deepEqual(interests(join(root.path, 'loop')), { '': 'loop' });
  });
});
