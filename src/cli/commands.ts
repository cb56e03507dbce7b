import { DEFAULT_ADMIN_SOCKET_PATH, DEFAULT_SOCKET_PATH } from '../settings.ts';
import type { Command, Flag } from './command.ts';

const CONFIG: Flag = { name: 'config', value: 'FILE', doc: 'configuration of the daemon' };
const ADMIN_NOTE =
  'which daemon: --admin-socket, else CREDENCE_ADMIN_SOCKET, else admin_socket_path of --config,\n' +
  `else in a clone that of npm start, else ${DEFAULT_ADMIN_SOCKET_PATH}`;
const PUBLIC_NOTE =
  'which daemon: --socket, else SPIFFE_ENDPOINT_SOCKET, else socket_path of --config,\n' +
  `else in a clone that of npm start, else ${DEFAULT_SOCKET_PATH}`;
const ADMIN: readonly Flag[] = [
  { name: 'admin-socket', value: 'PATH', doc: 'admin socket of the daemon to ask' },
  { name: 'config', value: 'FILE', doc: 'take the admin socket from this configuration' },
];
const ROOT: Flag = { name: 'root', doc: 'the root, instead of the CA below it that signs' };
const AUTHORITY = { doc: 'ID', allowed: undefined };
const CA_NOTE =
  'ID: 4 hexadecimal digits of its identifier or more, as credence ca status shows it\n\n' +
  ADMIN_NOTE;
const JSON_FLAG: Flag = { name: 'json', doc: 'print one JSON document and nothing else' };

