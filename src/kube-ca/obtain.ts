import { IdentityError } from '../core/errors.ts';
import type { Fields } from '../kubernetes/fields.ts';
import { decisionOf, type DecisionDeps, type Placed } from './decision.ts';
import type { Inquiry } from './inquiry.ts';
import type { Ledger } from './ledger.ts';
import { whyFailed } from './refusals.ts';
import type { Verdict } from './verdict.ts';

/** A request as one kind of object. */
export interface Requested extends Placed {
  /** The same for the same key, so that a restart finds its own request again. */
  readonly name: string;
  /** The object of that name to be created. */
  readonly body: (name: string) => object;
  /** Whether an object that is there already asks for the same, of the same signer. */
  readonly isSame: (object: Fields) => boolean;
  readonly ledger: Ledger;
}

/** More requests for one key than anybody has an answer to. */
const MAX_NAMES = 32;

/** Creates the request, or finds it, and waits for what becomes of it. Rejects with `ERR_ISSUER`. */
export async function obtain(
  requested: Requested,
  inquiry: Inquiry,
  deps: DecisionDeps,
): Promise<Extract<Verdict, { kind: 'issued' }> & { readonly name: string }> {
  const { ledger } = requested;
  await awaitEarlier(requested, inquiry, deps);
  const { name, object } = await place(requested, inquiry);
  ledger.undecided = name;
  const verdict = await decisionOf({ ...requested, name }, object, inquiry, deps);
  ledger.undecided = undefined;
  if (verdict.kind === 'issued') return { ...verdict, name };
  // It stays so: there has to be another one the next time.
  ledger.spend(name);
  throw new IdentityError('ERR_ISSUER', `request ${name}: ${verdict.why}`);
}

/**
 * While nobody decides, one request for a key of before is enough: with another one at each attempt
 * nodes would fill the cluster with them for as long as the signer is away.
 */
async function awaitEarlier(
  requested: Requested,
  inquiry: Inquiry,
  deps: DecisionDeps,
): Promise<void> {
  const { ledger, collection, judge } = requested;
  const name = ledger.undecided;
  if (name === undefined || name === requested.name) return;
  const object = await found(requested, name, inquiry);
  if (object) await decisionOf({ collection, name, judge }, object, inquiry, deps);
  ledger.undecided = undefined;
}

/** A name that was free, or has our own request that may still be signed. */
async function place(
  requested: Requested,
  inquiry: Inquiry,
): Promise<{ name: string; object: Fields }> {
  const { collection, body, isSame, judge, ledger } = requested;
  for (let n = 1; n <= MAX_NAMES; n++) {
    const name = n === 1 ? requested.name : `${requested.name}-${n}`;
    if (ledger.isSpent(name)) continue;
    const created = await collection.create(body(name), inquiry);
    if (created) return { name, object: created };
    const there = await found(requested, name, inquiry);
    if (there && isSame(there) && judge(there).kind !== 'refused') return { name, object: there };
  }
  throw new IdentityError('ERR_ISSUER', `there are ${MAX_NAMES} requests for this key already`);
}

async function found({ collection }: Requested, name: string, { signal }: Inquiry) {
  try {
    return await collection.get(name, { signal });
  } catch (thrown) {
    const why = whyFailed(thrown, { to: 'show the request', rule: 'get' });
    throw new IdentityError('ERR_ISSUER', why, { cause: thrown });
  }
}
