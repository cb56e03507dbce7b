import { foreignText } from '../core/foreign-text.ts';
import { list, record, text, type Fields } from '../kubernetes/fields.ts';

/** What an object of the API says of a request; `why` is fit for a sentence. */
export type Verdict =
  | { readonly kind: 'waiting'; readonly why: string }
  /** It will never be signed. */
  | { readonly kind: 'refused'; readonly why: string }
  /** In base64, as it stands there. */
  | { readonly kind: 'issued'; readonly certificate: string; readonly ca: string };

/** Of a `CertificateSigningRequest` of certificates.k8s.io/v1. */
export function judgeSigningRequest(object: Fields): Verdict {
  const status = record(object['status']);
  const conditions = conditionsOf(status);
  for (const [type, word] of [
    ['Denied', 'denied'],
    ['Failed', 'approved, but its signer failed'],
  ] as const) {
    const condition = conditions.get(type);
    if (condition) return { kind: 'refused', why: `it was ${word}${because(condition)}` };
  }
  if (!conditions.has('Approved')) return { kind: 'waiting', why: 'nobody has approved it' };
  const certificate = text(status['certificate']);
  if (certificate === '')
    return { kind: 'waiting', why: 'it is approved, but nobody has signed it' };
  return { kind: 'issued', certificate, ca: '' };
}

/** Of a `CertificateRequest` of cert-manager.io/v1. */
export function judgeCertificateRequest(object: Fields): Verdict {
  const status = record(object['status']);
  const conditions = conditionsOf(status);
  for (const [type, word] of [
    ['Denied', 'denied'],
    ['InvalidRequest', 'found invalid'],
  ] as const) {
    const condition = conditions.get(type);
    if (condition) return { kind: 'refused', why: `it was ${word}${because(condition)}` };
  }
  const certificate = text(status['certificate']);
  if (conditions.has('Ready') && certificate !== '') {
    return { kind: 'issued', certificate, ca: text(status['ca']) };
  }
  const ready = allConditions(status).find(({ type }) => type === 'Ready');
  if (ready?.reason === 'Failed' || ready?.reason === 'Denied') {
    return { kind: 'refused', why: `it failed${because(ready)}` };
  }
  if (ready) return { kind: 'waiting', why: `cert-manager says${because(ready)}` };
  return {
    kind: 'waiting',
    why: conditions.has('Approved')
      ? 'it is approved, but no issuer has taken it up'
      : 'nobody has approved it',
  };
}

interface Condition {
  readonly type: string;
  readonly holds: boolean;
  readonly reason: string;
  readonly message: string;
}

function allConditions(status: Fields): readonly Condition[] {
  return list(status['conditions']).map((one) => {
    const condition = record(one);
    return {
      type: text(condition['type']),
      holds: condition['status'] === 'True',
      reason: text(condition['reason']),
      message: text(condition['message']),
    };
  });
}

/** Those that hold, by type. */
function conditionsOf(status: Fields): ReadonlyMap<string, Condition> {
  const holding = allConditions(status).filter(({ holds }) => holds);
  return new Map(holding.map((one) => [one.type, one]));
}

function because({ reason, message }: Condition): string {
  const short = reason === '' ? '' : ` (${foreignText(reason, 60)})`;
  return message === '' ? short : `${short}: ${foreignText(message)}`;
}
