import { askAdminJson } from './admin-client.ts';
import { caText } from './ca-text.ts';
import { parseCa } from './ca-view.ts';
import type { Action } from './command.ts';
import { EXIT } from './exit.ts';
import { record } from './json-fields.ts';
import { adminSocket } from './sockets.ts';

/** `credence ca status`. */
export const caStatus: Action = async (given, _operands, terminal) => {
  const { clock, out } = terminal;
  const document = await askAdminJson(await adminSocket(given, terminal), '/ca', terminal);
  const view = parseCa(document);
  out(
    given['json'] === true
      ? `${JSON.stringify(record(document), undefined, 2)}\n`
      : caText(view, clock.now()),
  );
  return EXIT.done;
};
