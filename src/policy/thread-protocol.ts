import type { PolicyEntry, PolicyManifests, PolicyWarning } from './entry.ts';

/**
 * What the reload thread says, one message for each `NEXT` it is sent: entries in portions, so that
 * taking them in never holds up the event loop, then the end; or what is wrong.
 */
export type ThreadMessage =
  | { readonly kind: 'entries'; readonly entries: readonly PolicyEntry[] }
  | {
      readonly kind: 'end';
      readonly revision: string;
      readonly manifests: PolicyManifests;
      readonly warnings: readonly PolicyWarning[];
    }
  | { readonly kind: 'refused'; readonly message: string; readonly hint: string | undefined };

/** Asks the thread for its next message. */
export const NEXT = 'next';
