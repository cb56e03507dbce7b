import type { Clock } from './clock.ts';
import type { LogFields, Logger } from './log.ts';
import { createRates } from './rates.ts';

/** Lines of one process, at once and per second. */
const PER_PEER = { burst: 10, perSecond: 0.5 };
/** Lines of all processes together: one that forks has many pids. */
const IN_ALL = { burst: 200, perSecond: 20 };

/**
 * A logger for lines that a peer can cause as often as it likes. Beyond a few they go to debug, and
 * the next one that is written says in `count` how many did.
 */
export function createPeerLog(log: Logger, clock: Clock): Logger {
  const perPeer = createRates(PER_PEER, clock);
  const inAll = createRates(IN_ALL, clock);
  let suppressed = 0;

  const write = (level: 'info' | 'warn' | 'error') => (fields: LogFields, message: string) => {
    if (!perPeer.take(fields.peer_pid ?? 0) || !inAll.take(0)) {
      suppressed++;
      log.debug(fields, message);
      return;
    }
    const before = suppressed === 0 ? {} : { count: suppressed };
    suppressed = 0;
    log[level]({ ...fields, ...before }, message);
  };
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => createPeerLog(log.child(fields), clock),
  };
}
