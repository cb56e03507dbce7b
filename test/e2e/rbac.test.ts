import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  findPlace,
  named,
  readBootstrap,
  type Bootstrap,
  type JsonObject,
} from '../support/bootstrap-file.ts';
import { createDaemon, entryForMe, type Daemon, type FetchedSvid } from '../support/daemon.ts';
import { startEnvoy } from '../support/envoy.ts';
import { SERVER } from '../support/pair.ts';
import { mtlsGet, svidOf } from '../support/tls-client.ts';

const SHOP = 'spiffe://example.org/shop';
const CART = 'spiffe://example.org/shop/cart';
const PAY = 'spiffe://example.org/shop/pay';
/** A name that the prefix without its slash would let in. */
const SHOPLIFTER = 'spiffe://example.org/shoplifter';
const CALLERS = [SHOP, CART, PAY, SHOPLIFTER];

type Matcher = Readonly<Record<'exact' | 'prefix', string>>;

interface Rule {
  readonly action: 'ALLOW' | 'DENY';
  readonly matcher: Partial<Matcher>;
  /** Who passes. */
  readonly passes: readonly string[];
}

const RULES: readonly Rule[] = [
  { action: 'ALLOW', matcher: { exact: CART }, passes: [CART] },
  { action: 'ALLOW', matcher: { prefix: `${SHOP}/` }, passes: [CART, PAY] },
  { action: 'DENY', matcher: { exact: CART }, passes: [SHOP, PAY, SHOPLIFTER] },
  { action: 'DENY', matcher: { prefix: `${SHOP}/` }, passes: [SHOP, SHOPLIFTER] },
  // Why the slash: each of the names begins with it.
  { action: 'ALLOW', matcher: { prefix: SHOP }, passes: CALLERS },
];

/** The filter for each level, and what who is denied gets to see. */
const LEVELS = [
  { level: 'http', denied: /answered 403/, stat: /^http\.mtls\.rbac\.(allowed|denied)$/ },
  { level: 'network', denied: /ECONNRESET|socket hang up/, stat: /^tcp\.rbac\.(allowed|denied)$/ },
] as const;

describe('access by principal (E5)', () => {
  let daemon: Daemon;
  let svids: readonly FetchedSvid[];
  before(async () => {
    daemon = await createDaemon({ entries: [SERVER, ...CALLERS].map(entryForMe) });
    await daemon.start();
    svids = await daemon.fetchX509();
  });
  after(() => daemon[Symbol.asyncDispose]());

  for (const version of ['1.40', '1.36'] as const) {
    for (const { level, denied, stat } of LEVELS) {
      for (const { action, matcher, passes } of RULES) {
        const rule = `${action} ${JSON.stringify(matcher)}`;
        it(`lets ${passes.length} of ${CALLERS.length} pass ${rule} of the ${level} filter of ${version}`, async () => {
          const place = await findPlace(daemon.socketPath);
          const bootstrap = await readBootstrap('server', place.replacements);
          addFilter(bootstrap, level, rbac(level, action, matcher));
          await using envoy = await startEnvoy({ bootstrap, version, name: 'server' });
          await envoy.waitLive();

          for (const caller of CALLERS) {
            const svid = svidOf(svids, caller);
            const get = mtlsGet({
              ...{ port: place.port('server'), server: SERVER, trust: svid.bundle, svid },
            });
            if (passes.includes(caller)) {
              const headers = await get;
              assert.match(
                String(headers['x-forwarded-client-cert']),
                new RegExp(`URI=${caller}$`),
              );
            } else {
              await assert.rejects(get, denied, caller);
            }
          }
          const counts = [...(await envoy.stats(stat))].map(([name, n]) => [
            name.replace(/.*\./, ''),
            n,
          ]);
          assert.deepEqual(Object.fromEntries(counts), {
            allowed: passes.length,
            denied: CALLERS.length - passes.length,
          });
        });
      }
    }
  }
});

function rbac(level: 'http' | 'network', action: string, matcher: Partial<Matcher>): JsonObject {
  return {
    name: `envoy.filters.${level}.rbac`,
    typed_config: {
      '@type': `type.googleapis.com/envoy.extensions.filters.${level}.rbac.v3.RBAC`,
      ...(level === 'network' ? { stat_prefix: 'tcp.' } : {}),
      rules: {
        action,
        policies: {
          only: {
            permissions: [{ any: true }],
            principals: [{ authenticated: { principal_name: { ...matcher } } }],
          },
        },
      },
    },
  };
}

/** Puts a filter before all others of its level. */
function addFilter(bootstrap: Bootstrap, level: 'http' | 'network', filter: JsonObject): void {
  const [chain] = named(bootstrap.static_resources.listeners, 'mtls')[
    'filter_chains'
  ] as unknown as [{ filters: { typed_config: { http_filters: JsonObject[] } }[] }];
  if (level === 'network') return void chain.filters.unshift(filter as never);
  chain.filters[0]?.typed_config.http_filters.unshift(filter);
}
