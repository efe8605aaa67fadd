// A function of ours, loaded as a function is and run through everything of ours, before anybody
// waits: what a start and an event need is loaded and compiled then.
//
// No function's code is touched, and nothing stays that a function could see: what was loaded is
// forgotten, globals and variables are what they were, and nothing is printed.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { format } = require('util');
const console_ = require('./console.js');
const { Line, eventFrame } = require('./frames.js');
const handlers = require('./handler.js');
require('./streaming.js');

// What most functions load, directly or in their libraries.
for (const name of ['crypto', 'events', 'fs/promises', 'https', 'os', 'stream', 'url', 'zlib']) require(name);

const ROOT = path.join(__dirname, 'rehearsal');
const EVENT = eventFrame('arn', 'Root=1', '{"text":"\u00e9","numbers":[1,2.5,-3e8],"nothing":null,"nested":{"is":[true]}}');
// How often a CommonJS package is loaded, and how many events each handler then takes.
const LOADS = 3;
const EVENTS = 10;
const TELEMETRY = '_LAMBDA_TELEMETRY_LOG_FD';
const TRACE = '_X_AMZN_TRACE_ID';

// `run(line, handler, event, done)` is how an event is run.
async function rehearse(run) {
  const before = { ...console };
  const telemetry = process.env[TELEMETRY];
  const nowhere = fs.openSync('/dev/null', 'w');
  try {
    const round = (root) => perform(root, nowhere, run);
    for (let load = 0; load < LOADS; load += 1) await round(ROOT);
    await round(path.join(ROOT, 'module'));
    // What a function's first line would make and compile.
    format(typeof process.stdout, typeof process.stderr, { a: [1] });
  } finally {
    fs.closeSync(nowhere);
    delete globalThis.awslambda;
    delete process.env[TRACE];
    if (telemetry !== undefined) process.env[TELEMETRY] = telemetry;
    console_.forget();
    for (const name of Object.keys(console)) if (!(name in before)) delete console[name];
    Object.assign(console, before);
  }
  // A function's init finds an empty nursery.
  if (globalThis.gc) globalThis.gc({ type: 'minor' });
}

async function perform(root, descriptor, run) {
  process.chdir(process.cwd());
  console_.patch();
  const handler = await handlers.load(root, 'index.handler');
  for (let event = 0; event < EVENTS; event += 1) {
    await new Promise((done) => {
      const line = Line.into(descriptor, { event: (call) => run(line, handler, call, done) });
      line.received(EVENT, EVENT.length);
    });
  }
  forget();
}

function forget() {
  const isOurs = (file) => file.startsWith(ROOT + path.sep);
  for (const file of Object.keys(require.cache).filter(isOurs)) delete require.cache[file];
  for (const [key, file] of Object.entries(Module._pathCache)) if (isOurs(file)) delete Module._pathCache[key];
  const loader = require.cache[require.resolve('./handler.js')];
  loader.children = loader.children.filter((child) => !isOurs(child.filename));
}

module.exports = { rehearse };
