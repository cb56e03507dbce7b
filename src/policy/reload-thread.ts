// The entry point of the thread that parses a large policy (started by load-in-thread.ts).
import { parentPort, workerData } from 'node:worker_threads';
import { toIdentityError } from '../core/errors.ts';
import { loadPolicy, type PolicySources } from './load.ts';
import { planEntries } from './plan.ts';
import type { ThreadMessage } from './thread-protocol.ts';

/** About a millisecond of the event loop's time. */
const PORTION = 250;

function* messages(sources: PolicySources): Generator<ThreadMessage> {
  try {
    const { entries: read, manifests, warnings } = loadPolicy(sources);
    const { entries, revision } = planEntries(read, manifests);
    for (let at = 0; at < entries.length; at += PORTION) {
      yield { kind: 'entries', entries: entries.slice(at, at + PORTION) };
    }
    yield { kind: 'end', revision, manifests, warnings };
  } catch (thrown) {
    const { message, hint } = toIdentityError(thrown, 'ERR_POLICY');
    yield { kind: 'refused', message, hint };
  }
}

const pending = messages(workerData as PolicySources);
parentPort?.on('message', () => {
  const next = pending.next();
  if (next.done) parentPort?.close();
  else parentPort?.postMessage(next.value);
});
