// Direct frames over the socket that this process was executed with: one read and one write per event.
//
// Every frame begins with eight bytes, little-endian: length of the rest (u32), kind (u8), flags
// (u8), length of a text (u16). The host speaks, we answer; docs/decisions/0009-direct-frames.md has
// the table. The socket is referenced only between two events, so that "the event loop is empty"
// means what the function's author expects.
'use strict';

const fs = require('fs');
const net = require('net');
const { toRapidResponse } = require('./errors.js');

const VERSION = 1;
const GREET = 1, BEGIN = 2, EVENT = 3, REHEARSE = 4, PREPARE = 5, RESUME = 6, GIVE_CODE = 8;
const HELLO = 1, READY = 2, INIT_ERROR = 3, ANSWER = 4, ERROR = 5, PIECE = 6, END = 7;
const REHEARSED = 8, UNFIT = 10, CODE = 11;
const LAST = 1, MORE = 2, WANTS_CODE = 1;

const HEAD = 8;
const ID = 36;
const EVENT_FIXED = ID + 16;
const BUFFER_BYTES = 65536;
const TEXT_BYTES_MAX = 256;
const JSON_TYPE = 'application/json';

class Line {
  // `listening(line)` is what its frames set off: event(call), begin(again, code), rehearse(done),
  // gone(error). `code` is what is asked of a begin: { given, wanted } of code.js, or nothing.
  constructor(descriptor, listening) {
    this.fd = descriptor;
    this.listeners = listening(this);
    this.id = '';
    this.given = null;
    // One buffer for what comes and one for what goes: both are done with before they are used again.
    this.out = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.frame = null;
    this.have = 0;
    const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.socket = new net.Socket({
      fd: descriptor,
      readable: true,
      writable: true,
      onread: { buffer, callback: (size, data) => { this.received(data, size); return true; } },
    });
    const gone = () => this.listeners.gone(new Error('the host closed the line'));
    this.socket.on('error', gone);
    this.socket.on('end', gone);
    this.socket.resume();
  }

  // One that is only written to.
  static into(descriptor, listening) {
    const line = Object.create(Line.prototype);
    const socket = { writableLength: 0, ref() {}, unref() {} };
    Object.assign(line, { fd: descriptor, listeners: null, id: '', given: null, out: Buffer.allocUnsafe(BUFFER_BYTES), frame: null, have: 0, socket });
    line.listeners = listening(line);
    return line;
  }

  received(data, size) {
    if (this.frame === null && size >= HEAD) {
      const end = HEAD + data.readUInt32LE(0);
      if (end === size) {
        this.on(data[4], data, end);
        return;
      }
    }
    this.collect(data.subarray(0, size));
  }

  // A frame in several reads, or more than one in a read.
  collect(piece) {
    this.frame = this.frame === null ? Buffer.from(piece) : this.grown(piece);
    while (this.frame !== null) {
      const have = this.have || this.frame.length;
      if (have < HEAD) return;
      const end = HEAD + this.frame.readUInt32LE(0);
      if (have < end) {
        // Room for all of it, once.
        if (this.have === 0) {
          const whole = Buffer.allocUnsafe(end);
          this.frame.copy(whole);
          this.frame = whole;
          this.have = have;
        }
        return;
      }
      const whole = this.frame;
      this.frame = have > end ? Buffer.from(whole.subarray(end, have)) : null;
      this.have = 0;
      this.on(whole[4], whole, end);
    }
  }

  grown(piece) {
    if (this.have === 0) return Buffer.concat([this.frame, piece]);
    const fits = Math.min(piece.length, this.frame.length - this.have);
    piece.copy(this.frame, this.have, 0, fits);
    this.have += fits;
    if (fits === piece.length) return this.frame;
    const both = Buffer.concat([this.frame, piece.subarray(fits)]);
    this.have = 0;
    return both;
  }

