// A client process: opens connections and takes times when the bench asks it to. One process holds
// the streams that are a load, another measures beside it, so that neither waits for the other.
import { Fleet, type FleetPlan, type Served } from './fleet.ts';
import { type Flood, type FloodCounts, type FloodPlan, startFlood } from './flood.ts';

/** What a client process can be asked. */
export type WorkerRequest =
  /** All proxies connect in the same instant; they stay open. Replaces an earlier fleet. */
  | { kind: 'open'; plan: FleetPlan; timeoutMs: number }
  /** Proxies connect one after another, `perSecond`; each leaves when it has been served. */
  | { kind: 'sample'; plan: FleetPlan; perSecond: number; timeoutMs: number }
  /** Waits until the open fleet has acknowledged `total` secrets. */
  | { kind: 'await-deliveries'; total: number; timeoutMs: number }
  | { kind: 'counts' }
  /** Misbehaves from now until the process ends. */
  | { kind: 'flood'; plan: FloodPlan }
  | { kind: 'flood-counts' }
  | { kind: 'close' };

/** What it answers. Times are monotonic and in milliseconds. */
export interface WorkerAnswers {
  open: { served: Served[]; totalMs: number };
  sample: { served: Served[]; refusals: number };
  'await-deliveries': { reachedMs: number };
  counts: { deliveries: number; cpuMs: number };
  flood: Record<string, never>;
  'flood-counts': FloodCounts;
  close: Record<string, never>;
}

let fleet: Fleet | undefined;
let flood: Flood | undefined;

async function handle(request: WorkerRequest): Promise<WorkerAnswers[WorkerRequest['kind']]> {
  switch (request.kind) {
    case 'open': {
      await fleet?.[Symbol.asyncDispose]();
      const { plan, timeoutMs } = request;
      fleet = await Fleet.create(plan);
      fleet.connect(plan.count);
      await fleet.untilServed(plan.count, timeoutMs);
      return { served: fleet.served, totalMs: fleet.lastDeliveryMs - fleet.firstConnectMs };
    }
    case 'sample':
      return sample(request);
    case 'await-deliveries': {
      if (!fleet) throw new Error('no fleet is open');
      await fleet.untilDelivered(request.total, request.timeoutMs);
      return { reachedMs: fleet.lastDeliveryMs };
    }
    case 'counts': {
      const { user, system } = process.cpuUsage();
      return { deliveries: fleet?.deliveries ?? 0, cpuMs: (user + system) / 1000 };
    }
    case 'flood':
      flood = await startFlood(request.plan);
      return {};
    case 'flood-counts':
      if (!flood) throw new Error('there is no flood');
      return flood.counts();
    case 'close':
      await fleet?.[Symbol.asyncDispose]();
      fleet = undefined;
      return {};
  }
}

async function sample(
  request: Extract<WorkerRequest, { kind: 'sample' }>,
): Promise<WorkerAnswers['sample']> {
  const { plan, perSecond, timeoutMs } = request;
  const one = await Fleet.create(plan, { closeServed: true });
  try {
    const start = performance.now();
    for (let n = 0; n < plan.count; n++) {
      const due = start + (n * 1000) / perSecond - performance.now();
      if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
      one.connect(1);
    }
    await one.untilServed(plan.count, timeoutMs);
    return { served: one.served, refusals: one.refusals };
  } finally {
    await one[Symbol.asyncDispose]();
  }
}

process.on('message', ({ id, request }: { id: number; request: WorkerRequest }) => {
  handle(request).then(
    (answer) => process.send?.({ id, answer }),
    (thrown: unknown) =>
      process.send?.({ id, error: thrown instanceof Error ? thrown.message : String(thrown) }),
  );
});
// The bench is gone: nothing here may outlive it.
process.on('disconnect', () => process.exit(1));
