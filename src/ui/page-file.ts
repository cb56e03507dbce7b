import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** The page with the policy that lets it run, and nothing else. */
export interface Page {
  readonly html: Buffer;
  readonly contentSecurityPolicy: string;
}

/** Reads the page that the build left; throws what the file system says. */
export function readPage(path: string | URL): Page {
  return pageOf(readFileSync(path, 'utf8'));
}

/**
 * The page is one file with its script and its style inside. They are allowed by their digests, so
 * nothing that gets into the page by another way runs or is loaded; what a proxy called itself
 * cannot become markup either (trusted types).
 */
export function pageOf(html: string): Page {
  const directives = [
    "default-src 'none'",
    `script-src ${digests(html, 'script')}`,
    `style-src ${digests(html, 'style')}`,
    "connect-src 'self'",
    // The icon, which is in the page as well.
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  return { html: Buffer.from(html), contentSecurityPolicy: directives.join('; ') };
}

function digests(html: string, element: 'script' | 'style'): string {
  const found = html.matchAll(new RegExp(`<${element}[^>]*>(.*?)</${element}>`, 'gs'));
  const list = Array.from(found, ([, text = '']) => {
    return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  });
  return list.length === 0 ? "'none'" : list.join(' ');
}
