import type { Caller, PeerCredentials } from '../identity/caller.ts';
import { loggable, type Selector } from '../identity/selector.ts';

/** Whom a record is about: an attested process, or what the kernel says of one that is not. */
export type Who = Caller | PeerCredentials;

/** A process may have thousands of selectors, of up to 4 KiB each. */
const MAX_SELECTORS = 64;
const MAX_SELECTOR_CHARS = 4096;

/** Described once for all records while the selectors stay the same. */
const described = new WeakMap<Caller, { selectors: readonly Selector[]; json: string }>();

/** `who` of a record, as JSON. */
export function whoJson(who: Who): string {
  if (!('credentials' in who)) return asciiJson(credentialFields(who));
  const { selectors } = who;
  const known = described.get(who);
  if (known?.selectors === selectors) return known.json;
  const json = asciiJson(callerFields(who));
  described.set(who, { selectors, json });
  return json;
}

function credentialFields({ pid, uid, gid }: PeerCredentials) {
  return { pid, uid, gid };
}

function callerFields(caller: Caller) {
  const { selectors } = caller;
  const shown = bounded(loggable(selectors));
  const left = selectors.length - shown.length;
  return {
    ...credentialFields(caller.credentials),
    start_ticks: caller.startTicks?.(),
    pod: podFields(selectors),
    container: valueOf(selectors, 'k8s:container-name:'),
    unit: valueOf(selectors, 'systemd:id:'),
    selectors: shown,
    ...(left > 0 ? { selectors_left_out: left } : {}),
  };
}

function podFields(selectors: readonly Selector[]) {
  const uid = valueOf(selectors, 'k8s:pod-uid:');
  if (uid === undefined) return undefined;
  const namespace = valueOf(selectors, 'k8s:ns:');
  return { namespace, name: valueOf(selectors, 'k8s:pod-name:'), uid };
}

function valueOf(selectors: readonly Selector[], prefix: string): string | undefined {
  return selectors.find((one) => one.startsWith(prefix))?.slice(prefix.length);
}

/** The first ones that fit; a long one leaves room for those behind it. */
function bounded(selectors: readonly string[]): readonly string[] {
  let room = MAX_SELECTOR_CHARS;
  const shown: string[] = [];
  for (const one of selectors) {
    if (shown.length === MAX_SELECTORS) break;
    if (one.length > room) continue;
    room -= one.length;
    shown.push(one);
  }
  return shown;
}

/**
 * JSON in printable ASCII: whatever a selector or a name holds, it neither steers the terminal of
 * who reads it nor ends the line, and no byte of it depends on an encoding.
 */
export function asciiJson(value: unknown): string {
  const json = JSON.stringify(value);
  return PLAIN.test(json) ? json : json.replace(/[^\x20-\x7e]/g, escaped);
}

/** Nearly every text. */
const PLAIN = /^[\x20-\x7e]*$/;

const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
