// Turns protos/ into src/gen/protos.json, so that nothing parses .proto files at run time:
//   node scripts/generate.mjs            writes the file
//   node scripts/generate.mjs --check    exit 1 when the file is not what protos/ says
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { globSync } from './files.mjs';

const PROTOS = fileURLToPath(new URL('../protos', import.meta.url));
const OUTPUT = fileURLToPath(new URL('../src/gen/protos.json', import.meta.url));

function descriptors() {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => join(PROTOS, target);
  const files = globSync(PROTOS, '.proto').map((file) => relative(PROTOS, file));
  // keepCase: field names as they are on the wire's documentation, not renamed to camelCase.
  root.loadSync(files, { keepCase: true });
  root.resolveAll();
  return `${JSON.stringify(root.toJSON(), null, 1)}\n`;
}

const wanted = descriptors();
if (process.argv.includes('--check')) {
  if (!existsSync(OUTPUT) || readFileSync(OUTPUT, 'utf8') !== wanted) {
    console.error('src/gen/protos.json is out of date: run node scripts/generate.mjs');
    process.exit(1);
  }
} else {
  mkdirSync(dirname(OUTPUT), { recursive: true });
  writeFileSync(OUTPUT, wanted);
}
