// Handlers made with `awslambda.streamifyResponse`: the response goes out in chunks while the handler
// writes it; an error after the first byte travels in the trailer, as the Runtime API has it.
'use strict';

const { Writable } = require('stream');
const { InvalidStreamingOperation, toRapidResponse } = require('./errors.js');
const { headerSafe } = require('./client.js');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';

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
    if (this.started) return this.started;
    this.started = new Promise((resolve) => {
      this.client.enqueue((socket) => {
        this.socket = socket;
        socket.write([
          `POST /2018-06-01/runtime/invocation/${this.id}/response HTTP/1.1`,
          `Host: ${this.client.address}`,
          'Lambda-Runtime-Function-Response-Mode: streaming',
          `Trailer: ${ERROR_TYPE}, ${ERROR_BODY}`,
          `Content-Type: ${headerSafe(this.contentType)}`,
          'Transfer-Encoding: chunked',
        ].join('\r\n') + '\r\n\r\n');
        if (this._onBeforeFirstWrite) this._onBeforeFirstWrite((data) => this.chunk(Buffer.from(data)));
        resolve();
      }).then(this.resolveAnswer, this.rejectAnswer);
    });
    return this.started;
  }

  chunk(data, callback) {
    if (data.length === 0) return callback && callback();
    this.socket.write(`${data.length.toString(16)}\r\n`);
    this.socket.write(data);
    return this.socket.write('\r\n', callback);
  }

  _write(data, _encoding, callback) {
    this.start().then(() => this.chunk(data, callback), callback);
  }

  _final(callback) {
    this.start().then(() => {
      this.socket.write(`0\r\n${this.trailer || ''}\r\n`, callback);
    }, callback);
  }

  fail(error) {
    const response = toRapidResponse(error);
    const body = Buffer.from(JSON.stringify(response)).toString('base64');
    this.trailer = `${ERROR_TYPE}: ${headerSafe(response.errorType)}\r\n${ERROR_BODY}: ${body}\r\n`;
    this.end();
  }
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
