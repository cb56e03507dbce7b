import type { Logger } from '../core/log.ts';
import { toIdentityError } from '../core/errors.ts';
import { trustDomainFault, type TrustDomain } from '../identity/spiffe-id.ts';
import { json, type Answer } from './answer.ts';

/** The forms that a bundle is given in. */
export type BundleFormat = 'pem' | 'spiffe';

/**
 * What an operator does to bundles of other trust domains. Throws `ERR_BAD_REQUEST` for what is none,
 * or of the own trust domain; `ERR_DISK` when it was not kept. Then nothing has changed.
 */
export interface BundleControl {
  set(trustDomain: TrustDomain, text: string, format: BundleFormat | undefined): void;
  /** Whether there was one. */
  delete(trustDomain: TrustDomain): boolean;
}

/** Their paths, both for POST. */
export const BUNDLE_COMMANDS: readonly string[] = ['/bundles/set', '/bundles/delete'];

interface CommandContext {
  readonly control: BundleControl;
  readonly log: Logger;
  /** The body of the request; rejects with `ERR_BAD_REQUEST` when it is too large. */
  readonly body: () => Promise<string>;
}

const STATUS: Readonly<Partial<Record<string, number>>> = {
  ERR_BAD_REQUEST: 400,
  ERR_DISK: 507,
};

/**
 * The answer to `POST /bundles/set?trust_domain=TD`, with `&format=` if told and the bundle as its body,
 * and to `POST /bundles/delete?trust_domain=TD`.
 */
export async function runBundleCommand(
  path: string,
  query: URLSearchParams,
  { control, log, body }: CommandContext,
): Promise<Answer> {
  const [name, ...names] = query.getAll('trust_domain');
  const [format, ...formats] = query.getAll('format');
  if (name === undefined || names.length + formats.length > 0) {
    return json({ error: 'trust_domain is to be given, once, and a format at most once' }, 400);
  }
  const fault = trustDomainFault(name);
  if (fault !== undefined) return json({ error: `trust_domain: ${fault}` }, 400);
  if (format !== undefined && format !== 'pem' && format !== 'spiffe') {
    return json({ error: 'format is to be pem or spiffe' }, 400);
  }
  const trustDomain = name as TrustDomain;
  try {
    if (path === '/bundles/delete') {
      if (!control.delete(trustDomain)) {
        return json({ error: `no bundle of ${trustDomain} was set by hand` }, 404);
      }
    } else control.set(trustDomain, await body(), format);
  } catch (thrown) {
    const { code, message } = toIdentityError(thrown);
    const status = STATUS[code];
    if (status === undefined) throw thrown;
    return json({ error: message }, status);
  }
  log.info({ trust_domain: trustDomain, detail: path }, 'a bundle is changed by hand');
  return json({ trust_domain: trustDomain });
}
