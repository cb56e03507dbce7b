/** What a request is answered with. */
export interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string | Iterable<string>;
}

export const json = (body: unknown, code = 200): Answer => ({
  code,
  type: 'application/json',
  body: `${JSON.stringify(body, undefined, 2)}\n`,
});

export const text = (body: string, code = 200): Answer => ({
  code,
  type: 'text/plain',
  body: `${body}\n`,
});
