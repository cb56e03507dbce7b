/** The proxies that were sent the bundle of the own trust domain. */
export interface BundleReaders {
  /** How many there are, and how many of them have not acknowledged it as it is now. */
  count(): { readonly readers: number; readonly behind: number };
  /** Called when a proxy has acknowledged or refused a bundle, or has left; returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** Nobody to wait for. */
export const NO_READERS: BundleReaders = {
  count: () => ({ readers: 0, behind: 0 }),
  onChange: () => () => undefined,
};
