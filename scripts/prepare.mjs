// npm's `prepare`: builds after `npm ci`. npm runs it as well at a user's first `npx credence`, out of
// sight: then it builds nothing, as that may be somebody else's clone that a daemon runs from.
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isBuilt } from './bootstrap.mjs';
import { buildPkcs11, isPkcs11Built } from './build-pkcs11.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
// npm may be set not to run the scripts of packages; without a compiler all but PKCS#11 works.
if (process.env.npm_command !== 'exec' && !isPkcs11Built()) buildPkcs11();
if (process.env.npm_command !== 'exec' && !isBuilt()) {
  const { uid } = statSync(root);
  const me = process.geteuid?.() ?? uid;
  if (uid !== me) {
    console.error(
      `credence: ${root} belongs to uid ${uid}, not to uid ${me}: build it as that user`,
    );
    process.exit(1);
  }
  await import('./build.mjs');
}
