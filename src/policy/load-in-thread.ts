import { Worker } from 'node:worker_threads';
import { abortReason } from '../core/clock.ts';
import { errorText, IdentityError } from '../core/errors.ts';
import type { PolicyWarning } from './entry.ts';
import type { PolicySources } from './load.ts';
import { createPolicyBuilder, type Policy } from './policy.ts';
import { NEXT, type ThreadMessage } from './thread-protocol.ts';

/** A policy ready for use, with what is doubtful about it. */
export interface LoadedPolicy {
  readonly policy: Policy;
  readonly warnings: readonly PolicyWarning[];
}

/** A text that needs more than this is refused instead of taking the daemon's memory. */
const MAX_HEAP_MB = 1536;

/**
 * Reads, checks and plans on another thread; only the index is built here, in portions. Throws
 * `ERR_POLICY` for what `loadPolicy` refuses, and when the thread runs out of memory.
 */
export function loadInThread(
  sources: PolicySources,
  { signal }: { readonly signal: AbortSignal },
): Promise<LoadedPolicy> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortReason(signal));
    const builder = createPolicyBuilder();
    const thread = startThread(sources);
    const onAbort = () => finish(() => reject(abortReason(signal)));
    const finish = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort);
      void thread.terminate();
      settle();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    thread.unref();
    const take = (message: ThreadMessage) => {
      if (message.kind === 'entries') {
        builder.add(message.entries);
        thread.postMessage(NEXT);
      } else if (message.kind === 'end') {
        const { revision, manifests, warnings } = message;
        const policy = builder.build(revision, manifests);
        finish(() => resolve({ policy, warnings }));
      } else {
        const { hint } = message;
        const options = hint === undefined ? {} : { hint };
        finish(() => reject(new IdentityError('ERR_POLICY', message.message, options)));
      }
    };
    const fail = (thrown: unknown) => {
      const message = `cannot parse the policy: ${errorText(thrown)}`;
      finish(() => reject(new IdentityError('ERR_POLICY', message, { cause: thrown })));
    };
    thread.on('message', (message: ThreadMessage) => {
      // Thrown here it would end the process.
      try {
        take(message);
      } catch (thrown) {
        fail(thrown);
      }
    });
    thread.on('error', fail);
    thread.on('exit', () => {
      const error = new IdentityError('ERR_POLICY', 'the thread that parses the policy ended');
      finish(() => reject(error));
    });
    thread.postMessage(NEXT);
  });
}

/** scripts/build.mjs puts the thread's file beside the bundle. */
function startThread(sources: PolicySources): Worker {
  const options = {
    workerData: sources,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  };
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./policy-reload.cjs', import.meta.url), options);
  }
  // From source: tsx reads TypeScript for the main thread only, unless it is asked to.
  const [tsx, entry] = [
    import.meta.resolve('tsx/esm/api'),
    import.meta.resolve('./reload-thread.ts'),
  ];
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(entry)}); })`;
  return new Worker(code, { ...options, eval: true });
}
