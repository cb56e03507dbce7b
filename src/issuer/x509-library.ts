/**
 * The X.509 library, loaded when a CA certificate is made: it costs about 150 ms at start, and a
 * daemon that continues with its authorities never needs it.
 */
export async function loadX509Library() {
  // Its container of decorators asks for this polyfill to be there first.
  await import('reflect-metadata');
  // CommonJS: its default export is all there is once the daemon is bundled.
  return (await import('@peculiar/x509')).default;
}
