import { matchDocument } from '../admin/explain.ts';
import { explainDescribed } from '../cluster-ids/explain-pod.ts';
import { surroundingsOf } from '../config-cluster-policy.ts';
import { loadConfig, policySources } from '../config.ts';
import { IdentityError, toIdentityError } from '../core/errors.ts';
import { explainAll } from '../explain-all.ts';
import { parseSelectorList, type Selector } from '../identity/selector.ts';
import { loadPolicy } from '../policy/load.ts';
import { obstacles } from '../policy/obstacles.ts';
import { compilePolicy } from '../policy/policy.ts';
import { ALL_ATTESTORS, attestableHere, type Attests } from '../policy/unmatched.ts';
import { askAdminJson } from './admin-client.ts';
import { textOf, type Action, type Given, type Terminal } from './command.ts';
import { EXIT } from './exit.ts';
import { explainText, podText } from './explain-text.ts';
import { parseExplanation, parsePodExplanation } from './explain-view.ts';
import { pidOf } from './pid.ts';
import { adminSocket } from './sockets.ts';

/** `credence explain`: why a caller gets the identities it gets, or none. */
export const explain: Action = async (given, _operands, terminal) => {
  const pid = pidOf(given);
  const selectors = selectorsOf(given);
  const pod = podOf(given);
  if ([pid, selectors, pod].filter((one) => one !== undefined).length !== 1) {
    const message = 'credence explain needs --pid N, --pod NS/NAME or --selectors A,B';
    throw new IdentityError('ERR_USAGE', message, {
      hint: 'credence explain --selectors unix:uid:1000,unix:gid:1000 --config FILE',
    });
  }
  if (pod !== undefined) return explainPod(pod, given, terminal);
  const document = selectors
    ? await explainSelectors(selectors, given, terminal)
    : await askAdminJson(await adminSocket(given, terminal), `/explain?pid=${pid}`, terminal);
  const view = parseExplanation(document);
  terminal.out(
    given['json'] === true ? `${JSON.stringify(document, undefined, 2)}\n` : explainText(view),
  );
  return view.identities.length > 0 ? EXIT.done : EXIT.no;
};

/** Done when one container at least has an identity. */
async function explainPod(pod: string, given: Given, terminal: Terminal): Promise<number> {
  const path = `/explain?pod=${encodeURIComponent(pod)}`;
  const document = await askAdminJson(await adminSocket(given, terminal), path, terminal);
  const view = parsePodExplanation(document);
  terminal.out(
    given['json'] === true ? `${JSON.stringify(document, undefined, 2)}\n` : podText(view),
  );
  const containers = view.pods.flatMap((each) => each.containers);
  return containers.some(({ told }) => told.identities.length > 0) ? EXIT.done : EXIT.no;
}

function podOf(given: Given): string | undefined {
  const text = textOf(given, 'pod');
  if (text === undefined || /^[a-z0-9][a-z0-9.-]*\/[a-z0-9][a-z0-9.-]*$/.test(text)) return text;
  throw new IdentityError('ERR_USAGE', `--pod is "${text}", expected its namespace and its name`, {
    hint: 'as in --pod default/web-0; kubectl get pods -A shows some',
  });
}

function selectorsOf(given: Given): readonly Selector[] | undefined {
  const text = textOf(given, 'selectors');
  if (text === undefined) return undefined;
  try {
    return parseSelectorList(text);
  } catch (thrown) {
    throw new IdentityError('ERR_USAGE', `--selectors: ${toIdentityError(thrown).message}`, {
      cause: thrown,
      hint: 'selectors as the policy writes them, with commas: unix:uid:1000,unix:gid:1000',
    });
  }
}

/** With a configuration its policy as it stands on disk, without a daemon; else the policy in force. */
async function explainSelectors(
  selectors: readonly Selector[],
  given: Given,
  terminal: Terminal,
): Promise<unknown> {
  const file = textOf(given, 'config');
  if (file === undefined || textOf(given, 'admin-socket') !== undefined) {
    const query = `/explain?selectors=${encodeURIComponent(selectors.join(','))}`;
    // Which attestors that daemon has on is not known here.
    warnOfImpossible(selectors, ALL_ATTESTORS, terminal);
    return askAdminJson(await adminSocket(given, terminal), query, terminal);
  }
  const config = loadConfig(file, terminal.env);
  const { attests, ...sources } = policySources(config);
  warnOfImpossible(selectors, attests, terminal);
  const { entries, manifests } = loadPolicy(sources);
  const cluster = explainDescribed(manifests.clusterIds, selectors, surroundingsOf(config));
  const told = await explainAll([compilePolicy(entries)], cluster, selectors, attests);
  return matchDocument({ selectors, ...told });
}

/** What is asked about is answered; that no process here is so may have gone unnoticed. */
function warnOfImpossible(
  selectors: readonly Selector[],
  attests: Attests,
  terminal: Terminal,
): void {
  for (const { why } of obstacles({ selectors, spiffeId: '' }, attestableHere(attests))) {
    terminal.err(`warning: ${why}\n`);
  }
}
