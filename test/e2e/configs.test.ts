import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FIXED_PORTS, readBootstrap, type BootstrapName } from '../support/bootstrap-file.ts';
import { startChild } from '../support/child.ts';
import { envoyBinary } from '../support/envoy-binary.ts';
import { eventually } from '../support/eventually.ts';

const FOLDER = fileURLToPath(new URL('../../envoy-configs', import.meta.url));
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));

describe('envoy-configs', () => {
  for (const version of ['1.40', '1.36'] as const) {
    // Selectors of certificates came with 1.37 and 1.38.
    for (const file of FILES.filter(
      (name) => version !== '1.36' || !name.startsWith('on-demand'),
    )) {
      it(`loads ${file} unchanged in Envoy ${version}`, async () => {
        await using envoy = await startChild(
          await envoyBinary(version),
          ['--mode', 'validate', '--disable-hot-restart', '--config-path', file],
          { cwd: FOLDER },
        );
        await eventually(() => envoy.ended(), { what: 'the validation ends' });
        assert.equal(envoy.ended(), 'ended with code 0', envoy.log());
        assert.match(envoy.log(), /configuration '.*' OK/);
        assert.doesNotMatch(envoy.log(), /\[(warning|error|critical)\]|deprecated/i);
      });
    }
  }

  it('names no port that the tests and the demo would not move out of the way', async () => {
    const known = new Set<number>(Object.values(FIXED_PORTS));
    for (const file of FILES) {
      const name = file.replace(/\.yaml$/, '') as BootstrapName;
      const text = JSON.stringify(await readBootstrap(name));
      const ports = [...text.matchAll(/"port_value":(\d+)/g)].map((match) => Number(match[1]));
      assert.ok(ports.length > 0);
      assert.deepEqual(
        ports.filter((port) => !known.has(port)),
        [],
        name,
      );
    }
  });
});
