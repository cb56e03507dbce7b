#!/usr/bin/env node
// Runs the bundle from V8's compiled form of it, which halves the time to the first secret. The
// build makes that form on the machine and Node version it is for; any other one compiles anew.
'use strict';
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Script } = require('node:vm');

const filename = join(__dirname, 'bundle.cjs');
let cachedData;
try {
  cachedData = readFileSync(join(__dirname, 'bundle.cache'));
} catch {
  // Built where the daemon could not be started: it compiles at each start.
}
// The bundle is one function, in ASCII: Latin-1 is what V8 keeps without converting.
const script = new Script(readFileSync(filename, 'latin1'), { filename, cachedData });
script.runInThisContext()(require, module, exports, filename, __dirname);
module.exports = script;
