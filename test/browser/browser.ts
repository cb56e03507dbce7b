import { chromium, type Browser, type Page } from 'playwright-core';

/** Debian's. */
const CHROMIUM = '/usr/bin/chromium';

/** What a page did that it should not. */
export interface Watched {
  readonly page: Page;
  /** Errors and warnings of its console, exceptions, violations of its policy. */
  readonly faults: readonly string[];
  /** Every address it asked for. */
  readonly asked: readonly string[];
}

/** A browser without a window. As root it has no sandbox of its own: it opens our page and no other. */
export function startBrowser(): Promise<Browser> {
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: CHROMIUM, args: [...sandbox, '--disable-gpu'] });
}

/** A page of its own, and all that goes wrong on it. */
export async function openPage(
  browser: Browser,
  options: NonNullable<Parameters<Browser['newPage']>[0]> = {},
): Promise<Watched> {
  const page = await browser.newPage(options);
  const faults: string[] = [];
  const asked: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => asked.push(request.url()));
  return { page, faults, asked };
}
