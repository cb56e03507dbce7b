import { constants } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { cgroupFault, needsOf, unmetOf } from '../attestor-needs.ts';
import { policySources, readConfig, type Config } from '../config.ts';
import { systemClock } from '../core/clock.ts';
import { IdentityError } from '../core/errors.ts';
import { openFolderHint } from '../core/unix-socket-folder.ts';
import { readPolicy, type PolicySources } from '../policy/load.ts';
import type { Action } from './command.ts';
import { configWarnings } from './config-warnings.ts';
import { EXIT } from './exit.ts';
import { kubeCaNotes } from './kube-ca-notes.ts';
import { look } from './look.ts';
import { missingPolicy } from './missing-policy.ts';
import { remoteFindings } from './remote-findings.ts';
import { configFile } from './sockets.ts';
import { tokenDoubts } from './token-doubts.ts';
import { upstreamFindings } from './upstream-findings.ts';

interface Finding {
  /** A note is of this machine now, and no matter of `--strict`: checks run elsewhere, too. */
  readonly severity: 'error' | 'warning' | 'note';
  readonly message: string;
  /** What to do about it, when that is known. */
  readonly hint?: string;
}

/** `credence check`: everything that can be said about a configuration without starting. */
export const check: Action = async (given, _operands, terminal) => {
  const file = configFile(given, terminal);
  if (file === undefined)
    throw new IdentityError('ERR_USAGE', 'credence check needs --config FILE', {
      hint: 'envoy-configs/quickstart/credence.yaml is one to start from',
    });
  const { findings, entries, config } = examine(file, terminal.env);
  const counted = (severity: Finding['severity']) =>
    findings.filter((one) => one.severity === severity).length;
  const isWrong = counted('error') > 0;
  if (config) {
    findings.push(...(await attestorDoubts(config)));
    for (const message of tokenDoubts(config)) findings.push(finding('note', message));
  }
  const errors = counted('error');
  // With an error none of them is.
  const inForce = errors > 0 ? 0 : entries;
  const failed = errors > 0 || (given['strict'] === true && counted('warning') > 0);
  if (given['json'] === true) {
    terminal.out(`${JSON.stringify({ ok: !failed, entries: inForce, findings }, undefined, 2)}\n`);
  } else {
    for (const { severity, message, hint } of findings) {
      terminal.out(`${severity}: ${message}\n`);
      if (hint !== undefined) terminal.out(`hint: ${hint}\n`);
    }
    const summary = [
      ...(config ? [`trust domain ${config.trustDomain}`] : []),
      ...(config && errors === 0 ? [count(inForce, 'policy entry', 'policy entries')] : []),
      count(errors, 'error'),
      count(counted('warning'), 'warning'),
    ];
    terminal.out(`${file}: ${summary.join(', ')}\n`);
  }
  // As the contract has it: a machine that the daemon does not start on is no wrong configuration.
  if (isWrong) return EXIT.usage;
  return failed ? EXIT.no : EXIT.done;
};

function examine(
  file: string,
  env: Readonly<Record<string, string | undefined>>,
): { findings: Finding[]; entries: number; config: Config | undefined } {
  const reading = readConfig(file, env);
  const { config } = reading;
  const findings: Finding[] = [];
  if (!config) {
    for (const { message, hint } of reading.faults) findings.push(finding('error', message, hint));
  }
  const sources = config ? policySources(config) : reading.sources;
  const entries = sources ? examinePolicy(sources, resolve(file), findings) : 0;
  if (config) {
    findings.push(...socketDoubts(config));
    for (const message of configWarnings(config)) findings.push(finding('warning', message));
    for (const found of [upstreamFindings(config, systemClock.now()), remoteFindings(config)]) {
      const { error, warnings } = found;
      if (error) findings.push(finding('error', error.message, error.hint));
      for (const { message, hint } of warnings) findings.push(finding('warning', message, hint));
    }
    for (const message of kubeCaNotes(config)) findings.push(finding('note', message));
  }
  return { findings, entries, config };
}

/** Returns the number of entries and templates of entries. */
function examinePolicy(sources: PolicySources, file: string, findings: Finding[]): number {
  const { entries, manifests, warnings, faults, faultCount } = readPolicy(sources);
  const missing = missingPolicy(file, sources.paths);
  for (const message of faults) {
    const hint = missing && message.includes(missing.path) ? missing.hint : undefined;
    findings.push(finding('error', message, hint));
  }
  if (faultCount > faults.length) {
    findings.push(finding('error', `${faultCount - faults.length} more faults`));
  }
  for (const { file: at, line, message } of warnings) {
    findings.push(finding('warning', `${at}:${line}: ${message}`));
  }
  return entries.length + manifests.clusterIds.length;
}

function finding(severity: Finding['severity'], message: string, hint?: string): Finding {
  return { severity, message, ...(hint === undefined ? {} : { hint }) };
}

/**
 * Folders that `credence run` refuses for its sockets, whoever runs it. Of owners and groups nothing is
 * said: this may be another user than the daemon's.
 */
function socketDoubts({ socketPaths, adminSocketPath }: Config): Finding[] {
  const folders = new Set([...socketPaths, adminSocketPath].map((path) => dirname(path)));
  return [...folders].flatMap((folder): Finding[] => {
    const stats = look(`${folder}/.`);
    if (!stats || (stats.mode & constants.S_IWOTH) === 0) return [];
    const message = `folder ${folder} of the socket may be written by everybody: credence run refuses it`;
    return [finding('warning', message, openFolderHint(folder, stats))];
  });
}

/** What attestors need and is not there now: it may come, and the daemon waits for it. */
async function attestorDoubts(config: Config): Promise<Finding[]> {
  const blind = cgroupFault(config.attestation);
  const unmet = await unmetOf(needsOf(config), systemClock);
  const doubts = unmet.map(({ need: { attestor, key, path }, why }) =>
    finding('note', `${config.file}: ${key}: cannot use ${path} now: ${why}; ${NEEDED[attestor]}`),
  );
  return [...(blind ? [finding('error', blind.message, blind.hint)] : []), ...doubts];
}

const NEEDED = {
  kubernetes: 'without it no process in a pod is attested',
  docker: 'without it no process in its containers is attested',
  systemd: 'without it no process is attested',
} as const;

function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
