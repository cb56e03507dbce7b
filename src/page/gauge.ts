import { element, setAttribute, setText, type Part } from './dom.ts';
import { readLife, type Life } from './life.ts';

/** A bar of life left with the rotation point on it, and both in words. */
export function gauge(life: Life, label: string): Part {
  const bar = element('span', 'bar');
  const left = element('span', 'left');
  const reserve = element('span', 'reserve');
  const turn = element('span', 'turn');
  bar.append(left, reserve, turn);
  bar.setAttribute('role', 'meter');
  bar.setAttribute('aria-label', label);
  bar.setAttribute('aria-valuemin', '0');
  bar.setAttribute('aria-valuemax', '100');
  const expires = element('span', 'expires');
  const rotates = element('span', 'rotates');
  const node = element('span', 'gauge', bar, element('span', 'times', expires, rotates));
  return {
    node,
    tick(nowMs) {
      const reading = readLife(life, nowMs);
      if (!reading) return;
      const { spent, turn: turnAt, tone } = reading;
      setAttribute(node, 'data-tone', tone);
      // A width in thousandths: what moves less is not to be seen.
      bar.style.setProperty('--spent', spent.toFixed(4));
      bar.style.setProperty('--turn', Math.max(spent, turnAt ?? 1).toFixed(4));
      bar.style.setProperty('--mark', (turnAt ?? 1).toFixed(4));
      turn.hidden = turnAt === null;
      setText(expires, reading.expires);
      setText(rotates, reading.rotates ?? '');
      setAttribute(bar, 'aria-valuenow', String(Math.round((1 - spent) * 100)));
      const spoken = [reading.expires, reading.rotates].filter((text) => text !== null);
      setAttribute(bar, 'aria-valuetext', spoken.join(', '));
    },
  };
}
