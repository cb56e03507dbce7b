import { IdentityError } from '../core/errors.ts';
import type { Action } from './command.ts';

/** `credence ca revoke`: an authority of the daemon that is asked, or a node of the signer's. */
export const caRevoke: Action = async (given, operands, terminal) => {
  const ofNode = given['node'] !== undefined || given['undo'] === true;
  const ofAuthority =
    operands.length > 0 || given['force'] === true || given['admin-socket'] !== undefined;
  if (ofNode === ofAuthority) {
    throw new IdentityError(
      'ERR_USAGE',
      'credence ca revoke takes the ID of an authority, or --node NAME and --config FILE',
      { hint: 'credence ca revoke --help' },
    );
  }
  const action = ofNode
    ? (await import('./ca-revoke-node.ts')).caRevokeNode
    : (await import('./ca-by-hand.ts')).caRevokeAuthority;
  return action(given, operands, terminal);
};
