import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  DOMAIN,
  OTHER,
  startHandler,
  WORKLOAD,
  type Handler,
  type HandlerOptions,
} from '../support/sds-proxy-handler.ts';
import { EndedError } from '../support/sds-proxy.ts';
import type { DecodedResponse } from '../support/secrets.ts';
import { SECRET_TYPE } from '../support/secrets.ts';

/*
 * What SPIRE's agent answers to one request, row by row (S: StreamSecrets, F: FetchSecrets), and
 * where Credence differs on purpose:
 *
 * - "Old" is Envoy 1.17, "New" is 1.18. SPIRE writes plain bundles to Old. Credence asks for Envoy
 *   1.36, so the version decides nothing about the form: only configuration and node do.
 * - Names that are refused end with PERMISSION_DENIED, not INVALID_ARGUMENT or INTERNAL: the request
 *   is well-formed, and the operator reads what is missing.
 */

const SWITCH = 'disable_spiffe_cert_validation';
const OWN_BUNDLE = `${DOMAIN} spiffe domain.test`;
const OTHER_BUNDLE = `${OTHER} spiffe otherdomain.test`;
const OWN_PLAIN = `${DOMAIN} plain`;
const CERTIFICATE = `${WORKLOAD} certificate`;
const EVERYTHING = [OWN_BUNDLE, OTHER_BUNDLE, CERTIFICATE];

const OLD = node(17);
const NEW = node(18);
/** Envoy that says nothing of its version. */
const EMPTY = {};

function node(minor: number, metadata?: object): object {
  const version = { major_number: 1, minor_number: minor };
  const fields = metadata === undefined ? {} : { metadata: { fields: { [SWITCH]: metadata } } };
  return { id: 'proxy', user_agent_build_version: { version }, ...fields };
}

/** Secrets in the order of the response, each by its name, kind and domains. */
function shapeOf({ secrets }: DecodedResponse): string[] {
  return secrets.map((secret) => {
    if (secret.kind === 'certificate') return `${secret.name} certificate`;
    if (secret.kind === 'plain bundle') return `${secret.name} plain`;
    assert.ok(secret.kind === 'spiffe bundle', secret.name);
    return `${secret.name} spiffe ${Object.keys(secret.domains).join('+')}`;
  });
}

interface Row {
  /** Numbers of the row for a stream and a fetch, and what it is about. */
  readonly title: string;
  readonly names: readonly string[];
  readonly node: object;
  /** What comes, or words of the refusal. */
  readonly expected: readonly string[] | RegExp;
  readonly options?: HandlerOptions;
}

function row(
  title: string,
  names: readonly string[],
  node: object,
  expected: Row['expected'],
  options?: HandlerOptions,
): Row {
  return { title, names, node, expected, ...(options && { options }) };
}

const OFF = { config: { spiffeCertValidation: false } };
/** The bundle of the own domain under the name that stands for all elsewhere. */
const RENAMED = {
  config: { ...OFF.config, aliases: { svid: 'default', bundle: 'ALL', allBundles: '*unused*' } },
};
const REFUSED_ALL = /ALL needs the SPIFFE validator, which this proxy or the configuration has/;

