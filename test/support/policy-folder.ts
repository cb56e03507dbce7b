import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { IdentityError } from '../../src/core/errors.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { loadPolicy, type PolicyReading } from '../../src/policy/load.ts';

/** The trust domain of the documents. */
export const TD = parseTrustDomain('example.org');

/** A document with one entry, to which fields can be added. */
export const HEAD =
  'entries:\n  - spiffe_id: spiffe://example.org/web\n    selectors: [unix:uid:1]\n';

/** One entry as an item of a list. */
export function entry(id: string, ...selectors: readonly string[]): string {
  return `  - spiffe_id: ${id}\n    selectors: ${JSON.stringify(selectors)}\n`;
}

/** A folder of policy documents; each test finds it empty. */
export interface PolicyFolder {
  readonly path: string;
  /** Loads a text as the document of that name, `p.yaml` unless told otherwise. */
  load(text: string | Uint8Array, name?: string): PolicyReading;
  /** The error of a text, without the folder. */
  refusal(text: string | Uint8Array, name?: string): string;
}

/** To be called once in a test file, at its top. */
export function policyFolder(): PolicyFolder {
  let path = '';
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'credence-policy-'));
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));

  function load(text: string | Uint8Array, name = 'p.yaml'): PolicyReading {
    writeFileSync(join(path, name), text);
    return loadPolicy({ paths: [join(path, name)], trustDomain: TD, caTtlMs: 86_400_000 });
  }
  return {
    get path() {
      return path;
    },
    load: (text, name) => load(text, name),
    refusal(text, name) {
      try {
        load(text, name);
      } catch (thrown) {
        assert.ok(thrown instanceof IdentityError);
        assert.equal(thrown.code, 'ERR_POLICY');
        return thrown.message.replaceAll(`${path}/`, '');
      }
      throw new assert.AssertionError({ message: 'the document was accepted' });
    },
  };
}
