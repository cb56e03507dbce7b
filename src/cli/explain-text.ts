import type { ExplainView, IdentityView, PodExplainView, VerdictView } from './explain-view.ts';
import { oneLine } from './printable.ts';

/** Of what a process has instead of a selector that it misses. */
const MOST_LISTED = 4;

/** An explanation for people: each step from the process to its identities. */
export function explainText(view: ExplainView): string {
  const { process, steps: way, selectors, identities, verdicts } = view;
  const notShown = view.missingNotShown;
  const of = (kind: string) => verdicts.filter((verdict) => verdict.kind === kind);
  const steps: readonly (readonly [string, readonly string[]])[] = [
    [
      'process',
      process ? [`pid ${process.pid}, uid ${id(process.uid)}, gid ${id(process.gid)}`] : [],
    ],
    ...way.map(({ name, text }) => [name, [text]] as const),
    ['selectors', selectors],
    ['identities', identities.length > 0 ? identities.map(identityText) : [noneText(view)]],
    ['default', defaultText(identities)],
    ['shadowed', of('shadowed').map(shadowedText)],
    ['unresolved', of('placeholder').map(reasonText)],
    ['undecided', of('undecided').map(reasonText)],
    [
      'missed',
      of('missing').flatMap((verdict) => [
        missedText(verdict, selectors),
        ...verdict.findings.map((finding) => `  ${finding}`),
      ]),
    ],
    ['not shown', notShown > 0 ? [`${notShown} more that miss selectors`] : []],
  ];
  return steps
    .flatMap(([title, lines]) => lines.map((line, n) => (n === 0 ? title : '').padEnd(12) + line))
    .map((line) => `${oneLine(line)}\n`)
    .join('');
}

/** What is known of a pod, for people, and for each of its containers what a process in it gets. */
export function podText({ known, pods }: PodExplainView): string {
  const lines = pods.flatMap(({ title, uid, serviceAccount, containers }) => [
    line('pod', title),
    line('', `uid ${uid}`),
    line('', serviceAccount === '' ? 'no service account' : `service account ${serviceAccount}`),
    ...containers.flatMap(({ name, kind, id: containerId, image, told }) => [
      '\n',
      line('container', kind === 'container' ? name : `${name} (${kind})`),
      line('', `image ${image}, ${containerId === '' ? 'not running yet' : `id ${containerId}`}`),
      explainText(told),
    ]),
  ]);
  return [
    line('known', known),
    ...lines,
    '\n',
    line('note', 'without the unix selectors that a process adds: explain --pid has them'),
  ].join('');
}

const line = (title: string, text: string) => `${oneLine(title.padEnd(12) + text)}\n`;

const id = (number: number | null) => number ?? '?';

function identityText({ spiffeId, priority, source }: IdentityView): string {
  return `${spiffeId} (priority ${id(priority)}, ${source})`;
}

function noneText({ refusal, verdicts }: ExplainView): string {
  if (refusal !== null) return `none: ${refusal}`;
  const near = verdicts.length === 0 ? ', and none is near' : '';
  return `none: no policy entry applies${near}`;
}

/** The order of identities is priority, then SPIFFE ID: which of the two made the first one first. */
function defaultText([first, ...others]: readonly IdentityView[]): string[] {
  if (!first) return [];
  const equals = others.filter(({ priority }) => priority === first.priority).length;
  if (others.length === 0) return [`${first.spiffeId}, as the only one`];
  if (equals === 0) {
    return [`${first.spiffeId}, as priority ${id(first.priority)} is the highest`];
  }
  const number = `${equals + 1} with ${others.length > equals ? 'the highest ' : ''}priority ${id(first.priority)}`;
  return [`${first.spiffeId}, as the first SPIFFE ID in byte order of ${number}`];
}

function shadowedText({ spiffeId, source, shadowedBy }: VerdictView): string {
  return `${spiffeId} (${source}): ${shadowedBy} gives the same SPIFFE ID and goes first`;
}

function reasonText({ spiffeId, source, reason }: VerdictView): string {
  return `${spiffeId} (${source}): ${reason}`;
}

function missedText({ spiffeId, source, missing }: VerdictView, held: readonly string[]): string {
  const wanted = missing.map((selector) => {
    const kind = selector.split(':', 2).join(':');
    const instead = held.filter((other) => other.startsWith(`${kind}:`));
    return instead.length === 0 ? selector : `${selector} (it has ${listed(instead)})`;
  });
  return `${spiffeId} (${source}): misses ${wanted.join(' and ')}`;
}

/** A process may have thousands of groups. */
function listed(selectors: readonly string[]): string {
  const more = selectors.length - MOST_LISTED;
  return more > 0
    ? `${selectors.slice(0, MOST_LISTED).join(', ')} and ${more} more`
    : selectors.join(', ');
}
