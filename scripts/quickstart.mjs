// Writes the quickstart's policy: identities for the user who runs it. Leaves an edited one alone.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Puts `quickstart.yaml` into the folder unless there is one, and says so. */
export function writeQuickstartPolicy(folder) {
  const path = `${folder}/quickstart.yaml`;
  if (existsSync(path)) return path;
  const uid = process.getuid?.() ?? 0;
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const entry = (id, priority) =>
    `  - spiffe_id: spiffe://example.org/${id}\n    selectors: ["unix:uid:${uid}"]\n    priority: ${priority}\n`;
  writeFileSync(
    path,
    `# Every process of uid ${uid} may hold these identities; the first one is its default.\n` +
      '# Change and save this file: credence follows while it runs.\n' +
      `entries:\n${entry('quickstart', 10)}${entry('server', 0)}${entry('client', 0)}`,
    { mode: 0o644 },
  );
  console.error(`credence: wrote ${path} for uid ${uid}`);
  return path;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeQuickstartPolicy(fileURLToPath(new URL('../run/policy', import.meta.url)));
}
