import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { credence, play } from '../../test/support/transcript.ts';
import { SETTINGS } from '../settings.ts';
import { COMMANDS } from './commands.ts';

const TRANSCRIPTS = new URL('transcripts/', import.meta.url);

describe('the command line', () => {
  for (const name of readdirSync(TRANSCRIPTS)) {
    it(`says what ${name} says`, async () => {
      const url = new URL(name, TRANSCRIPTS);
      const written = readFileSync(url, 'utf8');
      const played = await play(written);
      // For whoever changed a message: writes the files anew, to be read in the diff.
      if (process.env['CREDENCE_UPDATE_TRANSCRIPTS'] === 'yes') writeFileSync(url, played);
      else assert.equal(played, written);
    });
  }

  it('knows its version', async () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    assert.deepEqual(await credence(['--version']), { out: `${version}\n`, err: '', code: 0 });
  });

  it('explains every command and each of its flags', async () => {
    for (const { words, flags } of COMMANDS) {
      const { out, err, code } = await credence([...words.split(' '), '--help']);
      assert.deepEqual([code, err], [0, ''], words);
      assert.ok(out.startsWith(`credence ${words}: `), words);
      for (const flag of flags)
        assert.ok(out.includes(`  --${flag.name}`), `${words} ${flag.name}`);
    }
  });

  it('prints every setting, for people and as one JSON document', async () => {
    const text = await credence(['config']);
    const json = await credence(['config', '--json']);
    assert.deepEqual([text.code, json.code, text.err, json.err], [0, 0, '', '']);
    const rows = JSON.parse(json.out) as { key: string; environment: string; meaning: string }[];
    assert.deepEqual(
      rows.map(({ key }) => key),
      SETTINGS.map(({ key }) => key),
    );
    for (const { key, environment, meaning } of rows) {
      assert.ok(text.out.includes(`${key}\n    ${meaning}\n`), key);
      assert.ok(text.out.includes(`    ${environment}\n`), key);
    }
  });
});
