import { unlessAborted } from '../core/clock.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { createListeners } from '../core/listeners.ts';
import type { Logger } from '../core/log.ts';
import type { UpstreamCertificate } from '../issuer/upstream-certificates.ts';
import type { ToldRoots } from '../issuer/upstream-authority.ts';
import { certificatesIn, isRoot } from './issued.ts';

/** Roots as somebody tells of them. What is no good, or gone, leaves the last good ones in force. */
export interface KnownRoots extends ToldRoots {
  tainted(): readonly string[];
  /** Who tells of them, for messages. */
  readonly whose: string;
  /** Waits until they are known and `suffice`. Rejects with the signal's reason. */
  until(
    suffice: (roots: readonly UpstreamCertificate[]) => boolean,
    options: { signal: AbortSignal },
  ): Promise<readonly UpstreamCertificate[]>;
  /** Why they are not known, or those known are not what is told now; undefined when all is well. */
  fault(): string | undefined;
}

/** Where whoever follows them puts what it finds. */
export interface RootsSink {
  /** PEM, and the roots that are to be left, by their key identifiers; false when it is refused. */
  take(pem: string, tainted?: readonly string[]): boolean;
  /** They cannot be told of now, for this reason. */
  missing(why: string): void;
}

export function createKnownRoots(whose: string, log: Logger): KnownRoots & RootsSink {
  const changes = createListeners<undefined>((err) =>
    log.error({ err }, 'a reader of the roots failed'),
  );
  let known: readonly UpstreamCertificate[] | undefined;
  let fault: string | undefined = `${whose} has not been heard of yet`;
  let told: readonly Buffer[] | undefined;
  let left: readonly string[] = [];

  function refuse(why: string): void {
    // Once: whoever tells of it does so again and again.
    if (why === fault) return;
    fault = why;
    const kept = known ? 'the roots of before stay trusted' : 'there are no roots yet';
    log.warn({ reason: why }, `roots are not told as they should be, ${kept}`);
  }

  return {
    whose,
    current: () => told,
    tainted: () => left,
    onChange: (listener) => changes.add(() => listener()),
    async until(suffice, { signal }) {
      while (!known || !suffice(known)) {
        let stop: (() => void) | undefined;
        const change = new Promise<undefined>((resolve) => (stop = changes.add(resolve)));
        await unlessAborted(change, signal).finally(() => stop?.());
      }
      return known;
    },
    fault: () => fault,
    missing: refuse,
    take(pem, tainted = []) {
      let roots: readonly UpstreamCertificate[];
      try {
        roots = rootsIn(pem, whose);
      } catch (thrown) {
        refuse(toIdentityError(thrown).message);
        return false;
      }
      fault = undefined;
      const isLeft = tainted.join() !== left.join();
      left = tainted;
      if (known && isSame(known, roots)) {
        if (isLeft) changes.emit(undefined);
        return true;
      }
      known = roots;
      told = roots.map(({ der }) => der);
      log.info({ count: roots.length, detail: whose }, 'roots are told');
      changes.emit(undefined);
      return true;
    },
  };
}

/** Each once, in their order. */
function rootsIn(pem: string, whose: string): readonly UpstreamCertificate[] {
  const roots = new Map<string, UpstreamCertificate>();
  for (const one of certificatesIn(pem, whose)) {
    if (!isRoot(one)) {
      throw new IdentityError(
        'ERR_ISSUER',
        `cannot use ${whose}: ${one.subjectText} is no CA that has signed itself`,
      );
    }
    roots.set(one.der.toString('base64'), one);
  }
  return [...roots.values()];
}

function isSame(
  before: readonly UpstreamCertificate[],
  after: readonly UpstreamCertificate[],
): boolean {
  return (
    before.length === after.length &&
    before.every(({ der }) => after.some((one) => one.der.equals(der)))
  );
}
