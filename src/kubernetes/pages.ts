import type { Api } from './api.ts';
import { list, record, text } from './fields.ts';

/** A page is parsed in a few milliseconds. */
const PAGE = 100;

/** All objects of a collection, page by page: who waits gets its turn between two of them. */
export async function* eachPage(
  api: Pick<Api, 'get'>,
  path: string,
  options: { signal: AbortSignal },
): AsyncGenerator<readonly unknown[]> {
  let next = '';
  do {
    const query = `limit=${PAGE}${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
    const page = record(await api.get(`${path}?${query}`, options));
    yield list(page['items']);
    next = text(record(page['metadata'])['continue']);
  } while (next !== '');
}
