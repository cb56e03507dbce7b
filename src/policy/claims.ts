import type { PolicyEntry } from './entry.ts';
import { hasPlaceholder, parseTemplate } from './template.ts';
import type { Attestable } from './unmatched.ts';

/** What says which user it is, and is not that user's own word. */
const USER = /^unix:(?:uid|user):/;

/**
 * Why an entry may be had by whoever wants it: it rests on what containers are said to be, and of
 * its own containers a user's podman says what that user likes.
 */
export function anybodysClaim(
  { selectors, spiffeId }: Pick<PolicyEntry, 'selectors' | 'spiffeId'>,
  { rootlessPodman }: Pick<Attestable, 'rootlessPodman'>,
): string | undefined {
  if (!rootlessPodman) return undefined;
  const claim = selectors.find((selector) => selector.startsWith('docker:'));
  if (claim === undefined || selectors.some((selector) => USER.test(selector))) return undefined;
  const prefixes = hasPlaceholder(spiffeId) ? parseTemplate(spiffeId).prefixes : [];
  if (prefixes.some((prefix) => USER.test(prefix))) return undefined;
  return `any user can have ${claim}: of its own containers podman says what that user likes (attestation.docker.podman_socket_path_template); add unix:uid or unix:user`;
}
