/** Begins mints in a fair order: what one holder asks for in one go does not hold up the others. */
export interface MintTurns {
  /**
   * Runs a task now, or when it is the holder's turn. Its promise must not reject; the holder's
   * next task may have to wait for it.
   */
  take(holder: Holder, task: Task): void;
}

/** A process, or work that is done for many of them and that nobody waits for. */
type Holder = string | symbol;

type Task = () => Promise<void>;

/** One holder's tasks, in the order they came. */
interface Lane {
  readonly holder: Holder;
  readonly perTurn: number;
  readonly waiting: Task[];
  running: number;
  /** How many it has begun since its last rest. */
  begun: number;
  resting: boolean;
}

/**
 * Of one holder: an issuer that takes its time serves in the order it is asked, so who comes later
 * has this many of each other holder before it. Enough to keep all threads busy that make RSA keys.
 */
const AT_ONCE = 4;
/** Begun by one holder in one turn of the event loop: 32 EC keys and signatures take 2.6 ms. */
const PER_TURN = 32;
/**
 * Of what nobody waits for: each is pushed and acknowledged in turns soon after it, which costs twice as
 * much again, and all of that is before who comes meanwhile.
 */
const PER_TURN_UNHURRIED = 8;

export function createMintTurns(): MintTurns {
  const lanes = new Map<Holder, Lane>();
  /** Those that rest; the first has the next turn. */
  const resting: Lane[] = [];

  function advance(lane: Lane): void {
    while (!lane.resting && lane.running < AT_ONCE) {
      const task = lane.waiting.shift();
      if (!task) break;
      begin(lane, task);
    }
    if (!lane.resting && lane.running === 0) lanes.delete(lane.holder);
  }

  function begin(lane: Lane, task: Task): void {
    lane.running++;
    if (++lane.begun === lane.perTurn) rest(lane);
    void task().then(() => {
      lane.running--;
      advance(lane);
    });
  }

  function rest(lane: Lane): void {
    lane.begun = 0;
    lane.resting = true;
    resting.push(lane);
    if (resting.length === 1) setImmediate(wakeNext);
  }

  /** One lane in each turn, however many have rested. */
  function wakeNext(): void {
    const lane = resting.shift();
    if (!lane) return;
    if (resting.length > 0) setImmediate(wakeNext);
    lane.resting = false;
    advance(lane);
  }

  return {
    take(holder, task) {
      let lane = lanes.get(holder);
      if (!lane) lanes.set(holder, (lane = createLane(holder)));
      lane.waiting.push(task);
      advance(lane);
    },
  };
}

const createLane = (holder: Holder): Lane => ({
  holder,
  perTurn: typeof holder === 'symbol' ? PER_TURN_UNHURRIED : PER_TURN,
  waiting: [],
  running: 0,
  begun: 0,
  resting: false,
});
