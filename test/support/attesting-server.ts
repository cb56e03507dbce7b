import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createAttestation,
  type Attestation,
  type PeerConnection,
} from '../../src/attestation/attestation.ts';
import type { Attestor } from '../../src/attestation/attestor.ts';
import type { Kernel } from '../../src/attestation/kernel.ts';
import { listenForPeers } from '../../src/attestation/listener.ts';
import type { FailureReason } from '../../src/attestation/metrics.ts';
import { createAccountNames } from '../../src/attestation/names.ts';
import { createKernel } from '../../src/attestation/native.ts';
import type { Peer } from '../../src/attestation/peer.ts';
import { createUnixAttestor } from '../../src/attestation/unix.ts';
import { systemClock, type Clock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';

/** A real listener with real attestation; nothing behind it. */
export interface AttestingServer extends AsyncDisposable {
  readonly path: string;
  readonly attestation: Attestation;
  /** Why peers could not be identified, in the order of accepting. */
  readonly unidentified: readonly FailureReason[];
  /** The next connection, in the order of accepting. */
  next(): Promise<{ socket: Socket; connection: PeerConnection }>;
}

export async function startAttestingServer(
  options: {
    clock?: Clock;
    attestors?: readonly Attestor[];
    kernel?: Kernel;
    programOf?: (peer: Peer) => string | undefined;
  } = {},
): Promise<AttestingServer> {
  const { clock = systemClock, kernel = createKernel() } = options;
  const dir = await mkdtemp(join(tmpdir(), 'credence-att-'));
  const path = join(dir, 'api.sock');
  const unix = createUnixAttestor({ names: createAccountNames(), executable: undefined });
  const unidentified: FailureReason[] = [];
  const attestation = createAttestation({
    onUnidentified: (reason) => unidentified.push(reason),
    mostLingering: 100,
    kernel,
    attestors: options.attestors ?? [unix],
    programOf: options.programOf,
    clock,
    log: silentLogger,
  });
  const accepted: { socket: Socket; connection: PeerConnection }[] = [];
  const waiting: ((one: { socket: Socket; connection: PeerConnection }) => void)[] = [];
  const sockets = new Set<Socket>();
  const listener = await listenForPeers({
    paths: [path],
    attestation,
    clock: systemClock,
    log: silentLogger,
    onConnection(socket, connection) {
      sockets.add(socket);
      socket.resume();
      socket.once('close', () => sockets.delete(socket));
      const next = waiting.shift();
      if (next) next({ socket, connection });
      else accepted.push({ socket, connection });
    },
  });
  return {
    path,
    attestation,
    unidentified,
    next() {
      const one = accepted.shift();
      return one ? Promise.resolve(one) : new Promise((resolve) => waiting.push(resolve));
    },
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const socket of sockets) socket.destroy();
      attestation.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
