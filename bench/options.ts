import { parseArgs } from 'node:util';
import type { NodeShape } from './client/envoy-node.ts';

/** What the bench was asked to do. */
export interface Options {
  /** Another server that is running already; without it the bench starts Credence itself. */
  readonly socket: string | undefined;
  /** Process of that server, for memory and CPU. */
  readonly pid: number | undefined;
  /** The certificate's name, then the bundle's. */
  readonly names: readonly string[];
  readonly node: NodeShape;
  readonly nodeInAcks: boolean;
  readonly quick: boolean;
  /** Each proxy is a process of its own; false when it is asked for one process. */
  readonly ownProcesses: boolean;
  /** Only figures whose name contains this. */
  readonly only: string | undefined;
  readonly help: boolean;
}

export const USAGE = `usage: npm run bench -- [options]

  --quick             each figure briefly, in less than two minutes; not for comparing
  --only TEXT         only the figures whose name contains TEXT
  --socket PATH       measure the SDS server that listens there instead of Credence
  --pid N             its process, for memory and CPU
  --names A,B         the certificate's name and the bundle's (default: default,ROOTCA)
  --node envoy|small  what a proxy says about itself: 61 kB as Envoy 1.40, or a few bytes
  --node-in-acks      repeat it in each acknowledgement, as Envoy does without node-once
  --one-process       all proxies in one process (default: each has its own)
`;

/** Reads the command line; throws a sentence when it makes no sense. */
export function parseOptions(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      socket: { type: 'string' },
      pid: { type: 'string' },
      names: { type: 'string', default: 'default,ROOTCA' },
      node: { type: 'string', default: 'envoy' },
      'node-in-acks': { type: 'boolean', default: false },
      'one-process': { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { socket, node, only, quick, help } = values;
  if (node !== 'envoy' && node !== 'small')
    throw new Error(`--node is envoy or small, not ${node}`);
  const pid = values.pid === undefined ? undefined : Number(values.pid);
  if (pid !== undefined && !(Number.isInteger(pid) && pid > 0)) {
    throw new Error(`--pid is a process number, not ${values.pid}`);
  }
  if (pid !== undefined && socket === undefined) throw new Error('--pid needs --socket');
  const names = values.names.split(',').filter((name) => name !== '');
  if (names.length === 0) throw new Error('--names is empty');
  return {
    socket,
    pid,
    names,
    node,
    nodeInAcks: values['node-in-acks'],
    quick,
    ownProcesses: !values['one-process'],
    only,
    help,
  };
}
