import { createHash } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { toIdentityError } from '../core/errors.ts';
import type { StatusAnswer, StatusPage } from './view.ts';

/** What the daemon shows, asked for anew; rejects when it cannot be asked. */
export type Look = () => Promise<{
  readonly status: StatusPage;
  /** The daemon's clock at that moment. */
  readonly nowMs: number;
}>;

/** One answer for all pages that ask at about the same time. */
export interface Picture {
  readonly body: Buffer;
  /** Changes with the body; undefined while the daemon cannot be reached. */
  readonly etag: string | undefined;
  /** What the clock of the body's times says now. */
  readonly nowMs: () => number;
}

/** Pages that ask within this time of each other cost the daemon one answer. */
const FRESH_MS = 500;

/** Takes pictures of the daemon, one at a time however many pages ask. */
export function createPictures(look: Look, clock: Clock): () => Promise<Picture> {
  let taking: Promise<Picture> | undefined;
  let last: { readonly picture: Picture; readonly takenAt: number } | undefined;
  let lostAtMs: number | undefined;

  async function take(): Promise<Picture> {
    try {
      const { status, nowMs } = await look();
      lostAtMs = undefined;
      const body = encode({ kind: 'status', status });
      return { body, etag: etagOf(body), nowMs: running(nowMs, clock) };
    } catch (thrown) {
      const sinceMs = (lostAtMs ??= clock.now());
      const reason = toIdentityError(thrown, 'ERR_UNREACHABLE').message;
      const body = encode({ kind: 'unreachable', reason, sinceMs });
      return { body, etag: undefined, nowMs: () => clock.now() };
    }
  }

  return () => {
    if (last && clock.monotonic() - last.takenAt < FRESH_MS) return Promise.resolve(last.picture);
    return (taking ??= take()
      .then((picture) => {
        last = { picture, takenAt: clock.monotonic() };
        return picture;
      })
      .finally(() => (taking = undefined)));
  };
}

/** A clock that went on from a time it was told. */
function running(nowMs: number, clock: Clock): () => number {
  const at = clock.monotonic();
  return () => nowMs + (clock.monotonic() - at);
}

const encode = (answer: StatusAnswer) => Buffer.from(JSON.stringify(answer));

function etagOf(body: Buffer): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}
