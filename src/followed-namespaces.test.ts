import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { document, listOf, startApiServer } from '../test/support/api-server.ts';
import { eventually } from '../test/support/eventually.ts';
import { FakeLogger } from '../test/support/issuer.ts';
import { parseConfig } from './config.ts';
import { systemClock } from './core/clock.ts';
import { systemRandom } from './core/random.ts';
import { createFollowedNamespaces } from './followed-namespaces.ts';

async function open() {
  const api = await startApiServer();
  const settings = `trust_domain: example.org
policy: { paths: [policy] }
attestation:
  kubernetes: { enabled: true, node_name: node-1, api_server: "${api.host}:${api.port}", ca_file: ${api.caFile}, token_file: ${api.tokenFile} }
`;
  const config = parseConfig(settings, '/etc/credence/credence.yaml', {}).attestation.kubernetes;
  const log = new FakeLogger();
  const deps = { clock: systemClock, random: systemRandom, log };
  const namespaces = createFollowedNamespaces(config ?? assert.fail(), deps);
  const follow = (without = 'nothing works') => {
    const told: string[] = [];
    namespaces.follow(
      {
        changed: (names) => void told.push(`changed ${[...names].join()}`),
        heard: () => void told.push('heard'),
        refused: (why) => void told.push(why),
      },
      without,
    );
    return told;
  };
  return {
    ...{ api, log, namespaces, follow },
    async [Symbol.asyncDispose]() {
      namespaces.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

describe('createFollowedNamespaces()', () => {
  it('asks for nothing before somebody needs them, and once for all who do', async () => {
    await using served = await open();
    served.api.behave(
      listOf('1', { metadata: { name: 'shop', labels: { env: 'prod' } } }),
      () => undefined,
    );
    assert.deepEqual(served.api.asked, []);
    const first = served.follow();
    await eventually(() => first.includes('heard'), { what: 'the list' });
    assert.deepEqual(first, ['changed shop', 'heard']);
    const second = served.follow();
    await eventually(() => second.includes('heard'), { what: 'it is known already' });
    assert.equal(served.namespaces.labelsOf('shop')?.get('env'), 'prod');
    assert.equal([...served.api.asked].filter((path) => !/watch=/.test(path)).length, 1);
  });

  it('tells who asks later that it may not read them, and the log what that means', async () => {
    await using served = await open();
    served.api.behave(document({ message: 'no' }, 403));
    const first = served.follow('no process in a pod is attested');
    await eventually(() => first.includes('forbidden'), { what: 'the refusal' });
    const second = served.follow();
    await eventually(() => second.includes('forbidden'), { what: 'the same' });
    const [line] = served.log.lines.filter(({ level }) => level === 'warn');
    assert.match(String(line?.fields.detail), /namespaces: list, watch; until then no process/);
  });
});
