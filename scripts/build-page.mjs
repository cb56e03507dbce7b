// The page of `credence ui`: one file with its style and its script inside, nothing to load.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

/** The text of the page. */
export async function buildPage(root) {
  const folder = join(root, 'src/page');
  const bundle = async (file, more) => {
    const { outputFiles } = await build({
      absWorkingDir: root,
      entryPoints: [join(folder, file)],
      bundle: true,
      minify: true,
      write: false,
      target: 'es2022',
      legalComments: 'none',
      logLevel: 'warning',
      ...more,
    });
    return outputFiles[0].text.trim();
  };
  const [html, css, script] = await Promise.all([
    readFile(join(folder, 'index.html'), 'utf8'),
    bundle('page.css', {}),
    bundle('main.ts', { platform: 'browser', format: 'esm' }),
  ]);
  // Inserted by a function: a "$&" in the script is not a reference to what is replaced.
  return html
    .replace('<style></style>', () => `<style>${css}</style>`)
    .replace('<script></script>', () => `<script type="module">${script}</script>`);
}
