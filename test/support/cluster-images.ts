import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { envoyBinary } from './envoy-binary.ts';
import { writeImage } from './images.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BUSYBOX_APPLETS = ['sh', 'sleep', 'wget', 'httpd', 'mkdir', 'echo', 'true'];

/** The images that the manifests name, out of what is on this machine. */
export async function writeClusterImages(folder: string): Promise<string[]> {
  const own = join(ROOT, '.cache/image/credence.tar');
  assert.ok(existsSync(own), `no ${own}: npm run test:real builds it`);
  const busybox = { '/bin/busybox': '/bin/busybox' };
  const others = [
    {
      ...{ name: 'credence.test/pause:1.0.0', executables: busybox },
      ...{ links: { '/bin/sleep': 'busybox' }, entrypoint: ['/bin/sleep', '2147483647'] },
    },
    {
      ...{ name: 'docker.io/library/busybox:1.37.0', executables: busybox },
      links: Object.fromEntries(BUSYBOX_APPLETS.map((name) => [`/bin/${name}`, 'busybox'])),
      entrypoint: ['/bin/sh'],
    },
    {
      name: 'docker.io/envoyproxy/envoy:distroless-v1.40.0',
      executables: { '/usr/local/bin/envoy': await envoyBinary('1.40') },
      entrypoint: ['/usr/local/bin/envoy'],
    },
  ];
  return [own, ...others.map((parts) => writeImage(folder, parts))];
}
