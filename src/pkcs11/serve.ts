import { IdentityError, toIdentityError } from '../core/errors.ts';
import { moduleCode, type Cryptoki } from './cryptoki.ts';
import { openToken } from './open-token.ts';
import type { Numbered, TokenReply, TokenRequest, TokenValue } from './protocol.ts';
import type { Token } from './token.ts';

/** Answers the daemon's requests with a module; the first one has to be `open`. */
export interface Answers {
  /** One line for one line; those of one call may come later than those of the next. */
  readonly take: (line: string) => void;
  /** Gives the sessions back; a token has few. */
  readonly finish: () => void;
}

export function createAnswers(load: () => Cryptoki, say: (line: string) => void): Answers {
  let token: Token | undefined;
  let library: Cryptoki | undefined;
  return {
    take(line) {
      const request = JSON.parse(line) as Numbered<TokenRequest>;
      const reply = (said: TokenReply) => say(`${JSON.stringify({ n: request.n, ...said })}\n`);
      try {
        const value = perform(request);
        if (!(value instanceof Promise)) return reply({ value });
        value.then(
          (late) => reply({ value: late }),
          (thrown: unknown) => reply(failure(thrown)),
        );
      } catch (thrown) {
        reply(failure(thrown));
      }
    },
    finish() {
      try {
        library?.C_Finalize();
      } catch {
        // It ends with the process.
      }
    },
  };

  function perform(request: TokenRequest): TokenValue | Promise<TokenValue> {
    if (request.call === 'open') {
      library = load();
      const opened = openToken(library, request);
      token = opened.token;
      return String(opened.others);
    }
    if (!token) throw new IdentityError('ERR_BUG', 'no token is open');
    switch (request.call) {
      case 'generate':
        return token.generate(request.keyType).then(base64);
      case 'find':
        return base64(token.find(request.id, request.keyType));
      case 'sign': {
        const data = Buffer.from(request.data, 'base64');
        return base64(token.sign(request.id, request.keyType, data));
      }
      case 'ids':
        return token.ids();
      case 'remove':
        token.remove(request.id);
        return '';
    }
  }
}

const base64 = (bytes: Buffer) => bytes.toString('base64');

/** What the token would answer in another session as well: it is full, or cannot do what it is asked. */
const DEFINITE =
  /^CKR_(?:DEVICE_MEMORY|TEMPLATE_\w+|ATTRIBUTE_\w+|MECHANISM_\w+|KEY_SIZE_RANGE|DOMAIN_PARAMS_INVALID|FUNCTION_NOT_SUPPORTED|TOKEN_WRITE_PROTECTED)$/;

/** Whatever else the module says, a new session may be without it: handles and logins get lost in many ways. */
function failure(thrown: unknown): TokenReply {
  const code = thrown instanceof IdentityError ? undefined : moduleCode(thrown);
  if (code !== undefined)
    return { error: `the token answered ${code}`, lost: !DEFINITE.test(code) };
  const { message, hint } = toIdentityError(thrown, 'ERR_KEY_STORE');
  return { error: message, lost: false, ...(hint === undefined ? {} : { hint }) };
}
