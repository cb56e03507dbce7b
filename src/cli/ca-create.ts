import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { loadConfig, parseConfig, type Config } from '../config.ts';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { IdentityError } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { trustDomainFault } from '../identity/spiffe-id.ts';
import { makeCaFiles, type CaFiles } from '../issuer/ca-files.ts';
import { ensurePrivateFolder } from '../issuer/private-files.ts';
import { createTlsSecret, parseSecretName } from './ca-secret.ts';
import { textOf, type Action, type Given, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';

/** `credence ca create`: the CA that the nodes of a cluster share, as files or as a Secret. */
export const caCreate: Action = async (given, _operands, terminal) => {
  const out = textOf(given, 'out');
  const secret = textOf(given, 'secret');
  if ((out === undefined) === (secret === undefined)) {
    throw usage('credence ca create takes one of --out DIR and --secret NS/NAME');
  }
  const config = configOf(given, terminal);
  if (out !== undefined) {
    refuseExisting(out);
    const made = await make(config, terminal);
    writeFiles(out, made, terminal);
    tell(made, terminal);
    return EXIT.done;
  }
  if (!config.attestation.kubernetes) {
    throw usage('--secret needs --config FILE with attestation.kubernetes: the API server to ask');
  }
  const name = parseSecretName(secret ?? '');
  const made = await make(config, terminal);
  const isNew = await createTlsSecret(name, made.files, config.attestation.kubernetes, terminal);
  if (isNew) tell(made, terminal);
  terminal.err(
    isNew ? `created Secret ${secret}\n` : `Secret ${secret} exists and stays as it is\n`,
  );
  return EXIT.done;
};

/** The configuration, or the defaults with a trust domain. */
function configOf(given: Given, { env }: Terminal): Config {
  const file = textOf(given, 'config');
  const domain = textOf(given, 'trust-domain');
  if ((file === undefined) === (domain === undefined)) {
    throw usage('credence ca create takes one of --config FILE and --trust-domain TD');
  }
  if (file !== undefined) return loadConfig(file, env);
  const fault = trustDomainFault(domain ?? '');
  if (fault) throw usage(`--trust-domain is "${domain}": ${fault}`);
  return parseConfig(`trust_domain: '${domain}'`, resolve('none'), {});
}

function make({ trustDomain, issuer }: Config, { clock }: Terminal): Promise<CaFiles> {
  const { caKeyType, rootTtlMs, nameConstraint } = issuer;
  const config = { trustDomain, caKeyType, rootTtlMs, nameConstraint };
  return makeCaFiles(config, { clock, random: systemRandom });
}

/** A CA that is in use must not go by a slip. */
function refuseExisting(folder: string): void {
  const there = ['tls.crt', 'tls.key', 'ca.crt'].find((name) => existsSync(join(folder, name)));
  if (there === undefined) return;
  throw new IdentityError('ERR_KEY_STORE', `${join(folder, there)} exists: nothing was made`, {
    hint: 'name another folder, or move the files away',
  });
}

function writeFiles(folder: string, { files }: CaFiles, { err }: Terminal): void {
  ensurePrivateFolder(folder);
  for (const [name, text] of Object.entries(files)) {
    writeFileAtomic(join(folder, name), text, 0o600);
    err(`wrote ${join(folder, name)}\n`);
  }
}

function tell({ root, issuing }: CaFiles, { out }: Terminal): void {
  for (const [role, { subjectText, validity }] of [
    ['root', root],
    ['issuing CA', issuing],
  ] as const) {
    out(`${role}: ${subjectText}, until ${new Date(validity.notAfterMs).toISOString()}\n`);
  }
}

function usage(message: string): IdentityError {
  return new IdentityError('ERR_USAGE', message, { hint: 'credence ca create --help' });
}
