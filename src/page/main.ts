import { byId, setText } from './dom.ts';
import { createOverview } from './overview.ts';
import { createPoll } from './poll.ts';
import { createProxyList } from './proxies.ts';
import { everySecond, monotonic, pause, SECOND_MS, span, wallTime } from './time.ts';

/** With nobody there, asking each second fills the browser's console. */
const GONE_MS = 5 * SECOND_MS;
/** An answer takes some milliseconds; after this the reader should know that it does not come. */
const SLOW_MS = 3 * SECOND_MS;

/** What is wrong with the way to the daemon, as a text that may count seconds. */
type Trouble = (() => string) | undefined;

let now = () => 0;
let trouble: Trouble;
let answeredAt = monotonic();
const overview = createOverview();
const list = createProxyList(() => now());

/** Never says more than is known: while nothing comes in, the picture is an old one. */
function showLink(): void {
  const quiet = monotonic() - answeredAt;
  const text = trouble?.() ?? (quiet > SLOW_MS ? `no answer for ${span(quiet)}` : undefined);
  setText(byId('link'), text ?? 'live');
  document.body.dataset['link'] = text === undefined ? 'live' : 'lost';
  overview.setLive(text === undefined);
}

async function ask(poll: ReturnType<typeof createPoll>): Promise<number> {
  const polled = await poll();
  if (polled.kind === 'gone' || polled.kind === 'refused') {
    trouble = () =>
      polled.kind === 'gone'
        ? 'credence ui has ended: start it again and open the address it prints'
        : 'this address is not valid any more: open the one that credence ui prints';
    return GONE_MS;
  }
  answeredAt = monotonic();
  if (polled.kind === 'answer' && polled.answer.kind === 'unreachable') {
    const { sinceMs, reason } = polled.answer;
    const { nowMs } = polled;
    trouble = () =>
      `daemon not reachable since ${wallTime(sinceMs)} (${span(nowMs() - sinceMs)}): ${reason}`;
    return SECOND_MS;
  }
  trouble = undefined;
  now = polled.nowMs;
  if (polled.kind === 'answer' && polled.answer.kind === 'status') {
    overview.show(polled.answer.status);
    list.show(polled.answer.status.proxies, now());
    document.body.hidden = false;
  }
  tick();
  return SECOND_MS;
}

function tick(): void {
  showLink();
  const at = now();
  overview.tick(at);
  list.tick(at);
}

/** Keys of a page that is read with the hands on a keyboard. */
document.addEventListener('keydown', (event) => {
  const filter = byId('filter') as HTMLInputElement;
  if (event.key === '/' && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === 'Escape' && document.activeElement === filter) {
    filter.value = '';
    filter.dispatchEvent(new Event('input'));
    filter.blur();
  }
});

everySecond(tick);
const poll = createPoll();
for (;;) {
  const waitMs = await ask(poll);
  showLink();
  await pause(waitMs);
}
