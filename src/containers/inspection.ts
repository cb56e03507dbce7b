import { IdentityError } from '../core/errors.ts';
import { selector, selectorFault, type Selector } from '../identity/selector.ts';

/** What is kept of an engine's description of a container. */
export interface Inspection {
  readonly selectors: readonly Selector[];
  /** Pid of the container's first process; 0 while it has none, or the engine does not say. */
  readonly initPid: number;
}

/** More cannot be matched in time. */
const MAX_SELECTORS = 2048;

/**
 * Reads the answer to `GET /containers/ID/json`, of docker or of podman, whose every field is taken
 * for optional. SPIRE's `docker` selectors to the letter: labels, variables of the environment as they
 * are, the image by the name it was asked for and by the digest of its configuration. Those that are
 * longer than a policy can name are left out. Throws `ERR_ATTESTATION` when it is of another container.
 */
export function readInspection(document: unknown, id: string): Inspection {
  const answer = record(document);
  if (answer['Id'] !== id) throw unusable('it describes no container, or another one');
  const config = record(answer['Config']);
  const values: string[] = [];
  for (const [key, value] of Object.entries(record(config['Labels']))) {
    if (typeof value === 'string') values.push(`label:${key}:${value}`);
  }
  const environment = Array.isArray(config['Env']) ? (config['Env'] as readonly unknown[]) : [];
  for (const variable of environment) {
    if (typeof variable === 'string' && variable !== '') values.push(`env:${variable}`);
  }
  for (const [kind, value] of [
    ['image_id', config['Image']],
    ['image_config_digest', answer['Image']],
  ] as const) {
    if (typeof value === 'string' && value !== '') values.push(`${kind}:${value}`);
  }
  if (values.length > MAX_SELECTORS) {
    throw unusable(`${values.length} labels and variables, at most ${MAX_SELECTORS} are looked at`);
  }
  const selectors = values.map((value) => selector('docker', value));
  const pid = record(answer['State'])['Pid'];
  return {
    selectors: selectors.filter((one) => selectorFault(one) === undefined),
    initPid: typeof pid === 'number' && Number.isInteger(pid) && pid > 0 ? pid : 0,
  };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function unusable(why: string): IdentityError {
  return new IdentityError('ERR_ATTESTATION', `the engine's answer cannot be used: ${why}`);
}
