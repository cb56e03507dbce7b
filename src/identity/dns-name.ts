const MAX_NAME_BYTES = 253;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/**
 * What is wrong with the text as a DNS name for a certificate, or undefined. Letters, digits and
 * hyphens (RFC 1123 2.1); one `*` is allowed as the whole first label (RFC 6125 6.4.3), as in SPIRE.
 */
export function dnsNameFault(text: string): string | undefined {
  if (text === '') return 'it is empty';
  if (text.length > MAX_NAME_BYTES) {
    return `it has ${text.length} bytes, at most ${MAX_NAME_BYTES} are allowed`;
  }
  const wildcard = text.startsWith('*.');
  const labels = (wildcard ? text.slice(2) : text).split('.');
  if (labels.includes('')) return 'it has an empty label';
  for (const label of labels) {
    if (label.includes('*')) return 'a * is allowed only as the whole first label';
    if (label.length > 63) return `a label has ${label.length} bytes, at most 63 are allowed`;
    if (!LABEL.test(label)) {
      return `the label "${label}" is not letters, digits and inner hyphens`;
    }
  }
  // A numeric last label is an address (RFC 3696 2), which a dNSName must not hold.
  if (/^\d+$/.test(labels.at(-1) ?? '')) return 'it is an address, not a name';
  return undefined;
}
