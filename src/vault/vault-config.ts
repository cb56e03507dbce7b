/** How a Vault or an OpenBao is reached, and which of its CAs signs. */
export interface VaultConfig {
  /** Without a slash at its end; `https`, or `http` to this machine. */
  readonly address: string;
  /** Empty: none is named. */
  readonly namespace: string;
  /** Undefined: the public CAs that Node knows. */
  readonly caFile: string | undefined;
  /** Name that its certificate has to be of; the host of the address unless told. */
  readonly serverName: string | undefined;
  /** Hosts beside that of the address to which a standby may send us, token and all. */
  readonly redirectHosts: readonly string[];
  /** Path of the PKI secrets engine, without slashes at its ends. */
  readonly pkiMount: string;
  /** Name or identifier of an issuer; undefined: the default one of the mount. */
  readonly issuerRef: string | undefined;
  /** Roots that the mount does not know. */
  readonly rootFile: string | undefined;
  readonly auth: VaultAuth;
}

/** How the daemon shows who it is; each `mount` is the path below `auth/`. */
export type VaultAuth =
  | { readonly type: 'token'; readonly tokenFile: string }
  | {
      readonly type: 'approle';
      readonly mount: string;
      readonly roleId: string;
      readonly secretIdFile: string;
    }
  | {
      readonly type: 'kubernetes';
      readonly mount: string;
      readonly role: string;
      readonly jwtFile: string;
    }
  | {
      readonly type: 'cert';
      readonly mount: string;
      /** Undefined: Vault looks for one that fits. */
      readonly role: string | undefined;
      readonly certFile: string;
      readonly keyFile: string;
    };

/** For messages: where it is and which mount of it signs. */
export function vaultName({ address, pkiMount }: VaultConfig): string {
  return `vault ${address}/${pkiMount}`;
}
