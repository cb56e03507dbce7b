/** The server being measured. */
export interface Server extends AsyncDisposable {
  readonly path: string;
  /** Undefined: memory and CPU cannot be told. */
  readonly pid: number | undefined;
  /** Absent when there is no way to make this server change its bundle. */
  readonly bumpBundle?: () => Promise<void>;
  /** Has everything signed anew; absent when this server cannot be made to. */
  readonly reissue?: () => Promise<void>;
  /** When each process was attested since the last call, monotonic; absent where nobody can tell. */
  readonly attested?: () => Promise<readonly number[]>;
  /** Collects garbage; absent when the server cannot be asked to. */
  readonly collectGarbage?: () => Promise<void>;
}