  on(kind, frame, end) {
    switch (kind) {
      case EVENT:
        this.listeners.event(this.event(frame, end));
        break;
      case GREET:
        this.word(HELLO, VERSION);
        break;
      case BEGIN:
      case RESUME:
        apply(frame.utf8Slice(HEAD, end), kind === BEGIN);
        this.listeners.begin(kind === RESUME, this.code(kind === BEGIN && frame[5] === WANTS_CODE));
        break;
      case GIVE_CODE:
        // A copy: a frame lies in a buffer that is used again.
        this.given = Buffer.from(frame.subarray(HEAD, end));
        break;
      case REHEARSE:
        this.listeners.rehearse(() => this.word(REHEARSED, 0));
        break;
      case PREPARE:
        this.unfit();
        break;
      default:
        this.listeners.gone(new Error(`the host sent a frame of kind ${kind}`));
    }
  }

  event(frame, end) {
    const at = HEAD + EVENT_FIXED;
    const arn = at + frame.readUInt16LE(HEAD + ID + 8);
    const trace = arn + frame.readUInt16LE(HEAD + ID + 10);
    const context = trace + frame.readUInt32LE(HEAD + ID + 12);
    this.id = frame.latin1Slice(HEAD, HEAD + ID);
    return {
      id: this.id,
      deadline: frame.readUInt32LE(HEAD + ID) + frame.readUInt32LE(HEAD + ID + 4) * 0x100000000,
      arn: frame.utf8Slice(at, arn),
      trace: frame.latin1Slice(arn, trace),
      clientContext: context > trace ? frame.utf8Slice(trace, context) : undefined,
      body: frame.utf8Slice(context, end),
    };
  }

  code(wanted) {
    const { given } = this;
    this.given = null;
    return wanted || given !== null ? { given, wanted } : undefined;
  }

  // The loop stays for the next event, or leaves with the function's last work.
  wait() { this.socket.ref(); }

  run() { this.socket.unref(); }

  ready() { return this.word(READY, VERSION); }

  // What init has compiled, before it is ready: entry by entry, each sent before the next is made.
  async handOver(entries) {
    for (const pieces of entries) {
      const head = Buffer.alloc(HEAD);
      head.writeUInt32LE(pieces.reduce((sum, piece) => sum + piece.length, 0), 0);
      head[4] = CODE;
      this.socket.cork();
      for (const piece of [head, ...pieces]) this.socket.write(piece);
      const sent = new Promise((resolve) => { this.socket.write('', resolve); });
      this.socket.uncork();
      await sent;
    }
  }

  // Once the function's own code has returned: what stands behind `context.succeed()` runs before
  // the platform takes the instance for free, or does not answer at all where it ends the process.
  postResponse(id, text) {
    return SENT.then(() => this.answer(ANSWER, 0, id, JSON_TYPE, text));
  }

  postError(id, error, isLast) {
    const response = toRapidResponse(error);
    const [type, text] = [short(response.errorType), JSON.stringify(response)];
    if (isLast) return this.answer(ERROR, LAST, id, type, text);
    return SENT.then(() => this.answer(ERROR, 0, id, type, text));
  }

  postInitError(error) {
    const response = toRapidResponse(error);
    return this.answer(INIT_ERROR, 0, '', short(response.errorType), JSON.stringify(response));
  }

  // A streamed answer: what to write its pieces with. `fail` and `end` are its end.
  stream(id, contentType) {
    return this.answer(ANSWER, MORE, id, short(contentType), '').then(() => ({
      write: (data, callback) => this.piece(data, callback),
      end: (callback) => { this.word(END, 0).then(callback, callback); },
      fail: (error, callback) => { this.postError(id, error).then(callback, callback); },
      answered: Promise.resolve(),
    }));
  }

  piece(data, callback) {
    const head = Buffer.alloc(HEAD);
    head.writeUInt32LE(data.length, 0);
    head[4] = PIECE;
    this.socket.cork();
    this.socket.write(head);
    this.socket.write(data, callback);
    this.socket.uncork();
  }

