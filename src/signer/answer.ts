import type { Clock } from '../core/clock.ts';
import { errorText } from '../core/errors.ts';
import type { Random } from '../core/random.ts';
import type { Authority } from '../issuer/authority.ts';
import { createSerials, validityFrom } from '../issuer/profile.ts';
import { ApiRefusal, type Api } from '../kubernetes/api.ts';
import { list, record, text } from '../kubernetes/fields.ts';
import { progressOf, withStatus, type Condition } from './conditions.ts';
import { deny, judge, type Candidate, type Denial, type SigningRules } from './judge.ts';
import { MAX_CAS_OF_A_NODE, type KeyRecord } from './key-record.ts';
import { signNodeCa } from './node-ca.ts';
import { collectionOf } from './object-name.ts';
import type { SignerState } from './signer-state.ts';
import type { Asker, SigningAudit } from './signing-log.ts';

export const REQUESTS = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** What became of a request: by us, or by another replica or person. */
export type Outcome = 'signed' | 'denied' | 'others' | 'gone';

export interface AnswerRules extends SigningRules {
  /** Whether the pod of the token has to be there still, on its node. */
  readonly verifyPods: boolean;
}

export interface AnswerDeps {
  readonly api: Pick<Api, 'get' | 'send'>;
  readonly record: KeyRecord;
  readonly roots: {
    current(): SignerState | undefined;
    fresh(options: { signal: AbortSignal }): Promise<SignerState>;
    authority(state: SignerState): Promise<Authority>;
  };
  readonly audit: SigningAudit;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Whether another request for this key was answered already. */
  keyWasSeen(keyId: Buffer, requestUid: string): boolean;
  /** Whether a watch has told meanwhile that somebody else has answered it. */
  isAnswered(requestUid: string): boolean;
}

/**
 * Answers requests, in any number of processes at once: each write names the version that it was
 * decided on, and after a conflict the request is looked at anew. Rejects when it is to be tried again.
 */
