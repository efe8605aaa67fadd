// Compiled code, from one init of a function to the next.
//
// V8 compiles a function of JavaScript when it is called first, and an init calls thousands. What an
// instance has compiled when its init is over, and before it has seen an event, the platform keeps
// and gives to the function's later instances: they read it where they would compile. An entry is
// found by the digest of the whole source, so one that has changed is compiled as ever; so is what
// V8 refuses (another version or other flags of its own).
//
// Of CommonJS modules alone: Node.js has no way in for an ES module's code (`module.enableCompileCache()`
// of 22.1 has, for a folder that an instance would have to be able to write).
//
//   u32 entries, u32 | each: digest 32, length u32, u32, code, as many bytes as make a multiple of 8
'use strict';

const { createHash } = require('crypto');
const Module = require('module');
const path = require('path');
const vm = require('vm');

// So that `import()` inside works as everywhere: Node.js 20.12, 21.7. Without it nothing is done.
const LOADER = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
// Code that V8 before 12 (Node.js 22) has read does not know where its script came from, and
// `import()` fails in it. There, a source that has one, or a text that looks like one, is left alone.
const IMPORTS_ARE_LOST = Number(process.versions.v8.split('.')[0]) < 12;
const AN_IMPORT = /\bimport\s*(?:\(|\/[*/])/;
// A module this small is compiled as quickly as it is looked up.
const SOURCE_MIN = 1 << 10;
// An init that loads less than this gains nothing that a caller would notice.
const SOURCES_MIN = 64 << 10;
const ENTRIES_MAX = 8192;
const CODE_BYTES_MAX = 16 << 20;
const DIGEST = 32;
const HEAD = DIGEST + 8;
const [BEFORE, AFTER] = ['(function (exports, require, module, __filename, __dirname) { ', '\n})'];

const wrap = Module.wrap;
if (LOADER !== undefined) warnUnheard();

// From here on modules are compiled with `given`, what `take` made in another instance (or nothing);
// `wanted`, whether this one's code is asked for. Returns what ends that, and then has the code:
// nothing where it is not asked for or not worth another instance's while.
function watch(given, wanted) {
  if (LOADER === undefined) return () => undefined;
  const known = given ? parse(given) : new Map();
  const scripts = [];
  const compile = Module.prototype._compile;
  let isOver = false;

  function _compile(content, filename, ...rest) {
    const script = isOver ? undefined : scriptOf(known, content, filename, rest[0]);
    if (script === undefined) return Reflect.apply(compile, this, [content, filename, ...rest]);
    if (wanted) scripts.push([content, script]);
    const run = script.runInThisContext();
    return Reflect.apply(run, this.exports, [this.exports, requireOf(this, filename), this, filename, path.dirname(filename)]);
  }

  Module.prototype._compile = _compile;
  return () => {
    isOver = true;
    known.clear();
    // Somebody who has wrapped ours since keeps it, and goes through it to Node's.
    if (Module.prototype._compile === _compile) Module.prototype._compile = compile;
    return wanted ? take(scripts) : undefined;
  };
}

// What is compiled our way: what Node.js would compile as a CommonJS module and in no special manner.
function scriptOf(known, content, filename, format) {
  if (typeof content !== 'string' || content.length < SOURCE_MIN || content.startsWith('#!')) return undefined;
  if (format !== undefined && format !== 'commonjs') return undefined;
  if (process.sourceMapsEnabled || Module.wrap !== wrap || !path.isAbsolute(filename)) return undefined;
  if (IMPORTS_ARE_LOST && AN_IMPORT.test(content)) return undefined;
  const cachedData = known.size === 0 ? undefined : known.get(digestOf(content).latin1Slice());
  try {
    return new vm.Script(BEFORE + content + AFTER, {
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

// The `require` of a module, as Node.js makes it: but for the way in it knows the file alone.
function requireOf(module, filename) {
  const { resolve, main, extensions, cache } = Module.createRequire(filename);
  function require(id) { return module.require(id); }
  return Object.assign(require, { resolve, main, extensions, cache });
}

function take(scripts) {
  let sources = 0;
  for (const [content] of scripts) sources += content.length;
  if (sources < SOURCES_MIN || scripts.length > ENTRIES_MAX) return undefined;
  const pieces = [Buffer.alloc(8)];
  let length = 8;
  let entries = 0;
  for (const [content, script] of scripts) {
    const code = script.createCachedData();
    const end = length + HEAD + code.length;
    const next = aligned(end);
    if (next > CODE_BYTES_MAX) break;
    const head = Buffer.alloc(HEAD);
    digestOf(content).copy(head);
    head.writeUInt32LE(code.length, DIGEST);
    pieces.push(head, code, Buffer.alloc(next - end));
    [length, entries] = [next, entries + 1];
  }
  pieces[0].writeUInt32LE(entries, 0);
  return Buffer.concat(pieces, length);
}

// Digest, as text, to code. What does not read is left out.
function parse(given) {
  const known = new Map();
  let at = 8;
  for (let left = given.length < at ? 0 : given.readUInt32LE(0); left > 0 && at + HEAD <= given.length; left -= 1) {
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
    new vm.Script("import('node:fs')", { filename: __filename, importModuleDynamically: LOADER }).runInThisContext();
  } finally {
    process.emitWarning = warn;
  }
}

function aligned(at) { return Math.ceil(at / 8) * 8; }

function digestOf(content) { return createHash('sha256').update(content).digest(); }

module.exports = { watch };
