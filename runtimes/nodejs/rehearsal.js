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
const frames = require('./frames.js');
require('./code.js');
require('./handler.js');
require('./streaming.js');

// What most functions load, directly or in their libraries.
for (const name of ['crypto', 'events', 'fs/promises', 'https', 'os', 'stream', 'url', 'zlib']) require(name);

const ROOT = path.join(__dirname, 'rehearsal');
const EVENT = frames.eventFrame('arn', 'Root=1', '{"text":"\u00e9","numbers":[1,2.5,-3e8],"nothing":null,"nested":{"is":[true]}}');
// How often a CommonJS package is loaded, and how many events each handler then takes.
const LOADS = 6;
const EVENTS = 10;
// Loading a package takes names apart, byte by byte. V8 would find that hot within the function's own
// init, and compile it there for milliseconds beside it; so many times, it has found it before.
const NAMES = 1000;
const TRACE = '_X_AMZN_TRACE_ID';

// `listening` is what index.js does with the frames of a line.
async function rehearse(listening) {
  const before = { ...console };
  const variables = { ...process.env };
  const nowhere = fs.openSync('/dev/null', 'w');
  try {
    for (let name = 0; name < NAMES; name += 1) path.resolve(ROOT, 'rehearsal', `.${path.sep}index`);
    const round = (root) => perform(root, frames.Line.into(nowhere, listening));
    for (let load = 0; load < LOADS; load += 1) await round(ROOT);
    await round(path.join(ROOT, 'module'));
    // What a function's first line would make and compile.
    format(typeof process.stdout, typeof process.stderr, { a: [1] });
  } finally {
    fs.closeSync(nowhere);
    delete globalThis.awslambda;
    delete process.env[TRACE];
    for (const name of Object.keys(process.env)) if (!(name in variables)) delete process.env[name];
    Object.assign(process.env, variables);
    frames.forget();
    console_.forget();
    for (const name of Object.keys(console)) if (!(name in before)) delete console[name];
    Object.assign(console, before);
  }
  // A function's init finds an empty nursery.
  if (globalThis.gc) globalThis.gc({ type: 'minor' });
}

// A function's life as the platform tells it, until it waits for the next event.
async function perform(root, line) {
  const home = process.cwd();
  const hears = (frame) => new Promise((waits) => {
    line.wait = waits;
    line.received(frame, frame.length);
  });
  await hears(frames.beginFrame(variablesOf(root)));
  for (let event = 0; event < EVENTS; event += 1) await hears(EVENT);
  process.chdir(home);
  forget();
}

// As many as a function has, of names that nobody has.
function variablesOf(root) {
  const variables = { LAMBDA_TASK_ROOT: root, _HANDLER: 'index.handler' };
  for (let number = 0; number < 24; number += 1) variables[`_FREEHOLD_REHEARSAL_${number}`] = root;
  return variables;
}

function forget() {
  const isOurs = (file) => file.startsWith(ROOT + path.sep);
  for (const file of Object.keys(require.cache).filter(isOurs)) delete require.cache[file];
  for (const [key, file] of Object.entries(Module._pathCache)) if (isOurs(file)) delete Module._pathCache[key];
  const loader = require.cache[require.resolve('./handler.js')];
  loader.children = loader.children.filter((child) => !isOurs(child.filename));
}

module.exports = { rehearse };
