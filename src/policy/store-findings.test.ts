import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '../core/clock.ts';
import { createLogger } from '../core/log.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import { createPolicyStore } from './store.ts';

describe('createPolicyStore()', () => {
  for (const { size, padding } of [
    { size: 'small', padding: '' },
    { size: 'large', padding: `# ${'x'.repeat(70)}\n`.repeat(400) },
  ]) {
    it(`warns when a ${size} policy is changed to one that no process fits`, async (t) => {
      const root = mkdtempSync(join(tmpdir(), 'credence-findings-'));
      t.after(() => rmSync(root, { recursive: true, force: true }));
      const file = join(root, 'p.yaml');
      const write = (selector: string) =>
        writeFileSync(
          file,
          `${padding}entries:\n  - spiffe_id: spiffe://example.org/web\n    selectors: ['${selector}', 'unix:gid:0']\n`,
        );
      write('unix:uid:1000');
      const lines: { level: string; msg: string; detail?: string }[] = [];
      const log = createLogger({
        level: 'info',
        write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]),
      });
      const store = await createPolicyStore(
        {
          paths: [file],
          trustDomain: parseTrustDomain('example.org'),
          attests: { discoverPath: false },
        },
        { clock: systemClock, log },
      );
      t.after(() => store.close());
      const before = store.status().warnings.length;
      lines.length = 0;
      const reloaded = new Promise((resolve, reject) => {
        // A watch keeps no process alive.
        const deadline = setTimeout(() => reject(new Error('no reload')), 10_000);
        store.onReload((result) => {
          clearTimeout(deadline);
          resolve(result);
        });
      });
      write('unix:uidd:1000');
      assert.equal(await reloaded, 'applied');
      assert.deepEqual(
        lines.filter(({ level }) => level === 'warn').map(({ detail }) => detail),
        ['unix:uidd:1000 matches no process: did you mean unix:uid?'],
      );
      assert.equal(store.status().warnings.length, 1);
      assert.equal(before, 0);
    });
  }
});
