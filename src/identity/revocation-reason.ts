/**
 * Why a certificate is revoked: RFC 5280 5.3.1 without those that can be taken back
 * (certificateHold, removeFromCRL) and those of other kinds of authorities.
 */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;

export type RevocationReason = keyof typeof REVOCATION_REASONS;

/** Whether the text names a reason. */
export function isRevocationReason(text: unknown): text is RevocationReason {
  return typeof text === 'string' && Object.hasOwn(REVOCATION_REASONS, text);
}
