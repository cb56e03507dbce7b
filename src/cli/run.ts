import { build, type App } from '../app.ts';
import { unmetFiles } from '../attestor-needs.ts';
import { loadConfig, type Config } from '../config.ts';
import { IdentityError, systemCode, toIdentityError } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { environmentName } from '../settings.ts';
import { textOf, type Action } from './command.ts';
import { configWarnings } from './config-warnings.ts';
import { EXIT } from './exit.ts';
import { hideProcess, lineWriter, logOf, untilStopped } from './foreground.ts';
import { missingPolicy } from './missing-policy.ts';
import { findQuickstart } from './quickstart.ts';

/** `credence run`: the daemon, until the signal is aborted; then it drains. */
export const run: Action = async (given, _operands, terminal) => {
  const file = textOf(given, 'config');
  if (file === undefined) {
    throw new IdentityError('ERR_USAGE', 'credence run needs --config FILE', {
      hint: 'envoy-configs/quickstart/credence.yaml is one to start from',
    });
  }
  hideProcess();
  const config = loadConfig(file, terminal.env);
  const writeLine = lineWriter(config, terminal);
  const log = logOf(config, writeLine);
  for (const detail of configWarnings(config)) log.warn({ detail }, 'configuration warning');
  for (const { need, why } of unmetFiles(config)) {
    const fields = { path: need.path, reason: why, detail: need.key };
    log.warn(fields, 'a file that an attestor needs cannot be used now');
  }
  const { clock, signal } = terminal;
  const app = await start(config, { clock, random: systemRandom, log, writeLine, signal });
  if (!app) {
    log.info({}, 'stopped before anything could be signed');
    return EXIT.done;
  }
  terminal.out(greeting(config, app));
  void app.warmUp().catch((thrown: unknown) => log.debug({ err: thrown }, 'warm-up failed'));
  await untilStopped(terminal);
  log.info({}, 'draining');
  await app.close();
  log.info({}, 'stopped');
  return EXIT.done;
};

/** Undefined when it was stopped while it waited. */
async function start(config: Config, deps: Parameters<typeof build>[1]): Promise<App | undefined> {
  try {
    return await build(config, deps);
  } catch (thrown) {
    if (deps.signal?.aborted && thrown === deps.signal.reason) return undefined;
    const error = toIdentityError(thrown);
    const hint = startHint(error, config);
    if (hint === undefined) throw thrown;
    throw new IdentityError(error.code, error.message, { cause: thrown, hint });
  }
}

/** What to do about a failed start, where that follows from how the daemon was called. */
function startHint(error: IdentityError, config: Config): string | undefined {
  if (error.code === 'ERR_ALREADY_RUNNING') {
    const show = isQuickstart(config)
      ? 'npx credence status'
      : `credence status --config ${config.file}`;
    return `${show} shows it; Ctrl-C where it runs, or SIGTERM, stops it`;
  }
  if (error.code === 'ERR_SOCKET' && systemCode(error.cause) === 'EADDRINUSE') {
    const key = 'telemetry.metrics_address';
    return `${key}, or ${environmentName(key)}, names another address; empty switches it off`;
  }
  // The metrics port has a hint of its own.
  if (error.hint === undefined && systemCode(error.cause) === 'EACCES') {
    return 'run as root or under systemd, or set socket_path and admin_socket_path';
  }
  return error.code === 'ERR_POLICY'
    ? missingPolicy(config.file, config.policyPaths)?.hint
    : undefined;
}

/** The daemon of `npm start`, which commands find by themselves within the clone. */
const isQuickstart = ({ file }: Config) => file === findQuickstart(process.cwd());

function greeting(config: Config, app: App): string {
  const socket = config.socketPaths[0] ?? '';
  const proof = isQuickstart(config)
    ? 'npx credence fetch x509'
    : `credence fetch x509 --socket ${socket}`;
  return [
    `credence serves trust domain ${app.trustDomain} with ${app.policyEntries()} policy entries`,
    `public socket  ${socket}`,
    `admin socket   ${config.adminSocketPath}`,
    ...metricsLine(config, app),
    `try it, in a second terminal:  ${proof}`,
    '',
  ].join('\n');
}

function metricsLine(config: Config, { metricsPort }: App): string[] {
  const address = config.telemetry.metricsAddress;
  if (!address || metricsPort === undefined) return [];
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return [`metrics        http://${host}:${metricsPort}/metrics`];
}
