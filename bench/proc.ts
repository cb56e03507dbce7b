import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (!match?.[1]) throw new Error(`process ${pid} has no resident memory: did it end?`);
  return Number(match[1]) * 1024;
}

/**
 * CPU time of all threads of a process that still run, in milliseconds. From the scheduler's own
 * account (nanoseconds), because /proc/PID/stat counts in steps of 10 ms.
 */
export function cpuMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // The thread has ended since the folder was read.
    }
  }
  return ns / 1e6;
}

/** Waits until the resident memory has stopped moving; returns it. At most `timeoutMs`. */
export async function settledBytes(pid: number, timeoutMs: number): Promise<number> {
  const STEP_MS = 250;
  let last = residentBytes(pid);
  let calm = 0;
  for (let waited = 0; waited < timeoutMs && calm < 4; waited += STEP_MS) {
    await sleep(STEP_MS);
    const now = residentBytes(pid);
    calm = Math.abs(now - last) > 64 * 1024 ? 0 : calm + 1;
    last = now;
  }
  return last;
}

/** Share of one core, in percent, that a process uses during `ms`. */
export async function cpuPercent(pid: number, ms: number): Promise<number> {
  const before = cpuMs(pid);
  const start = performance.now();
  await sleep(ms);
  return ((cpuMs(pid) - before) / (performance.now() - start)) * 100;
}