export function createAnswerer(rules: AnswerRules, deps: AnswerDeps) {
  const { api, audit, clock, signal } = deps;
  const nextSerial = createSerials(deps.random);
  const fresh = shared(() => deps.roots.fresh({ signal }));

  return async function answer(request: unknown): Promise<Outcome> {
    for (let current = request; ;) {
      const { isDone } = progressOf(current);
      if (isDone) return 'others';
      try {
        return await answerOnce(current);
      } catch (thrown) {
        if (!(thrown instanceof ApiRefusal) || ![404, 409].includes(thrown.code)) throw thrown;
        // Another was quicker; with what, is seen in it.
        const next = await take(nameOf(current));
        if (next === undefined || uidOf(next) !== uidOf(request)) return 'gone';
        if (thrown.code === 404) throw thrown;
        current = next;
      }
    }
  };

  async function answerOnce(request: unknown): Promise<Outcome> {
    const verdict = judge(request, rules);
    if (verdict.kind === 'deny') return refuse(request, verdict);
    if (deps.keyWasSeen(verdict.keyId, uidOf(request))) return refuse(request, SEEN);
    // Before anything is written down for it, and again once that is done.
    if (deps.roots.current()?.revoked.has(verdict.node)) return refuse(request, revoked(verdict));
    const gone = rules.verifyPods ? await podFault(verdict) : undefined;
    if (gone) return refuse(request, gone);
    const untilMs = clock.now() + verdict.ttlMs;
    const { keyId, node } = verdict;
    const requestUid = uidOf(request);
    const place = await deps.record.reserve({ keyId, requestUid, node, untilMs });
    if (place === 'of another') return refuse(request, SEEN);
    if (place === 'too many') return refuse(request, TOO_MANY);
    // After it was written down: whoever cuts the node off now sees that it may have a CA.
    const state = await fresh();
    if (state.revoked.has(node)) return refuse(request, revoked(verdict));
    if (deps.isAnswered(requestUid)) return 'others';
    return sign(request, verdict, await deps.roots.authority(state));
  }

  async function sign(request: unknown, candidate: Candidate, issuer: Authority): Promise<Outcome> {
    const approved = progressOf(request).isApproved ? request : await approve(request, candidate);
    if (approved === undefined || progressOf(approved).isDone) return approved ? 'others' : 'gone';
    const validity = validityFrom(clock.now(), candidate.ttlMs, issuer.validity.notAfterMs);
    const { trustDomain } = rules;
    const serial = nextSerial();
    const ca = await signNodeCa({ trustDomain, candidate, serial, validity, issuer });
    const chain = [ca, ...issuer.chain].map(({ pem }) => pem);
    audit.signed(askerOf(request), {
      ...{ serial: ca.serial, notAfterMs: validity.notAfterMs },
      authorityId: issuer.certificate.keyId.toString('hex'),
    });
    const change = { certificate: Buffer.concat(chain) };
    await put(approved, 'status', change);
    return 'signed';
  }

  async function approve(request: unknown, { node }: Candidate): Promise<unknown> {
    const condition: Condition = {
      ...{ type: 'Approved', reason: 'NodeCa' },
      message: `asked for by the daemon of the node ${node}`,
    };
    await put(request, 'approval', { condition });
    return take(nameOf(request));
  }

  async function refuse(request: unknown, { reason, message }: Denial): Promise<Outcome> {
    audit.denied(askerOf(request), { reason, message });
    // The server lets nobody deny what somebody has approved; it can still be said that it failed.
    const type = progressOf(request).isApproved ? 'Failed' : 'Denied';
    const condition: Condition = { type, reason, message: message.slice(0, MAX_MESSAGE) };
    await put(request, type === 'Failed' ? 'status' : 'approval', { condition });
    return 'denied';
  }

  async function put(
    request: unknown,
    subresource: 'approval' | 'status',
    change: Parameters<typeof withStatus>[1],
  ): Promise<void> {
    const path = `${REQUESTS}/${encodeURIComponent(nameOf(request))}/${subresource}`;
    await api.send('PUT', path, withStatus(request, change, clock.now()), { signal });
  }

  async function take(name: string): Promise<unknown> {
    try {
      return await api.get(`${REQUESTS}/${encodeURIComponent(name)}`, { signal });
    } catch (thrown) {
      if (thrown instanceof ApiRefusal && thrown.code === 404) return undefined;
      throw thrown;
    }
  }

  async function podFault({ node, pod }: Candidate): Promise<Denial | undefined> {
    const path = `${collectionOf('pods', { ...rules.serviceAccount })}/${encodeURIComponent(pod.name)}`;
    let object: unknown;
    try {
      object = await api.get(path, { signal });
    } catch (thrown) {
      if (!(thrown instanceof ApiRefusal) || thrown.code !== 404) throw thrown;
      return deny('PodGone', `there is no pod ${pod.name} any more: ${errorText(thrown)}`);
    }
    const { metadata, spec } = record(object);
    const isSame = text(record(metadata)['uid']) === pod.uid;
    const isThere = text(record(spec)['nodeName']) === node;
    if (isSame && isThere) return undefined;
    return deny('PodGone', `the pod ${pod.name} is another one now, or on another node`);
  }
}

/** Who asks while it is asked already gets the answer to the next question, which is one for all. */
function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let asking: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= asking.then(() => {
      const answer = ask();
      next = undefined;
      asking = answer.catch(() => undefined);
      return answer;
    });
    return next;
  };
}

const revoked = ({ node }: Candidate) => deny('NodeRevoked', `the node ${node} was cut off`);
const TOO_MANY = deny('TooManyCas', `the node has ${MAX_CAS_OF_A_NODE} CAs that live`);
const SEEN = deny('KeySeenBefore', 'the key was in an earlier request: expected a new one');
/** Of a condition; what is quoted in it may be of any length. */
const MAX_MESSAGE = 500;

const metadataOf = (request: unknown) => record(record(request)['metadata']);
const nameOf = (request: unknown) => text(metadataOf(request)['name']);
export const uidOf = (request: unknown) => text(metadataOf(request)['uid']);

function askerOf(request: unknown): Asker {
  const spec = record(record(request)['spec']);
  const extra = record(spec['extra']);
  const first = (name: string) =>
    text(list(extra[`authentication.kubernetes.io/${name}`])[0]).slice(0, 253);
  return {
    ...{ request: nameOf(request), requestUid: uidOf(request) },
    username: text(spec['username']).slice(0, 253),
    ...{ node: first('node-name'), podUid: first('pod-uid') },
  };
}