  // Threads are what Node is made of; an image carries one.
  unfit() {
    const tasks = fs.readdirSync('/proc/self/task').length;
    const text = Buffer.from(`${tasks} threads of Node.js's own`);
    const frame = Buffer.alloc(HEAD + text.length);
    frame.writeUInt32LE(text.length, 0);
    frame[4] = UNFIT;
    text.copy(frame, HEAD);
    return this.send(frame, frame.length);
  }

  word(kind, text) {
    const out = Buffer.alloc(HEAD);
    out[4] = kind;
    out.writeUInt16LE(text, 6);
    return this.send(out, HEAD);
  }

  answer(kind, flags, id, text, body) {
    const textBytes = text === JSON_TYPE ? text.length : Buffer.byteLength(text);
    const at = HEAD + id.length + textBytes;
    // Three bytes for each unit of UTF-16 is the most that UTF-8 takes.
    const most = at + body.length * 3;
    const out = most <= BUFFER_BYTES ? this.out : Buffer.allocUnsafe(at + Buffer.byteLength(body));
    const end = at + out.utf8Write(body, at);
    out.writeUInt32LE(end - HEAD, 0);
    out[4] = kind;
    out[5] = flags;
    out.writeUInt16LE(textBytes, 6);
    out.latin1Write(id, HEAD);
    out.utf8Write(text, HEAD + id.length);
    return this.send(out, end);
  }

  // At once where the socket takes it, else as far as it does and the rest when it can.
  send(data, end) {
    let sent = 0;
    if (this.socket.writableLength === 0) {
      try {
        sent = fs.writeSync(this.fd, data, 0, end);
      } catch (error) {
        if (error.code !== 'EAGAIN') {
          this.listeners.gone(error);
          return SENT;
        }
      }
      if (sent === end) return SENT;
    }
    const rest = Buffer.from(data.subarray(sent, end));
    return new Promise((resolve) => { this.socket.write(rest, resolve); });
  }
}

const SENT = Promise.resolve();

// The frame of an event, as the host writes it: of the request id of zeroes, without a deadline.
function eventFrame(arn, trace, body) {
  const fixed = Buffer.alloc(HEAD + EVENT_FIXED);
  const rest = Buffer.from(arn + trace + body);
  fixed.writeUInt32LE(EVENT_FIXED + rest.length, 0);
  fixed[4] = EVENT;
  fixed.fill('0', HEAD, HEAD + ID);
  fixed.writeUInt16LE(arn.length, HEAD + ID + 8);
  fixed.writeUInt16LE(trace.length, HEAD + ID + 10);
  return Buffer.concat([fixed, rest]);
}

// The frame of a begin, as the host writes it where it wants the code.
function beginFrame(variables) {
  const text = Object.entries(variables).map(([name, value]) => `${name}=${value}`).join('\0');
  const frame = Buffer.alloc(HEAD + Buffer.byteLength(text));
  frame.writeUInt32LE(frame.length - HEAD, 0);
  frame[4] = BEGIN;
  frame[5] = WANTS_CODE;
  frame.utf8Write(text, HEAD);
  return frame;
}

// The variables as the platform gave them last.
const given = new Map();

// The variables of a frame; child processes see them too. The first time all of them, later only
// those that init has left as they were given: what it changed is the function's.
function apply(text, isFirst) {
  for (const entry of text.split('\0')) {
    const equals = entry.indexOf('=');
    if (equals <= 0) continue;
    const [name, value] = [entry.slice(0, equals), entry.slice(equals + 1)];
    const now = process.env[name];
    // Setting some has a price even where nothing changes: TZ makes V8 forget all of its dates.
    if (now !== value && (isFirst || now === given.get(name))) process.env[name] = value;
    given.set(name, value);
  }
}

// What `apply` noted.
function forget() { given.clear(); }

function short(text) {
  let cut = String(text).slice(0, TEXT_BYTES_MAX);
  while (Buffer.byteLength(cut) > TEXT_BYTES_MAX) cut = cut.slice(0, -1);
  return cut;
}

module.exports = { Line, beginFrame, eventFrame, forget };
