// Compiled code, from one init of a function to the next.
//
// V8 compiles a function of JavaScript when it is called first, and an init calls thousands. What an
// instance has compiled when its init is over, and before it has seen an event, the platform keeps
// and gives to the function's later instances: they read it where they would compile. An entry is
// found by the digest of the whole source, so one that has changed is compiled as ever; so is what
// V8 refuses (another version or other flags of its own).
//
// Of CommonJS modules alone: Node.js has no way in for an ES module's code (`module.enableCompileCache()`
// has, for a folder that an instance would have to be able to write).
//
//   entries, one after the other: digest 32, length u32, u32, code, as many bytes as make a multiple of 8
'use strict';

const { createHash } = require('crypto');
const Module = require('module');
const path = require('path');
const vm = require('vm');

// Code that V8 before 12 has read does not know where its script came from, and `import()` fails in
// it. So this begins with Node.js 22.
const READS = Number(process.versions.v8.split('.')[0]) >= 12;
const LOADER = READS ? vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER : undefined;
// A module this small is compiled as quickly as it is looked up.
const SOURCE_MIN = 1 << 10;
// An init that loads less than this gains nothing that a caller would notice.
const SOURCES_MIN = 64 << 10;
// Making the code takes a few times its size: more source than this part of the memory has none made.
const SOURCES_OF_MEMORY = 1 / 32;
const ENTRIES_MAX = 8192;
const CODE_BYTES_MAX = 16 << 20;
const DIGEST = 32;
const HEAD = DIGEST + 8;
const [BEFORE, AFTER] = ['(function (exports, require, module, __filename, __dirname) { ', '\n})'];

// By which Node.js knows that a module is in the middle of its run: `require()` of an ES module that leads
// back to it is refused then. This one is in the middle of its own.
const EXECUTING = Object.getOwnPropertySymbols(module).find((one) => one.description === 'kIsExecuting');

const { Script } = vm;
const { wrap } = Module;
const wrapper = [...Module.wrapper];
if (READS) warnUnheard();

// From here on modules are compiled with `given`, what `entries` made in another instance (or
// nothing); `wanted`, whether this one's code is asked for. Returns what ends that, and then has
// entries: nothing where they are not asked for or not worth another instance's while.
function watch(given, wanted) {
  // Whoever gives Node.js options or a cache of their own has it compile in their manner.
  if (!READS || process.env.NODE_OPTIONS || process.env.NODE_COMPILE_CACHE) return () => undefined;
  const known = given ? parse(given) : new Map();
  const scripts = [];
  const compile = Module.prototype._compile;
  let isOver = false;

  function _compile(content, filename, ...rest) {
    const script = isOver ? undefined : scriptOf(known, content, filename, rest[0]);
    if (script === undefined) return Reflect.apply(compile, this, [content, filename, ...rest]);
    if (wanted) scripts.push([content, script]);
    const run = script.runInThisContext();
    const named = [this.exports, requireOf(this, filename), this, filename, path.dirname(filename)];
    if (EXECUTING === undefined) return Reflect.apply(run, this.exports, named);
    // After an error it stays, as Node.js leaves it.
    this[EXECUTING] = true;
    const result = Reflect.apply(run, this.exports, named);
    this[EXECUTING] = false;
    return result;
  }

  try {
    Module.prototype._compile = _compile;
  } catch (_) {
    return () => undefined;
  }
  return () => {
    isOver = true;
    known.clear();
    try {
      // Somebody who has wrapped ours since keeps it, and goes through it to Node's.
      if (Module.prototype._compile === _compile) Module.prototype._compile = compile;
    } catch (_) { /* frozen: ours is a way to Node's from here on */ }
    return wanted && isWorth(scripts) ? entries(scripts) : undefined;
  };
}

// What is compiled our way: what Node.js would compile as a CommonJS module and in no special manner.
function scriptOf(known, content, filename, format) {
  if (typeof content !== 'string' || content.length < SOURCE_MIN || content.startsWith('#!')) return undefined;
  if (format !== undefined && format !== 'commonjs') return undefined;
  if (process.sourceMapsEnabled || !path.isAbsolute(filename)) return undefined;
  if (Module.getCompileCacheDir?.() !== undefined) return undefined;
  if (Module.wrap !== wrap || Module.wrapper[0] !== wrapper[0] || Module.wrapper[1] !== wrapper[1]) return undefined;
  // What UTF-8 cannot tell apart has one digest.
  if (!content.isWellFormed()) return undefined;
  const cachedData = known.size === 0 ? undefined : known.get(digestOf(content).latin1Slice());
  try {
    return new Script(BEFORE + content + AFTER, {
      filename,
      columnOffset: -BEFORE.length,
      cachedData,
      importModuleDynamically: LOADER,
    });
  } catch (_) {
    // Whatever it is, Node.js says it in its own words.
    return undefined;
  }
}

// The `require` of a module, as Node.js makes it.
function requireOf(module, filename) {
  const { resolve: ofFile, main, extensions, cache } = Module.createRequire(filename);
  function require(id) { return module.require(id); }
  // Its paths are the module's own, which somebody may have changed.
  function resolve(request, options) {
    return typeof request === 'string' ? Module._resolveFilename(request, module, false, options) : ofFile(request);
  }
  function paths(request) {
    return typeof request === 'string' ? Module._resolveLookupPaths(request, module) : ofFile.paths(request);
  }
  resolve.paths = paths;
  return Object.assign(require, { resolve, main, extensions, cache });
}

function isWorth(scripts) {
  let sources = 0;
  for (const [content] of scripts) sources += content.length;
  const most = Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE) * 1048576 * SOURCES_OF_MEMORY;
  return sources >= SOURCES_MIN && !(sources > most) && scripts.length <= ENTRIES_MAX;
}

// Each as pieces, made when it is asked for: one is with its reader before the next is made.
function* entries(scripts) {
  let left = CODE_BYTES_MAX;
  for (const [content, script] of scripts) {
    let pieces;
    try {
      const code = script.createCachedData();
      const head = Buffer.alloc(HEAD);
      digestOf(content).copy(head);
      head.writeUInt32LE(code.length, DIGEST);
      pieces = [head, code, Buffer.alloc(aligned(code.length) - code.length)];
    } catch (_) {
      return;
    }
    left -= HEAD + aligned(pieces[1].length);
    if (left < 0) return;
    yield pieces;
  }
}

// Digest, as text, to code. What does not read is left out.
function parse(given) {
  const known = new Map();
  for (let at = 0; at + HEAD <= given.length;) {
    const code = at + HEAD;
    const end = code + given.readUInt32LE(at + DIGEST);
    if (end > given.length) break;
    known.set(given.latin1Slice(at, at + DIGEST), given.subarray(code, end));
    at = aligned(end);
  }
  return known;
}

// Node.js warns of that loader once in a process, where a function's first log line would be.
function warnUnheard() {
  const warn = process.emitWarning;
  process.emitWarning = () => {};
  try {
    new Script("import('node:fs')", { filename: __filename, importModuleDynamically: LOADER }).runInThisContext();
  } finally {
    process.emitWarning = warn;
  }
}

function aligned(at) { return Math.ceil(at / 8) * 8; }

function digestOf(content) { return createHash('sha256').update(content).digest(); }

module.exports = { watch };
