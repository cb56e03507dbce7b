import type { CaCertifier } from './authority.ts';
import { SELF_SIGNED } from './ca-state.ts';
import type { SigningKey } from './keys.ts';
import type { UpstreamAuthority } from './upstream-authority.ts';
import type { CaCertificate } from './ca-certificate.ts';

/** A root of our own as the upstream of the CAs below it. */
export function createSelfSigned(
  root: { readonly certificate: CaCertificate; readonly key: SigningKey },
  certify: CaCertifier,
): UpstreamAuthority {
  return {
    name: SELF_SIGNED,
    // Nobody has to prove to us that the key is ours.
    async issue({ key, ttlMs }) {
      const { der } = await certify({ key, ttlMs, issuer: root });
      return { chain: [der], roots: [root.certificate.der] };
    },
    close: () => undefined,
  };
}
