import { X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../core/atomic-file.ts';
import { formatDuration } from '../core/duration.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import { textOf, type Action, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { fetchSecrets, type FetchedSecrets } from './sds-client.ts';
import { publicSocket } from './sockets.ts';

/** `credence fetch x509|bundles`: what this process gets from the public socket. */
export const fetch: Action = async (given, [what], terminal) => {
  const socket = await publicSocket(given, terminal);
  const { clock, signal } = terminal;
  const secrets = await fetchSecrets(socket, { nowMs: clock.now(), signal });
  const folder = textOf(given, 'write');
  if (folder !== undefined) write(folder, secrets, what === 'x509', terminal);
  const bundles = secrets.bundles.map(({ trustDomain, rootsPem }) => ({
    trust_domain: trustDomain,
    roots_pem: rootsPem,
  }));
  if (what === 'bundles') {
    if (given['json'] === true) terminal.out(`${JSON.stringify({ bundles }, undefined, 2)}\n`);
    else if (folder === undefined)
      for (const { rootsPem } of secrets.bundles) terminal.out(rootsPem);
    return EXIT.done;
  }
  const identities = secrets.certificates.map((certificate) => describe(certificate, clock.now()));
  if (given['json'] === true) {
    terminal.out(`${JSON.stringify({ identities, bundles }, undefined, 2)}\n`);
  } else {
    for (const identity of identities) terminal.out(identityText(identity));
    for (const { trustDomain, rootsPem } of secrets.bundles) {
      terminal.out(`bundle       ${trustDomain}, ${blocks(rootsPem).length} root(s)\n`);
    }
  }
  if (identities.length > 0) return EXIT.done;
  throw new IdentityError('ERR_DENIED', 'this process was attested but holds no identity', {
    hint: 'add a policy entry whose selectors match it, such as unix:uid:UID',
  });
};

interface Identity {
  readonly spiffe_id: string;
  readonly serial: string;
  readonly not_before: string;
  readonly not_after: string;
  readonly seconds_left: number;
  readonly chain_length: number;
  readonly key_type: string;
}

function describe({ chainPem }: { chainPem: string }, nowMs: number): Identity {
  const chain = blocks(chainPem);
  const [pem] = chain;
  if (pem === undefined)
    throw new IdentityError('ERR_DENIED', 'credence sent an empty certificate');
  const leaf = new X509Certificate(pem);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = leaf.publicKey;
  return {
    spiffe_id: /(?:^|, )URI:(spiffe:[^,]*)/.exec(leaf.subjectAltName ?? '')?.[1] ?? '',
    serial: leaf.serialNumber.toLowerCase(),
    not_before: new Date(leaf.validFrom).toISOString(),
    not_after: new Date(leaf.validTo).toISOString(),
    seconds_left: Math.floor((Date.parse(leaf.validTo) - nowMs) / 1000),
    chain_length: chain.length,
    key_type: details?.namedCurve ?? `${type ?? ''} ${details?.modulusLength ?? ''}`.trim(),
  };
}

function identityText(identity: Identity): string {
  return [
    `SPIFFE ID    ${identity.spiffe_id}`,
    `serial       ${identity.serial}`,
    `valid until  ${identity.not_after}, ${formatDuration(identity.seconds_left * 1000)} left`,
    `key, chain   ${identity.key_type}, ${identity.chain_length} certificate(s)`,
    '',
  ].join('\n');
}

function blocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/**
 * Files as SPIRE's agent names them; each one is replaced whole, keys are for the owner alone. What
 * an earlier call wrote beyond the number of this time goes: it would be taken for still granted.
 */
function write(folder: string, secrets: FetchedSecrets, svids: boolean, terminal: Terminal): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot create ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
  const put = (name: string, text: string, mode: number) => {
    writeFileAtomic(join(folder, name), text, mode);
    terminal.err(`wrote ${join(folder, name)}\n`);
  };
  const own = secrets.bundles[0]?.rootsPem ?? '';
  if (!svids) {
    secrets.bundles.forEach(({ rootsPem }, n) => put(`bundle.${n}.pem`, rootsPem, 0o644));
    return removeBeyond(folder, /^bundle\.(\d+)\.pem$/, secrets.bundles.length, terminal);
  }
  secrets.certificates.forEach(({ chainPem, keyPem }, n) => {
    put(`svid.${n}.key`, keyPem, 0o600);
    put(`svid.${n}.pem`, chainPem, 0o644);
    put(`bundle.${n}.pem`, own, 0o644);
  });
  const numbered = /^(?:svid\.(\d+)\.(?:key|pem)|bundle\.(\d+)\.pem)$/;
  removeBeyond(folder, numbered, secrets.certificates.length, terminal);
}

function removeBeyond(folder: string, names: RegExp, count: number, terminal: Terminal): void {
  try {
    for (const name of readdirSync(folder)) {
      const number = names.exec(name)?.slice(1).find(Boolean);
      if (number === undefined || Number(number) < count) continue;
      rmSync(join(folder, name));
      terminal.err(`removed ${join(folder, name)}\n`);
    }
  } catch (thrown) {
    throw new IdentityError('ERR_DISK', `cannot clear ${folder}: ${errorText(thrown)}`, {
      cause: thrown,
    });
  }
}
