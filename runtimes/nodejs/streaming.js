// Handlers made with `awslambda.streamifyResponse`: the response goes out in pieces while the handler
// writes it; an error after the first byte makes an error of the whole.
'use strict';

const { Writable } = require('stream');
const { InvalidStreamingOperation } = require('./errors.js');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

class ResponseStream extends Writable {
  constructor(client, id, highWaterMark) {
    super({ decodeStrings: true, ...(highWaterMark > 0 ? { highWaterMark } : {}) });
    this.client = client;
    this.id = id;
    this.contentType = 'application/octet-stream';
    this.started = null;
    this.answered = new Promise((resolve, reject) => { this.resolveAnswer = resolve; this.rejectAnswer = reject; });
    this.answered.catch(() => {});
  }

  setContentType(contentType) {
    if (this.started) throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    this.contentType = contentType;
  }

  write(chunk, encoding, callback) {
    const plain = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  start() {
    if (!this.started) {
      this.started = this.client.stream(this.id, this.contentType).then((line) => {
        if (this._onBeforeFirstWrite) this._onBeforeFirstWrite((data) => piece(line, Buffer.from(data)));
        return line;
      });
    }
    return this.started;
  }

  _write(data, _encoding, callback) {
    this.start().then((line) => piece(line, data, callback), callback);
  }

  _final(callback) {
    this.start().then((line) => {
      const ended = (error) => {
        line.answered.then(this.resolveAnswer, this.rejectAnswer);
        callback(error);
      };
      if (this.failure) line.fail(this.failure, ended);
      else line.end(ended);
    }, callback);
  }

  fail(error) {
    this.failure = error;
    this.end();
  }
}

function piece(line, data, callback) {
  if (data.length === 0) return callback && callback();
  return line.write(data, callback);
}

function serve(call) {
  const stream = new ResponseStream(call.client, call.id, call.handler[HIGH_WATER_MARK]);
  let waits = true;
  const context = {
    get callbackWaitsForEmptyEventLoop() { return waits; },
    set callbackWaitsForEmptyEventLoop(value) { waits = value; },
  };
  const next = () => {
    if (waits) call.setBeforeExit(() => { call.setBeforeExit(null); call.done(); });
    else call.done();
  };
  const fail = (error) => {
    call.logError('Invoke Error', error);
    // Before the first byte there is nothing to break off, so the error is the answer.
    if (!stream.started) call.client.postError(call.id, error).then(call.done, call.done);
    else {
      if (!stream.writableEnded) stream.fail(error);
      stream.answered.then(call.done, call.done);
    }
  };
  call.setBeforeExit(() => { call.setBeforeExit(null); fail(new Error('Response stream is not finished.')); });
  let result;
  try {
    result = call.handler(JSON.parse(call.body), stream, Object.assign(context, call.contextOf(call)));
  } catch (error) {
    fail(error);
    return;
  }
  if (!result || typeof result.then !== 'function') {
    fail(new Error('Streaming does not support non-async handlers.'));
    return;
  }
  result.then((value) => {
    if (value !== undefined) console.warn('Streaming handlers ignore return values.');
    if (!stream.writableEnded) {
      fail(new Error('Response stream is not finished.'));
      return undefined;
    }
    return stream.answered.then(next, fail);
  }, fail);
}

module.exports = { serve };
