import { connect } from 'node:net';
import { SdsConnection } from './connection.ts';
import { encodeNode, type NodeShape } from './envoy-node.ts';
import type { Variant } from './messages.ts';
import { createOpening, type Opening } from './opening.ts';
import { createPeers, type Peers, type PeerSocket } from './peers.ts';

/** A number of proxies that behave alike. */
export interface FleetPlan {
  readonly path: string;
  /** Connections. */
  readonly count: number;
  /** Secret names, one stream each. */
  readonly names: readonly string[];
  readonly node: NodeShape;
  readonly nodeInAcks: boolean;
  /**
   * How many connections share one process: 1 is a real node, where proxies share nothing; 0 takes
   * them all from the client's own process.
   */
  readonly perProcess: number;
  /** Default: the state of the world. */
  readonly variant?: Variant;
  /** A connection refused by a full backlog is tried again after so long. Default: it is an error. */
  readonly retryMs?: number;
  /** Users that the processes belong to, in turn; only root can give them any. Default: ours. */
  readonly uids?: readonly number[];
  /** Cgroup folders that the processes are put into, in turn. Default: they stay in ours. */
  readonly cgroups?: readonly string[];
}

/** How long one proxy waited, from connect(), in milliseconds. */
export interface Served {
  readonly firstNameMs: number;
  readonly allNamesMs: number;
  /** When it had the first name, monotonic. */
  readonly firstNameAtMs: number;
}

/** Monotonic milliseconds, the same for all processes of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * Proxies that connect when told. Any refused connection, ended stream or wrong secret fails the
 * whole fleet: `served` and `delivered` then reject.
 */
export class Fleet implements AsyncDisposable {
  readonly #plan: FleetPlan;
  readonly #opening: Opening;
  readonly #connections = new Set<SdsConnection>();
  readonly #waiting = new Set<() => void>();
  readonly #closeServed: boolean;
  #peers: Peers | undefined;
  #failure: Error | undefined;
  /** Every proxy that got all it asked for. */
  readonly served: Served[] = [];
  /** Secrets received and acknowledged, first ones included. */
  deliveries = 0;
  /** Connects that a full backlog refused and that were made again. */
  refusals = 0;
  /** When the latest secret came, monotonic. */
  lastDeliveryMs = 0;
  /** When the earliest proxy began to connect, monotonic. */
  firstConnectMs = Infinity;

  private constructor(plan: FleetPlan, closeServed: boolean) {
    this.#plan = plan;
    this.#closeServed = closeServed;
    this.#opening = createOpening({ ...plan, node: encodeNode(plan.node) });
  }

  /** Readies the processes. `closeServed` ends each connection once its proxy has been served. */
  static async create(plan: FleetPlan, options: { closeServed?: boolean } = {}): Promise<Fleet> {
    const fleet = new Fleet(plan, options.closeServed ?? false);
    if (plan.perProcess > 0) {
      const { path, perProcess, uids = [], cgroups = [], retryMs = 0 } = plan;
      const count = Math.ceil(plan.count / perProcess);
      fleet.#peers = await createPeers(
        { path, count, perProcess, uids, cgroups, retryMs, opening: fleet.#opening.bytes },
        {
          connected: (peer) => fleet.#adopt(peer),
          refused: (error) => fleet.#fail(error),
        },
      );
    }
    return fleet;
  }

  /** Lets `count` more proxies connect now, rounded up to whole processes. */
  connect(count: number): void {
    if (this.#peers) return this.#peers.connect(Math.ceil(count / this.#plan.perProcess));
    for (let n = 0; n < count; n++) {
      const startedNs = process.hrtime.bigint();
      this.#adopt({ socket: connect(this.#plan.path), startedNs, written: 0, refusals: 0 });
    }
  }

  /** Resolves when `count` proxies in all have been served. */
  untilServed(count: number, timeoutMs: number): Promise<void> {
    return this.#until(
      () => this.served.length >= count,
      timeoutMs,
      () => {
        return `${this.served.length} of ${count} proxies served`;
      },
    );
  }

  /** Resolves when `count` secrets in all have been acknowledged. */
  untilDelivered(count: number, timeoutMs: number): Promise<void> {
    return this.#until(
      () => this.deliveries >= count,
      timeoutMs,
      () => {
        return `${this.deliveries} of ${count} secrets acknowledged`;
      },
    );
  }

  /** Ends all connections and processes. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
    await this.#peers?.close();
  }

  #adopt({ socket, startedNs, written, refusals }: PeerSocket): void {
    this.refusals += refusals;
    const startedMs = Number(startedNs) / 1e6;
    this.firstConnectMs = Math.min(this.firstConnectMs, startedMs);
    let missing = this.#plan.names.length;
    let firstNameAtMs = 0;
    const connection = new SdsConnection(
      socket,
      this.#opening,
      {
        delivered: ({ index, earlier }) => {
          const now = monotonicMs();
          this.deliveries++;
          this.lastDeliveryMs = now;
          if (earlier === 0) {
            if (index === 0) firstNameAtMs = now;
            if (--missing === 0) {
              const firstNameMs = firstNameAtMs - startedMs;
              this.served.push({ firstNameMs, allNamesMs: now - startedMs, firstNameAtMs });
              if (this.#closeServed) setImmediate(() => this.#drop(connection));
            }
          }
          this.#check();
        },
        failed: (error) => this.#fail(error),
      },
      written,
    );
    this.#connections.add(connection);
  }

  #drop(connection: SdsConnection): void {
    connection.close();
    this.#connections.delete(connection);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#check();
  }

  #check(): void {
    for (const check of this.#waiting) check();
  }

  #until(done: () => boolean, timeoutMs: number, state: () => string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        end(() => reject(new Error(`after ${timeoutMs} ms: ${state()}`)));
      }, timeoutMs);
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const check = (): void => {
        if (this.#failure) {
          const cause = this.#failure;
          end(() => reject(new Error(`${cause.message} (${state()})`, { cause })));
        } else if (done()) {
          end(resolve);
        }
      };
      this.#waiting.add(check);
      check();
    });
  }
}
