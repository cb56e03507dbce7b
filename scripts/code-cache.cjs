// Started by the build, inside a folder with a configuration: runs the bundle as the daemon, lets it
// serve a client, and writes V8's compiled form of what that took.
//   node code-cache.cjs DIST CONFIG SOCKET
'use strict';
const { execFile } = require('node:child_process');
const { existsSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const [, , dist, config, socket] = process.argv;
const launcher = join(dist, 'credence.js');
process.argv = [process.execPath, launcher, 'run', '--config', config];
const script = require(launcher);

const deadline = Date.now() + 10_000;
(function look() {
  if (Date.now() > deadline) process.exit(1);
  if (!existsSync(socket)) return setTimeout(look, 20);
  execFile(process.execPath, [launcher, 'fetch', 'bundles', '--socket', socket], (error) => {
    if (error) {
      console.error(error.message);
      process.exit(1);
    }
    writeFileSync(join(dist, 'bundle.cache'), script.createCachedData());
    process.exit(0);
  });
})();
