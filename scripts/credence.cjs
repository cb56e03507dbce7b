#!/usr/bin/env node
// What `npx credence` runs in a clone: the build in dist/, or one line on how to make it. It has to be
// here before there is a build, or npm would look for the command elsewhere.
'use strict';
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const built = join(__dirname, '../dist/credence.js');
if (existsSync(built)) {
  // As if called by its own name: which clone an executable belongs to is told by that.
  process.argv[1] = built;
  require(built);
} else {
  process.stderr.write('credence: not built yet: npm start builds and runs it, npm ci builds it\n');
  process.exitCode = 1;
}
