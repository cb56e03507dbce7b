import { resolve } from 'node:path';
import { build, type App } from '../app.ts';
import { loadConfig, type Config } from '../config.ts';
import { IdentityError } from '../core/errors.ts';
import { createLogger } from '../core/log.ts';
import { prettyLine } from '../core/pretty-log.ts';
import { systemRandom } from '../core/random.ts';
import { textOf, type Action } from './command.ts';
import { EXIT } from './exit.ts';

/** `credence run`: the daemon, until the signal is aborted; then it drains. */
export const run: Action = async (given, _operands, terminal) => {
  const file = textOf(given, 'config');
  if (file === undefined) {
    throw new IdentityError('ERR_USAGE', 'credence run needs --config FILE', {
      hint: 'envoy-configs/quickstart/credence.yaml is one to start from',
    });
  }
  const config = loadConfig(file, terminal.env);
  const pretty = (config.telemetry.logFormat ?? (terminal.isTTY ? 'pretty' : 'json')) === 'pretty';
  const log = createLogger({
    level: config.telemetry.logLevel,
    write: (line) => terminal.err(pretty ? prettyLine(line) : line),
  });
  const app = await build(config, { clock: terminal.clock, random: systemRandom, log });
  const socket = config.socketPaths[0] ?? '';
  const quickstart = config.file === resolve('envoy-configs/quickstart/credence.yaml');
  terminal.out(
    [
      `credence serves trust domain ${app.trustDomain} with ${app.policyEntries()} policy entries`,
      `public socket  ${socket}`,
      `admin socket   ${config.adminSocketPath}`,
      ...metricsLine(config, app),
      `try it, in a second terminal:  ${quickstart ? 'npx credence fetch x509' : `credence fetch x509 --socket ${socket}`}`,
      '',
    ].join('\n'),
  );
  void app.warmUp().catch((thrown: unknown) => log.debug({ err: thrown }, 'warm-up failed'));
  if (!terminal.signal.aborted) {
    await new Promise<void>((stop) =>
      terminal.signal.addEventListener('abort', () => stop(), { once: true }),
    );
  }
  log.info({}, 'draining');
  await app.close();
  log.info({}, 'stopped');
  return EXIT.done;
};

function metricsLine(config: Config, { metricsPort }: App): string[] {
  const address = config.telemetry.metricsAddress;
  if (!address || metricsPort === undefined) return [];
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return [`metrics        http://${host}:${metricsPort}/metrics`];
}
