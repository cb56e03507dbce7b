// Compiles the native part of pkcs11js, which comes as source: for issuer.key_manager.type pkcs11 alone.
// Needs a C++ compiler and nothing from the network: the headers are a package.
//   node scripts/build-pkcs11.mjs [--if-possible]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../node_modules', import.meta.url));
const home = join(modules, 'pkcs11js');
const target = join(home, 'build/Release/pkcs11.node');

/** Whether it is there already. */
export const isPkcs11Built = () => existsSync(target);

/** Returns why it cannot be built, or undefined. */
export function buildPkcs11() {
  if (!existsSync(home)) {
    return 'node_modules/pkcs11js is missing: npm install --ignore-scripts --include=optional';
  }
  const made = `${target}.${process.pid}`;
  mkdirSync(join(home, 'build/Release'), { recursive: true });
  const compiler = process.env.CXX ?? 'g++';
  const args = [
    ...['-std=c++17', '-O2', '-fPIC', '-shared', '-DNAPI_DISABLE_CPP_EXCEPTIONS'],
    ...['-DNODE_GYP_MODULE_NAME=pkcs11', '-Iincludes'],
    `-I${join(modules, 'node-api-headers/include')}`,
    ...['src/dl.cpp', 'src/common.cpp', 'src/main.cpp', '-o', made, '-ldl'],
  ];
  const { status, error, stderr } = spawnSync(compiler, args, { cwd: home, encoding: 'utf8' });
  if (status !== 0) {
    rmSync(made, { force: true });
    return `${compiler} failed: ${error?.message ?? stderr.trim().slice(-2000)}`;
  }
  renameSync(made, target);
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const fault = isPkcs11Built() ? undefined : buildPkcs11();
  if (fault !== undefined) {
    console.error(`credence: no PKCS#11: ${fault}`);
    if (!process.argv.includes('--if-possible')) process.exit(1);
  }
}
