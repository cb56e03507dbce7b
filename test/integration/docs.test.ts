import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { COMMANDS } from '../../src/cli/commands.ts';
import { environmentName, SETTINGS } from '../../src/settings.ts';
import { registerSignerMetrics } from '../../src/signer/metrics.ts';
import { runCredence } from '../support/credence-command.ts';
import { createDaemon, entryForMe } from '../support/daemon.ts';
import { createForeignCas, mountSecret } from '../support/upstream.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = ['', 'docs', 'bench', 'protos'].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);
const read = (page: string) => readFileSync(join(ROOT, page), 'utf8');
/** Every match of the expression's first group, once. */
const all = (text: string, expression: RegExp) =>
  new Set(Array.from(text.matchAll(expression), ([, first = '']) => first));

/** Those of `credence signer`, which no daemon serves. */
async function signerMetrics(): Promise<ReadonlySet<string>> {
  const registry = new Registry();
  registerSignerMetrics(registry, {
    state: () => undefined,
    waiting: () => 0,
    heardSeconds: () => 0,
    areRootsTold: () => true,
  });
  return all(await registry.metrics(), /^# TYPE (credence_\w+) /gm);
}

describe('the documentation', () => {
  it('links to files that are there', () => {
    for (const page of PAGES) {
      for (const target of all(read(page), /\]\(([^)\s]+)\)/g)) {
        if (/^https?:|^#/.test(target)) continue;
        const path = join(ROOT, dirname(page), target.replace(/#.*/, ''));
        assert.ok(existsSync(path), `${page} links to ${target}`);
      }
    }
  });

  it('names npm scripts that are there', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const page of PAGES) {
      for (const name of all(read(page), /npm run ([a-z][a-z0-9:]*)/g)) {
        assert.ok(Object.hasOwn(scripts, name), `${page}: npm run ${name}`);
      }
    }
  });

  it('names settings that are there, and their variables', () => {
    const keys = SETTINGS.map(({ key }) => key);
    const sections = [...all(keys.join('\n'), /^(\w+)\./gm)].join('|');
    const variables = keys.map(environmentName);
    for (const page of PAGES) {
      for (const key of all(read(page), new RegExp(`\`((?:${sections})\\.[a-z0-9_.]+)`, 'g'))) {
        const known = keys.some((k) => k === key || k.startsWith(key));
        assert.ok(known, `${page}: ${key}`);
      }
      for (const name of all(read(page), /\b(CREDENCE_[A-Z0-9_]+)=/g)) {
        const known = variables.includes(name) || /^CREDENCE_(?:TEST|UPDATE)_/.test(name);
        assert.ok(known, `${page}: ${name}`);
      }
    }
  });

  it('writes files for production that pass the strictest check', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'credence-docs-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const files = read('README.md').matchAll(
      /^cat > \/etc\/credence\/(\S+) <<'EOF'\n([\s\S]*?)^EOF\n/gm,
    );
    const written = Array.from(files, ([, name = '', text = '']) => {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      // The user that the text names need not be one of this machine; every Linux has this one.
      writeFileSync(join(dir, name), text.replace('www-data', 'daemon'));
      return name;
    });
    assert.deepEqual(written, ['credence.yaml', 'policy/web.yaml']);
    const args = ['check', '--strict', '--config', join(dir, 'credence.yaml')];
    const { code, out } = await runCredence(args);
    assert.match(out, /: trust domain example\.org, 1 policy entry, 0 errors, 0 warnings\n$/);
    assert.equal(code, 0);
  });

  it('has every command in the README', () => {
    for (const { words } of COMMANDS) {
      assert.match(read('README.md'), new RegExp(`^\\| \`credence ${words}\\b`, 'm'));
    }
  });

  it('has every file that fits folders together in the architecture, and no other', () => {
    const named = [...all(read('ARCHITECTURE.md'), /^\| `([a-z*-]+\.ts)`/gm)];
    const fits = (name: string, file: string) =>
      new RegExp(`^${name.replace('.', '\\.').replace('*', '[a-z-]+')}$`).test(file);
    const files = readdirSync(join(ROOT, 'src')).filter((name) => /^[^.]+\.ts$/.test(name));
    const missing = files.filter((file) => !named.some((name) => fits(name, file)));
    const gone = named.filter((name) => !files.some((file) => fits(name, file)));
    assert.deepEqual({ missing, gone }, { missing: [], gone: [] });
  });

  it('has every metric of the daemon in the README, and no other anywhere', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'credence-docs-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const { cert, key } = createForeignCas(folder)({ name: 'root' });
    const upstream = mountSecret(join(folder, 'ca'), { cert, key, bundle: cert }).settings;
    // Every part that has some is on; nobody is at that address.
    const kubernetes = { enabled: true, node_name: 'node-1', api_server: '127.0.0.1:1' };
    const telemetry = { metrics_address: '', audit_log_path: join(folder, 'audit.jsonl') };
    await using daemon = await createDaemon({
      entries: [entryForMe('spiffe://example.org/me')],
      settings: { attestation: { kubernetes }, issuer: { upstream }, telemetry },
    });
    await daemon.start();
    const served = all(await daemon.admin('/metrics'), /^# TYPE (credence_\w+) /gm);
    for (const name of await signerMetrics()) served.add(name);
    assert.deepEqual(
      [...all(read('README.md'), /^\| `(credence_\w+)`/gm)].sort(),
      [...served].sort(),
    );
    for (const page of PAGES) {
      for (const name of all(read(page), /\b(credence_[a-z0-9_]+)/g)) {
        assert.ok(served.has(name), `${page}: ${name}`);
      }
    }
  });
});
