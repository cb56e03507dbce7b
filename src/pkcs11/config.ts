/** Which of the module's tokens; of its label, its serial number or the number of its slot one. */
export type TokenChoice =
  | { readonly by: 'label'; readonly value: string }
  | { readonly by: 'serial'; readonly value: string }
  | { readonly by: 'slot'; readonly value: number };

/** Where the PIN comes from. A function, so that no dump of a configuration shows it. */
export type PinSource = { readonly file: string } | { readonly text: () => string };

/** What `issuer.key_manager.pkcs11` says; paths are absolute. */
export interface Pkcs11Config {
  /** The vendor's library. */
  readonly module: string;
  readonly token: TokenChoice;
  readonly pin: PinSource;
  /** What labels of keys begin with. */
  readonly keyLabel: string;
}

/** As in messages. */
export function nameOfToken({ by, value }: TokenChoice): string {
  const what = { label: 'labelled', serial: 'with the serial number', slot: 'in slot' }[by];
  return `the token ${what} ${typeof value === 'number' ? value : JSON.stringify(value)}`;
}
