import { IdentityError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { AuthorityControl, AuthorityLevel } from './authority-control.ts';
import { activateCa, withRevocation, withTaint } from './ca-changes.ts';
import type { CaKeeper } from './ca-keeper.ts';
import type { CaLife } from './ca-life.ts';
import {
  belowRoot,
  caIn,
  nameOfCa,
  nameOfRoot,
  ownRootIn,
  rootOf,
  validityOf,
  type CaEntry,
  type CaState,
  type RootEntry,
} from './ca-state.ts';
import { isValidAt } from './authority.ts';

interface Deps {
  readonly keeper: CaKeeper;
  readonly life: CaLife;
  /** Undefined: roots are our own. */
  readonly upstreamName: string | undefined;
  /** How many SVIDs of these CAs somebody holds. */
  readonly inUse: (authorityIds: readonly string[]) => number;
  readonly log: Logger;
}

interface Options {
  readonly signal: AbortSignal;
}

/** Commands on authorities, one after the other; each leaves a journal that a restart continues with. */
export function createAuthorityControl(deps: Deps): AuthorityControl {
  const { keeper, life, log } = deps;
  const said = async (what: string, name: Promise<string> | string) => {
    const id = await name;
    log.info({ detail: id }, `by command: ${what}`);
    return id;
  };
  return {
    prepare: (level, options) =>
      life.command(
        (signal) => said(`prepared (${level})`, prepare(deps, level, { signal })),
        options,
      ),
    activate: (level, options) =>
      life.command(
        (signal) => said(`activated (${level})`, activate(deps, level, { ...options, signal })),
        options,
      ),
    taint: (name, options) =>
      life.command(async (signal) => {
        const found = find(keeper.state(), name);
        const taint = found.root ? taintRoot : taintCa;
        return said('tainted', taint(deps, found, { signal }));
      }, options),
    revoke: (name, options) =>
      life.command(async () => said('revoked', revoke(deps, name, options)), options),
  };
}

async function prepare(deps: Deps, level: AuthorityLevel, options: Options): Promise<string> {
  const { keeper, life } = deps;
  if (level === 'root') refuseForeign(deps);
  const state = keeper.state();
  const root = level === 'root' ? ownRootIn(state, 'prepared') : undefined;
  const ca = level === 'issuing' ? caIn(state, 'prepared') : undefined;
  if (root) return nameOfRoot(root);
  if (ca) return nameOfCa(ca);
  return level === 'root' ? life.steps.prepareRoot() : life.steps.prepareCa({ ...options });
}

async function activate(
  deps: Deps,
  level: AuthorityLevel,
  options: Options & { force: boolean },
): Promise<string> {
  const { keeper, life } = deps;
  if (level === 'root') refuseForeign(deps);
  const before = nameOfPrepared(keeper.state(), level);
  if (before === undefined) throw refused(`no ${nounOf(level)} is prepared`);
  await life.gate(level, options);
  life.steps.activate(level);
  return before;
}

/** Where the one in use is meant, another one is ready to take over before anything changes. */
async function taintCa(deps: Deps, { ca, name }: Found, { signal }: Options): Promise<string> {
  const { keeper, life } = deps;
  if (ca?.tainted) throw refused(`the issuing CA ${name} is tainted already`);
  const names = new Set([name]);
  if (ca?.state !== 'active') {
    keeper.commit(withTaint(keeper.state(), names, keeper.moment()));
    return name;
  }
  if (!isReady(deps)) await life.steps.prepareCa({ signal, insteadOf: name });
  await life.gate('issuing', { signal, force: false });
  takeOver(deps, names);
  return name;
}

async function taintRoot(deps: Deps, { root, name }: Found, { signal }: Options): Promise<string> {
  const { keeper, life, upstreamName } = deps;
  if (root?.tainted) throw refused(`the root ${name} is tainted already`);
  const names = new Set([name]);
  const inUse = () => {
    const active = caIn(keeper.state(), 'active');
    return active && nameOf(rootOf(keeper.state(), active)) === name;
  };
  if (upstreamName === undefined && nameOf(ownRootIn(keeper.state(), 'active')) === name) {
    if (!ownRootIn(keeper.state(), 'prepared')) await life.steps.prepareRoot();
    await life.gate('root', { signal, force: false });
    life.steps.activate('root');
  }
  if (!inUse()) {
    keeper.commit(withTaint(keeper.state(), names, keeper.moment()));
    return name;
  }
  if (!isReady(deps, name)) await life.steps.prepareCa({ signal, insteadOf: name });
  await life.gate('issuing', { signal, force: false });
  takeOver(deps, names);
  return name;
}

/** In one step: there is no moment at which the old one is tainted and still signs. */
function takeOver(deps: Deps, names: ReadonlySet<string>): void {
  const { keeper } = deps;
  if (!isReady(deps)) throw refused('the CA that was to take over has ended meanwhile');
  const moment = keeper.moment();
  keeper.commit(withTaint(activateCa(keeper.state(), moment), names, moment));
}

/** Whether a CA is prepared that can sign now, and not below that root. */
function isReady({ keeper, upstreamName }: Deps, notBelow?: string): boolean {
  const state = keeper.state();
  const next = caIn(state, 'prepared');
  if (!next || !isValidAt(validityOf(state, next), keeper.moment().nowMs)) return false;
  if (upstreamName !== undefined && next.upstream !== upstreamName) return false;
  return nameOf(rootOf(state, next)) !== notBelow;
}

function revoke(deps: Deps, text: string, { force }: Options & { force: boolean }): string {
  const { keeper, upstreamName } = deps;
  const state = keeper.state();
  const { root, ca, name } = find(state, text);
  const noun = root ? 'root' : 'issuing CA';
  const entry = root ?? ca;
  if (entry?.revoked) throw refused(`the ${noun} ${name} is revoked already`);
  if (!entry?.tainted) {
    throw refused(
      `the ${noun} ${name} is not tainted`,
      'taint it first: what hangs on it is signed anew',
    );
  }
  const above = ca && rootOf(state, ca);
  if (ca && !above?.key) {
    throw refused(
      `the issuing CA ${name} was signed by ${upstreamName ?? ca.upstream}, whose CRL is not ours`,
      'revoke it there; it ends by itself, and its SVIDs were signed anew',
    );
  }
  const below = root ? belowRoot(state, root).map(nameOfCa) : [name];
  const count = deps.inUse(below);
  if (count > 0 && !force) {
    throw refused(
      `${count} SVIDs of the ${noun} ${name} are in use`,
      'wait until they have been replaced, or force it: they are refused then',
    );
  }
  keeper.commit(withRevocation(state, new Set([name]), keeper.moment()));
  return name;
}

interface Found {
  readonly name: string;
  readonly root?: RootEntry;
  readonly ca?: CaEntry;
}

/** The authority whose name begins so. */
function find(state: CaState, text: string): Found {
  const wanted = text.toLowerCase();
  const all: Found[] = [
    ...state.roots.map((root) => ({ name: nameOfRoot(root), root })),
    ...state.issuing.map((ca) => ({ name: nameOfCa(ca), ca })),
  ].filter(({ name }) => wanted !== '' && name.startsWith(wanted));
  const names = [...new Set(all.map(({ name }) => name))];
  const [found] = all;
  if (found && names.length === 1) return found;
  const shown = JSON.stringify(text.slice(0, 64));
  if (!found) throw refused(`no authority is named ${shown}`, 'credence ca status lists them');
  throw refused(
    `${shown} names ${names.length} authorities: ${names.join(', ')}`,
    'give more digits',
  );
}

const nameOf = (root: RootEntry | undefined) => root && nameOfRoot(root);
const nounOf = (level: AuthorityLevel) => (level === 'root' ? 'root' : 'issuing CA');

function nameOfPrepared(state: CaState, level: AuthorityLevel): string | undefined {
  if (level === 'root') return nameOf(ownRootIn(state, 'prepared'));
  const ca = caIn(state, 'prepared');
  return ca && nameOfCa(ca);
}

function refuseForeign({ upstreamName }: Deps): void {
  if (upstreamName === undefined) return;
  throw refused(`the roots are those of ${upstreamName}`, 'they are replaced there');
}

function refused(why: string, hint?: string): IdentityError {
  return new IdentityError('ERR_ISSUER', why, hint === undefined ? {} : { hint });
}
