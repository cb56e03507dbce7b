import assert from 'node:assert/strict';
import { settle } from './fake-clock.ts';
import {
  certificateFault,
  startServing,
  type Grant,
  type TestServing,
} from './protocol-client-serving.ts';
import { contentOf } from './protocol-client-store.ts';
import { ProtocolClient, Watch, type Protocol } from './protocol-client.ts';
import type { DecodedSecret } from './secrets.ts';

export const PROCESSES = 2;
/** Turns of the event loop without an event after which nothing is on its way. */
const QUIET_TURNS = 8;
/** Changes are collected for 5 ms. */
const BURST_MS = 6;
const OWN = 'spiffe://example.org';
const SWITCH = 'disable_spiffe_cert_validation';

/** The daemon, Envoys of two processes, and what the policy grants them. */
export class World implements AsyncDisposable {
  readonly daemon: TestServing;
  readonly watches: { readonly process: number; readonly watch: Watch }[] = [];
  readonly #clients: readonly ProtocolClient[];
  #grants: readonly Grant[] = [];
  /** What a policy granted since everything was quiet: that may still be on its way. */
  #lately: readonly Grant[] = [];

  static async start(): Promise<World> {
    return new World(await startServing(PROCESSES));
  }

  private constructor(daemon: TestServing) {
    this.daemon = daemon;
    this.#clients = Array.from({ length: PROCESSES }, (_, process) => {
      // The second one wants plain bundles and sends its node with each request.
      const fields = process === 1 ? { [SWITCH]: { boolValue: true } } : {};
      const node = { id: `proxy-${process}`, cluster: 'c', metadata: { fields } };
      const look = (secret: DecodedSecret) => this.#faultOf(process, secret);
      return new ProtocolClient(daemon.path(process), { nodeAlways: process === 1, node, look });
    });
  }

  watch(process: number, protocol: Protocol, names: readonly string[]): void {
    const client = this.#clients[process];
    if (client) this.watches.push({ process, watch: new Watch(client, protocol, names) });
  }

  setPolicy(grants: readonly Grant[]): void {
    for (const { process, watch } of this.watches) {
      // A state of the world cannot say that something is no more: granted again it is said again.
      if (watch.protocol !== 'sotw' || !watch.names.has('*')) continue;
      for (const id of this.#identities(process, grants)) {
        if (!this.#mayHave(process, id)) watch.store.asked(id);
      }
    }
    this.#grants = grants;
    this.#lately = [...this.#lately, ...grants];
    this.daemon.setPolicy(grants);
  }

  /** Withdraws what is granted, grants what is not. */
  toggle(grant: Grant): void {
    const others = this.#grants.filter(
      ({ process, id }) => process !== grant.process || id !== grant.id,
    );
    this.setPolicy(others.length < this.#grants.length ? others : [...others, grant]);
  }

  /** The process ends, and with it its connection; its successor asks for the same. */
  restart(process: number): void {
    this.daemon.endProcess(process);
    for (const one of this.watches) if (one.process === process) one.watch.cancel();
    this.#clients[process]?.redial();
  }

  /** Lets everything arrive that is on its way, in both directions. */
  async quiet(): Promise<void> {
    for (let before = -1; before !== this.#events();) {
      before = this.#events();
      await this.#still();
      await this.daemon.advance(BURST_MS);
      await this.#still();
    }
    if (this.watches.every(({ watch }) => watch.unanswered === 0)) {
      for (const { watch } of this.watches) watch.store.settled();
      this.#lately = this.#grants;
    }
    const faults = this.#clients.flatMap(({ faults }) => faults.splice(0));
    assert.deepEqual(faults, []);
  }

  /** Everybody answers, tries again what ended, and gets all the time the daemon may take. */
  async settleDown(): Promise<void> {
    this.daemon.fault = undefined;
    for (let round = 0; round < 3; round++) {
      for (const { watch } of this.watches) {
        watch.slow = false;
        watch.store.refuseNext = false;
        watch.answer();
        watch.open();
      }
      await this.quiet();
      // Before anything is renewed: what is granted again must be there although it is the same.
      if (round === 0 && this.daemon.failures === 0) this.#checkHeld();
      await this.daemon.advance(40_000);
      await this.quiet();
    }
  }

  /** What a proxy must hold now, and what the daemon must say of it. */
  async check(): Promise<void> {
    for (const { process, watch } of this.watches) await this.#checkWatch(process, watch);
    for (const { resources, unanswered, waiting } of this.daemon.serving.streams()) {
      assert.deepEqual([unanswered, waiting], [0, []]);
      for (const { acknowledged, rejected } of resources) {
        const both = acknowledged !== undefined && acknowledged === rejected?.version;
        assert.equal(both, false, 'refused, then acked');
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { watch } of this.watches) watch.cancel();
    for (const client of this.#clients) client.close();
    await this.daemon[Symbol.asyncDispose]();
  }

  async #checkWatch(process: number, watch: Watch): Promise<void> {
    const { protocol, names, store } = watch;
    const everything = names.has('*');
    const asked = new Set([...names, ...(everything ? this.#everything(process) : [])]);
    asked.delete('*');
    const good = [...asked].filter((name) => this.#mayHave(process, name));
    const goesOn =
      protocol !== 'sotw' && (protocol === 'on-demand' || asked.size > 1 || everything);
    if (good.length < asked.size && !goesOn) {
      assert.equal(watch.isOpen, false, `open for ${[...names].join(' ')}`);
      assert.equal(watch.ending?.code, 'PERMISSION_DENIED', watch.ending?.details);
      return;
    }
    assert.ok(watch.isOpen || names.size === 0, JSON.stringify(watch.ending));
    // Its absence says nothing in a state of the world: what was withdrawn from everything stays.
    const held = [...store.held].filter((name) => protocol !== 'sotw' || good.includes(name));
    const pinned = (name: string) => !held.includes(name) && store.isBad(store.active(name));
    assert.deepEqual(held.sort(), good.filter((name) => !pinned(name)).sort());
    await this.#checkContent(process, watch, held);
  }

  /** What a Delta stream that is open holds, under whatever version. */
  #checkHeld(): void {
    for (const { process, watch } of this.watches) {
      const { protocol, names, store, isOpen } = watch;
      if (protocol === 'sotw' || names.has('*') || !isOpen || store.hasRefused) continue;
      for (const name of names) {
        if (this.#mayHave(process, name)) assert.ok(store.held.has(name), `${name} is missing`);
      }
    }
  }

  /** The content is the one that a newcomer of the same process would get. */
  async #checkContent(process: number, { store }: Watch, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const fetched = await this.#clients[process]?.fetch(names);
    assert.ok(fetched && !('code' in fetched), JSON.stringify(fetched));
    for (const secret of fetched) {
      const content = contentOf(secret);
      const active = store.active(secret.name);
      assert.ok(!store.isBad(active), `${secret.name} does not build and is in use`);
      if (store.isRefused(content)) continue;
      assert.equal(active, content, secret.name);
      assert.ok(!store.isUnanswered(secret.name), `no answer about ${secret.name}`);
    }
  }

  #everything(process: number): string[] {
    return [OWN, ...this.#identities(process, this.#grants)];
  }

  /** Contract 4: the identities of a process, in the order of the policy. */
  #identities(process: number, grants: readonly Grant[]): string[] {
    return grants
      .filter((grant) => grant.process === process)
      .sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1))
      .map(({ id }) => id);
  }

  #mayHave(process: number, name: string, grants = this.#grants): boolean {
    if (name === OWN || name === 'ROOTCA') return true;
    // The plain form does not keep trust domains apart.
    if (name === 'ALL') return process !== 1;
    const identities = this.#identities(process, grants);
    return name === 'default' ? identities.length > 0 : identities.includes(name);
  }

  #faultOf(process: number, secret: DecodedSecret): string | undefined {
    const { name, kind } = secret;
    if (!this.#mayHave(process, name, this.#lately)) return `${name} is not granted`;
    const bundle = process === 1 ? 'plain bundle' : 'spiffe bundle';
    const isBundle = [OWN, 'ROOTCA', 'ALL'].includes(name);
    if (kind !== (isBundle ? bundle : 'certificate')) return `${name} is a ${kind}`;
    if (secret.kind !== 'certificate') return undefined;
    const id = name === 'default' ? undefined : name;
    return certificateFault(secret, id, this.daemon.clock.now());
  }

  #events(): number {
    return this.#clients.reduce((sum, { events }) => sum + events, this.daemon.events());
  }

  async #still(): Promise<void> {
    for (let turns = 0, before = this.#events(); turns < QUIET_TURNS; turns++) {
      await settle();
      if (before !== this.#events()) turns = 0;
      before = this.#events();
    }
  }
}
