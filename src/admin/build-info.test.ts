import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { registerBuildInfo } from './build-info.ts';

describe('registerBuildInfo()', () => {
  it('tells version, start and what the process uses', async () => {
    const registry = new Registry();
    registerBuildInfo(registry, '1.2.3', 1_700_000_000_500);
    const text = await registry.metrics();
    const value = (name: string) => Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1]);

    const labels = `version="1.2.3",node_version="${process.version}"`;
    assert.ok(text.includes(`credence_build_info{${labels}} 1\n`), text);
    assert.equal(value('process_start_time_seconds'), 1_700_000_000.5);
    assert.ok(value('process_resident_memory_bytes') > 1e6);
    assert.ok(value('process_open_fds') > 3);
  });

  it('counts CPU time once, however often it is read', async () => {
    const registry = new Registry();
    registerBuildInfo(registry, '1.2.3', 0);
    const read = async () =>
      Number(/^process_cpu_seconds_total (.+)$/m.exec(await registry.metrics())?.[1]);
    for (let n = 0; n < 10; n++) await read();
    const { user, system } = process.cpuUsage();
    assert.ok((await read()) <= (user + system) / 1e6 + 0.5);
  });
});
