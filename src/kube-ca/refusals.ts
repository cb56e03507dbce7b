import { errorText, IdentityError, systemCode } from '../core/errors.ts';
import { foreignText } from '../core/foreign-text.ts';
import { ApiRefusal } from '../kubernetes/api.ts';

/** What an API server is asked, for messages. */
export interface Asked {
  /** As in a sentence: `create the request`. */
  readonly to: string;
  /** The rule of RBAC that allows it, as one writes it. */
  readonly rule: string;
}

/** Why a call has failed, as a sentence that holds no line break and has an end. */
export function whyFailed(thrown: unknown, { to, rule }: Asked): string {
  if (thrown instanceof IdentityError) return thrown.message;
  if (!(thrown instanceof ApiRefusal)) {
    const reason =
      foreignText(errorText(thrown)) || systemCode(thrown) || 'an error without a text';
    return `the API server could not be asked to ${to}: ${reason}`;
  }
  const { code, retryAfterMs } = thrown;
  const said = foreignText(thrown.message);
  const answer = `the API server was asked to ${to} and answered ${code}${said && `: ${said}`}`;
  if (code === 403) return `${answer}; the right is missing: ${rule}`;
  if (code === 404) return `${answer}; there is no such resource, or no such namespace`;
  if (code === 401) return `${answer}; it does not know the token`;
  if (retryAfterMs > 0) return `${answer}; it wants to be asked again in ${retryAfterMs / 1000} s`;
  return answer;
}

/** Whether asking again soon can have another answer. */
export function mayPass(thrown: unknown): boolean {
  if (thrown instanceof IdentityError) return false;
  if (!(thrown instanceof ApiRefusal)) return true;
  // Of a token there may be a newer one, and of a version that is too old as well.
  return [401, 410, 429].includes(thrown.code) || thrown.code >= 500;
}
