// What the chart's schema can be held to without Helm; test/real renders the chart with it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { trustDomainFault } from '../../src/identity/spiffe-id.ts';

const CHART = fileURLToPath(new URL('../../k8s/chart', import.meta.url));

interface Schema {
  readonly additionalProperties?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly pattern?: string;
}
type Values = Readonly<Record<string, unknown>>;

const read = (name: string) => readFileSync(join(CHART, name), 'utf8');
const schema = JSON.parse(read('values.schema.json')) as Schema;
const values = parse(read('values.yaml')) as Values;

/** The names of all values; where names are the user's own, not below that. */
function namesIn(values: Values, { properties = {} }: Schema, above = ''): string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const group = properties[key];
    const name = `${above}${key}`;
    return group?.properties ? namesIn(value as Values, group, `${name}.`) : [name];
  });
}

function namesOf({ properties = {}, additionalProperties }: Schema, above = ''): string[] {
  assert.equal(additionalProperties, false, `${above}: a slip of the pen would be taken`);
  return Object.entries(properties).flatMap(([key, group]) =>
    group.properties ? namesOf(group, `${above}${key}.`) : [`${above}${key}`],
  );
}

describe('the schema of the chart', () => {
  it('names what values.yaml names, and refuses other names', () => {
    // `global` is given by Helm to every chart that is a part of another.
    const known = namesOf(schema).filter((name) => name !== 'global');
    assert.deepEqual(namesIn(values, schema).sort(), known.sort());
    assert.ok(known.includes('monitoring.interval') && known.includes('settings'));
  });

  it('names what the templates ask for', () => {
    const known = namesOf(schema);
    for (const file of readdirSync(join(CHART, 'templates'))) {
      for (const [, name = ''] of read(`templates/${file}`).matchAll(/\.Values\.([A-Za-z.]+)/g)) {
        const there = known.some((key) => key === name || key.startsWith(`${name}.`));
        assert.ok(there, `${file}: ${name}`);
      }
    }
  });

  it('takes the trust domains that the daemon takes', () => {
    const pattern = new RegExp(schema.properties?.['trustDomain']?.pattern ?? 'none');
    for (const name of [
      ...['example.org', 'a', '0', 'a_b-c.d', 'x'.repeat(255)],
      ...['', 'x'.repeat(256), 'Example.org', 'spiffe://a', 'a/b', 'a:1', 'a b', 'a\n', 'é'],
    ]) {
      assert.equal(pattern.test(name), trustDomainFault(name) === undefined, JSON.stringify(name));
    }
  });
});