const ROWS: readonly Row[] = [
  row('S1 F1: all names, Old; as SPIFFE validator', [], OLD, EVERYTHING),
  row('S2 F2: all names, New', [], NEW, EVERYTHING),
  row('S3 F3: own domain, Old; as SPIFFE validator', [DOMAIN], OLD, [OWN_BUNDLE]),
  row('S4 F4: own domain, New', [DOMAIN], NEW, [OWN_BUNDLE]),
  row('S5: own domain, empty node', [DOMAIN], EMPTY, [OWN_BUNDLE]),
  row('S6: ROOTCA under that name', ['ROOTCA'], NEW, ['ROOTCA spiffe domain.test']),
  row('S7 F5: federated domain, Old; as SPIFFE validator', [OTHER], OLD, [OTHER_BUNDLE]),
  row('S8 F6: federated domain, New', [OTHER], NEW, [OTHER_BUNDLE]),
  row('S9: certificate only, Old', [WORKLOAD], OLD, [CERTIFICATE]),
  row('S10 F9: certificate only, New', [WORKLOAD], NEW, [CERTIFICATE]),
  row('S11 F7: ALL, Old; served, since the version decides nothing', ['ALL'], OLD, [
    'ALL spiffe domain.test+otherdomain.test',
  ]),
  row('S12 F8: ALL, New, both domains sorted', ['ALL'], NEW, [
    'ALL spiffe domain.test+otherdomain.test',
  ]),
  row('S13: default under that name', ['default'], NEW, ['default certificate']),
  row(
    'S14 F10: a name that is not granted; PERMISSION_DENIED',
    [`${DOMAIN}/WHATEVER`],
    NEW,
    /no policy entry for this process grants spiffe:\/\/domain\.test\/WHATEVER/,
  ),
  row('S15 F11: validator off', [DOMAIN], NEW, [OWN_PLAIN], OFF),
  row(
    'S16 F12: validator off, bundle named ALL, default',
    ['default'],
    NEW,
    ['default certificate'],
    RENAMED,
  ),
  row('S17 F13: validator off, bundle named ALL', ['ALL'], NEW, ['ALL plain'], RENAMED),
  row('S17b: validator off, ALL; refused with the cause', ['ALL'], NEW, REFUSED_ALL, OFF),
  row('S18 F14: switched off by the node', [DOMAIN], node(18, { boolValue: true }), [OWN_PLAIN]),
  row('S19 F15: switched off by a text', [DOMAIN], node(18, { stringValue: 'true' }), [OWN_PLAIN]),
  row('S20 F16: false by the node', [DOMAIN], node(18, { boolValue: false }), [OWN_BUNDLE]),
  row('S21 F17: a text that means nothing', [DOMAIN], node(18, { stringValue: 'test' }), [
    OWN_BUNDLE,
  ]),
  row(
    'S22 F18: off, and "true" by the node',
    [DOMAIN],
    node(18, { stringValue: 'true' }),
    [OWN_PLAIN],
    OFF,
  ),
  row(
    'S23 F19: off, but "false" by the node, which wins',
    [DOMAIN],
    node(18, { stringValue: 'false' }),
    [OWN_BUNDLE],
    OFF,
  ),
  row(
    'S24 F20: off, but false by the node, which wins',
    [DOMAIN],
    node(18, { boolValue: false }),
    [OWN_BUNDLE],
    OFF,
  ),
  row(
    'S25 F21: off, and a text that means nothing',
    [DOMAIN],
    node(18, { stringValue: 'test' }),
    [OWN_PLAIN],
    OFF,
  ),
  row('S26 F22: off, and a number', [DOMAIN], node(18, { numberValue: 5 }), [OWN_PLAIN], OFF),
];

async function orEnding(answer: Promise<DecodedResponse>): Promise<DecodedResponse | EndedError> {
  try {
    return await answer;
  } catch (thrown) {
    if (thrown instanceof EndedError) return thrown;
    throw thrown;
  }
}

function check(answer: DecodedResponse | EndedError, expected: Row['expected']): void {
  if (expected instanceof RegExp) {
    assert.ok(answer instanceof EndedError, 'it was answered');
    assert.equal(answer.ending.code, 'PERMISSION_DENIED');
    assert.match(answer.ending.details, expected);
    return;
  }
  assert.ok(!(answer instanceof EndedError), 'it was refused');
  assert.deepEqual(shapeOf(answer), expected);
  assert.equal(answer.typeUrl, SECRET_TYPE);
}

describe("SPIRE's SDS behaviour, one request and one answer (B1, B3)", { timeout: 60_000 }, () => {
  for (const options of new Set(ROWS.map((row) => row.options))) {
    describe(options === undefined ? 'as it comes' : JSON.stringify(options.config), () => {
      let handler: Handler;
      before(async () => {
        handler = await startHandler(options);
      });
      after(async () => {
        await handler[Symbol.asyncDispose]();
      });
      for (const { title, names, node, expected } of ROWS.filter((r) => r.options === options)) {
        it(title, async () => {
          const stream = handler.proxy.stream();
          stream.send({ resource_names: names, node });
          check(await orEnding(stream.next()), expected);
          const [streamed] = stream.responses;
          if (streamed) assert.ok(streamed.version && streamed.nonce);
          stream.cancel();
          // A fetch differs in one thing from SPIRE's: the version is that of the content, so that
          // who asks again can compare. The nonce is empty: there is nobody to answer.
          const fetched = await orEnding(handler.proxy.fetch({ resource_names: names, node }));
          check(fetched, expected);
          if (fetched instanceof EndedError) return;
          assert.deepEqual([fetched.nonce, fetched.version], ['', streamed?.version]);
        });
      }
    });
  }

  it('F23: too many calls; RESOURCE_EXHAUSTED, which is what it is', async () => {
    await using handler = await startHandler({ requestsPerSecond: 1 });
    const fetch = () => orEnding(handler.proxy.fetch({ resource_names: ['default'] }));
    check(await fetch(), ['default certificate']);
    await fetch();
    const refused = await fetch();
    assert.ok(refused instanceof EndedError);
    assert.equal(refused.ending.code, 'RESOURCE_EXHAUSTED');
    assert.match(refused.ending.details, /more than 1 requests per second/);
  });

  it('F24 T9: nobody is exempt: the daemon does not ask itself over its own socket', async () => {
    await using handler = await startHandler({ requestsPerSecond: 1, pid: process.pid });
    const fetch = () => orEnding(handler.proxy.fetch({ resource_names: ['default'] }));
    for (let n = 0; n < 2; n++) await fetch();
    const refused = await fetch();
    assert.ok(refused instanceof EndedError && refused.ending.code === 'RESOURCE_EXHAUSTED');
  });
});
