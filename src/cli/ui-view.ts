import type { StatusPage } from '../ui/view.ts';
import { parseStatus } from './status-view.ts';

/** The status as the page has it, with users by name; throws `ERR_UNREACHABLE` when it is none. */
export function statusPage(
  document: unknown,
  userName: (uid: number) => string | undefined,
): StatusPage {
  const view = parseStatus(document);
  const user = (uid: number | null) => (uid === null ? undefined : userName(uid)) ?? null;
  return { ...view, proxies: view.proxies.map((proxy) => ({ ...proxy, user: user(proxy.uid) })) };
}
