import { X509Certificate } from 'node:crypto';
import { formatDuration } from '../core/duration.ts';
import { IdentityError } from '../core/errors.ts';
import { isAdminSocket } from './admin-client.ts';
import { textOf, type Action, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { oneLine } from './printable.ts';
import { fetchSecrets, FETCH_TIMEOUT_MS, type FetchedSecrets } from './sds-client.ts';
import { publicSocket } from './sockets.ts';
import { unreachableError } from './unreachable.ts';
import { writeSecrets } from './write-secrets.ts';

/** Anybody who waits longer wonders what for. */
const PATIENCE_MS = 1000;

/** `credence fetch x509|bundles`: what this process gets from the public socket. */
export const fetch: Action = async (given, [what], terminal) => {
  const socket = await publicSocket(given, terminal);
  const json = given['json'] === true;
  const secrets = await ask(socket, json, terminal);
  const identities = secrets.certificates.map((c) => describe(c, terminal.clock.now()));
  const folder = textOf(given, 'write');
  if (folder !== undefined) writeSecrets(folder, secrets, what === 'x509', terminal);
  const bundles = secrets.bundles.map(({ trustDomain, rootsPem }) => ({
    trust_domain: trustDomain,
    roots_pem: rootsPem,
  }));
  if (what === 'bundles') {
    if (json) terminal.out(`${JSON.stringify({ bundles }, undefined, 2)}\n`);
    else if (folder === undefined)
      for (const { rootsPem } of secrets.bundles)
        for (const block of blocks(rootsPem)) terminal.out(`${block}\n`);
    return EXIT.done;
  }
  if (json) {
    terminal.out(`${JSON.stringify({ identities, bundles }, undefined, 2)}\n`);
  } else {
    for (const identity of identities) terminal.out(`${identityText(identity)}\n`);
    for (const { trustDomain, rootsPem } of secrets.bundles) {
      const count = blocks(rootsPem).length;
      terminal.out(`bundle       ${oneLine(trustDomain)}, ${count} root(s)\n`);
    }
  }
  if (identities.length > 0) return EXIT.done;
  throw new IdentityError('ERR_DENIED', 'this process was attested but holds no identity', {
    hint:
      `add a policy entry whose selectors match it, such as unix:uid:${process.geteuid?.() ?? 'UID'}; ` +
      'credence explain --pid N shows the operator why a process gets none',
  });
};

/** Asks; on a terminal says so when the answer takes its time. */
async function ask(socket: string, json: boolean, terminal: Terminal): Promise<FetchedSecrets> {
  const { clock, err, isTTY, signal } = terminal;
  const notice = clock.after(PATIENCE_MS, () => {
    if (!isTTY || json) return;
    err(
      `waiting for credence at ${socket} to attest this process and to sign, ` +
        `${FETCH_TIMEOUT_MS / 1000} s at most\n`,
    );
  });
  try {
    return await fetchSecrets(socket, { nowMs: clock.now(), signal });
  } catch (thrown) {
    const silent = thrown instanceof IdentityError && thrown.code === 'ERR_UNREACHABLE';
    if (!silent || signal.aborted || !(await isAdminSocket(socket, terminal))) throw thrown;
    throw unreachableError(socket, 'this is an admin socket, not a public socket', {
      cause: thrown,
      hint: 'socket_path of the configuration names the other one, --config FILE finds it',
    });
  } finally {
    notice.cancel();
  }
}

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
  try {
    const leaf = new X509Certificate(chain[0] ?? '');
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
  } catch (thrown) {
    throw new IdentityError('ERR_DENIED', 'credence sent a certificate that cannot be read', {
      cause: thrown,
    });
  }
}

function identityText(identity: Identity): string {
  return [
    `SPIFFE ID    ${identity.spiffe_id}`,
    `serial       ${identity.serial}`,
    `valid until  ${identity.not_after}, ${formatDuration(identity.seconds_left * 1000)} left`,
    `key, chain   ${identity.key_type}, ${identity.chain_length} certificate(s)`,
  ]
    .map((line) => `${oneLine(line)}\n`)
    .join('');
}

function blocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}