/** Every command there is; help is made from this table. */
export const COMMANDS: readonly Command[] = [
  {
    words: 'run',
    summary: 'run the daemon in the foreground until SIGTERM or SIGINT',
    flags: [CONFIG],
    load: async () => (await import('./run.ts')).run,
  },
  {
    words: 'check',
    summary: 'validate configuration and policy without starting',
    flags: [CONFIG, { name: 'strict', doc: 'warnings fail too' }, JSON_FLAG],
    note: 'which configuration: --config, else in a clone that of npm start',
    load: async () => (await import('./check.ts')).check,
  },
  {
    words: 'fetch',
    operands: { doc: 'x509|bundles', allowed: ['x509', 'bundles'] },
    summary: 'act as a workload on the public socket and show what it gets',
    flags: [
      { name: 'socket', value: 'PATH', doc: 'public socket of the daemon, a path or unix:///path' },
      { name: 'write', value: 'DIR', doc: 'write svid.N.pem svid.N.key bundle.N.pem' },
      { name: 'config', value: 'FILE', doc: 'take the socket from this configuration' },
      JSON_FLAG,
    ],
    note: PUBLIC_NOTE,
    load: async () => (await import('./fetch.ts')).fetch,
  },
  {
    words: 'explain',
    summary: 'show why a process gets the identities it gets, or none',
    flags: [
      { name: 'pid', value: 'N', doc: 'a process, as the running daemon sees it' },
      { name: 'pod', value: 'NS/NAME', doc: 'each container of a pod of this node' },
      { name: 'selectors', value: 'A,B', doc: 'selectors; with --config no daemon is needed' },
      ...ADMIN,
      JSON_FLAG,
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./explain.ts')).explain,
  },
  {
    words: 'status',
    summary: 'show every connected proxy and what it was sent and accepted',
    flags: [
      ...ADMIN,
      JSON_FLAG,
      { name: 'watch', doc: 'show it anew every second until Ctrl-C' },
      {
        name: 'envoy-admin',
        value: 'ADDR',
        doc: "compare with an Envoy's /certs (PORT, HOST:PORT, path), exit 1 if it differs",
      },
      { name: 'pid', value: 'N', doc: 'the process of that Envoy, where several may be it' },
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./status.ts')).status,
  },
  {
    words: 'ui',
    summary: 'serve a page on loopback with what status shows, live, until Ctrl-C',
    flags: [...ADMIN, { name: 'port', value: 'N', doc: 'port on 127.0.0.1; else a free one' }],
    note: ADMIN_NOTE,
    load: async () => (await import('./ui.ts')).ui,
  },
  {
    words: 'health',
    summary: 'exit 0 or 1 with one line of reason, for probes; 1 also when nobody answers',
    flags: [
      ...ADMIN,
      { name: 'live', doc: 'ask whether the daemon answers at all' },
      { name: 'ready', doc: 'ask whether it can serve (the default)' },
      {
        name: 'wait',
        value: 'DURATION',
        doc: 'ask until the answer is yes, at most that long: 30s',
      },
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./health.ts')).health,
  },
  {
    words: 'bundle show',
    summary: 'print a trust bundle',
    flags: [
      ...ADMIN,
      { name: 'format', value: 'pem|spiffe', doc: 'PEM (the default) or a SPIFFE bundle document' },
      { name: 'trust-domain', value: 'TD', doc: 'another trust domain than the own' },
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./bundle.ts')).bundleShow,
  },
  {
    words: 'bundle set',
    summary: 'trust another trust domain: keep its bundle, for entries that federate with it',
    flags: [
      ...ADMIN,
      { name: 'trust-domain', value: 'TD', doc: 'whose bundle it is' },
      { name: 'file', value: 'FILE', doc: 'roots in PEM or a SPIFFE bundle document' },
      { name: 'format', value: 'pem|spiffe', doc: 'which of them; seen from the text by default' },
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./bundle-set.ts')).bundleSet,
  },
  {
    words: 'bundle delete',
    summary: 'forget a bundle that was set by hand',
    flags: [...ADMIN, { name: 'trust-domain', value: 'TD', doc: 'whose bundle it is' }],
    note: ADMIN_NOTE,
    load: async () => (await import('./bundle-set.ts')).bundleDelete,
  },
  {
    words: 'revoke',
    summary: 'revoke SVIDs: no proxy accepts them any more, their holders get new ones',
    flags: [
      { name: 'serial', value: 'HEX', doc: 'the SVID with this serial number' },
      { name: 'spiffe-id', value: 'ID', doc: 'all SVIDs of this identity that are known' },
      { name: 'reason', value: 'REASON', doc: 'keyCompromise, superseded and such' },
      ...ADMIN,
      JSON_FLAG,
    ],
    note: ADMIN_NOTE,
    load: async () => (await import('./revoke.ts')).revoke,
  },
  {
    words: 'ca create',
    summary: 'make a root and an issuing CA that several daemons share',
    flags: [
      { name: 'out', value: 'DIR', doc: 'write tls.crt tls.key ca.crt, none of which may exist' },
      {
        name: 'secret',
        value: 'NS/NAME',
        doc: 'in a cluster: create this Secret unless it exists; needs --config',
      },
      { name: 'trust-domain', value: 'TD', doc: 'whose CA it is, all else by default' },
      { name: 'config', value: 'FILE', doc: 'take trust domain, issuer and API server from it' },
    ],
    note:
      'both certificates live for issuer.root_ttl. The key of the root is thrown away: they are\n' +
      'replaced together, by calling this again',
    load: async () => (await import('./ca-create.ts')).caCreate,
  },
  {
    words: 'ca status',
    summary: 'show the signing authorities, what comes next and what it waits for',
    flags: [...ADMIN, JSON_FLAG],
    note: ADMIN_NOTE,
    load: async () => (await import('./ca-status.ts')).caStatus,
  },
  {
    words: 'ca prepare',
    summary: 'make the next authority now; it signs nothing yet',
    flags: [...ADMIN, ROOT],
    note: ADMIN_NOTE,
    load: async () => (await import('./ca-by-hand.ts')).caPrepare,
  },
  {
    words: 'ca activate',
    summary: 'let the prepared one sign, once every connected proxy has the bundle',
    flags: [...ADMIN, ROOT, { name: 'force', doc: 'wait for no proxy' }],
    note: ADMIN_NOTE,
    load: async () => (await import('./ca-by-hand.ts')).caActivate,
  },
  {
    words: 'ca taint',
    operands: AUTHORITY,
    summary: 'sign nothing with an authority any more, and anew what it has signed',
    flags: ADMIN,
    note: CA_NOTE,
    load: async () => (await import('./ca-by-hand.ts')).caTaint,
  },
  {
    words: 'ca revoke',
    operands: { ...AUTHORITY, optional: true },
    summary: 'have an authority that is tainted trusted no more, or cut a node off',
    flags: [
      { name: 'force', doc: 'also while SVIDs of it are in use' },
      { name: 'node', value: 'NAME', doc: 'instead of ID: this node gets no CA from the signer' },
      { name: 'undo', doc: 'with --node: let it in again' },
      { name: 'admin-socket', value: 'PATH', doc: 'admin socket of the daemon to ask' },
      {
        name: 'config',
        value: 'FILE',
        doc: 'take that from this configuration; with --node that of the signer',
      },
    ],
    note:
      `${CA_NOTE}\n\n` +
      'a node, in the cluster and with the rights of the signer:\n' +
      'kubectl -n credence exec deploy/credence-signer -- credence ca revoke --node NAME --config FILE',
    load: async () => (await import('./ca-revoke.ts')).caRevoke,
  },
  {
    words: 'signer',
    summary: "sign the CAs of a cluster's nodes in the foreground until SIGTERM or SIGINT",
    flags: [{ name: 'config', value: 'FILE', doc: 'configuration of the signer' }],
    load: async () => (await import('./signer.ts')).signer,
  },
  {
    words: 'audit verify',
    operands: { doc: 'FILE...', allowed: undefined, several: true },
    summary: 'check the chain of audit records and name the first broken one',
    flags: [
      { name: 'expect', value: 'HASH', doc: 'a record with this hash has to be there still' },
      { name: 'after', value: 'HASH', doc: 'hash of the record before the first of FILE' },
      { name: 'log', doc: 'FILE is a log: pass other lines over, each start begins a chain' },
      JSON_FLAG,
    ],
    note:
      'several files are one chain, oldest first. What is cut off at the end, or written anew from\n' +
      'the start, leaves a chain: keep the hash that this prints elsewhere, for --expect',
    load: async () => (await import('./audit-verify.ts')).auditVerify,
  },
  {
    words: 'config',
    summary: 'print every setting: key, environment variable, default, meaning',
    flags: [JSON_FLAG],
    load: async () => (await import('./config.ts')).config,
  },
];
