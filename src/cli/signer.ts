import { loadConfig } from '../config.ts';
import { IdentityError } from '../core/errors.ts';
import { systemRandom } from '../core/random.ts';
import { startSigner } from '../signer-app.ts';
import { textOf, type Action } from './command.ts';
import { EXIT } from './exit.ts';
import { hideProcess, lineWriter, logOf, untilStopped } from './foreground.ts';

/** `credence signer`: answers requests for CAs of nodes until the signal is aborted. */
export const signer: Action = async (given, _operands, terminal) => {
  const file = textOf(given, 'config');
  if (file === undefined) {
    throw new IdentityError('ERR_USAGE', 'credence signer needs --config FILE', {
      hint: 'k8s/signer/config/signer.yaml is one to start from',
    });
  }
  hideProcess();
  const config = loadConfig(file, terminal.env);
  const writeLine = lineWriter(config, terminal);
  const log = logOf(config, writeLine);
  const deps = { clock: terminal.clock, random: systemRandom, log, writeLine };
  const app = await startSigner(config, deps);
  const { name } = config.signer;
  terminal.out(`credence answers requests for ${name}, trust domain ${config.trustDomain}\n`);
  // Only timers and sockets of the cluster are left: the former keep no process alive.
  const alive = new MessageChannel();
  alive.port1.ref();
  await untilStopped(terminal);
  alive.port1.close();
  app.close();
  log.info({}, 'stopped');
  return EXIT.done;
};
