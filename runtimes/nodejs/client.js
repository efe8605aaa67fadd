// The Runtime API over one kept-alive HTTP/1.1 connection, on `net`: one request at a time, which is
// all that the protocol ever has in flight. The socket keeps the process alive only while a request
// is under way.
'use strict';

const net = require('net');
const { toRapidResponse, xrayCause } = require('./errors.js');

const BASE = '/2018-06-01/runtime';
const HEAD_LIMIT_BYTES = 1 << 20;
const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';
const HEADER_END = Buffer.from('\r\n\r\n');

class RuntimeClient {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.address = address;
    this.host = address.slice(0, colon).replace(/^\[|\]$/g, '');
    this.port = Number(address.slice(colon + 1));
    this.socket = null;
    this.waiting = null;
    this.received = Buffer.alloc(0);
    // Requests are serialised: a fatal error may be reported while a response is being posted.
    this.queue = Promise.resolve();
  }

  next() {
    return this.request('GET', `${BASE}/invocation/next`, [], null).then(({ status, headers, body }) => {
      if (status !== 200) throw new Error(`GET next answered ${status}`);
      return {
        id: headers['lambda-runtime-aws-request-id'],
        deadline: Number(headers['lambda-runtime-deadline-ms']),
        arn: headers['lambda-runtime-invoked-function-arn'],
        trace: headers['lambda-runtime-trace-id'],
        clientContext: headers['lambda-runtime-client-context'],
        identity: headers['lambda-runtime-cognito-identity'],
        tenantId: headers['lambda-runtime-aws-tenant-id'],
        body: body.toString('utf8'),
      };
    });
  }

  postResponse(id, text) {
    return this.post(`${BASE}/invocation/${id}/response`, text, []);
  }

  postError(id, error) {
    const response = toRapidResponse(error);
    const headers = [`Lambda-Runtime-Function-Error-Type: ${headerSafe(response.errorType)}`];
    const cause = headerSafe(xrayCause(error));
    if (cause && cause.length < HEAD_LIMIT_BYTES) headers.push(`Lambda-Runtime-Function-XRay-Error-Cause: ${cause}`);
    return this.post(`${BASE}/invocation/${id}/error`, JSON.stringify(response), headers);
  }

  postInitError(error) {
    const response = toRapidResponse(error);
    const headers = [`Lambda-Runtime-Function-Error-Type: ${headerSafe(response.errorType)}`];
    return this.post(`${BASE}/init/error`, JSON.stringify(response), headers);
  }

  // A refusal (413 for a response over the limit) is for the platform to tell; the loop goes on.
  post(path, text, headers) {
    return this.request('POST', path, ['Content-Type: application/json', ...headers], Buffer.from(text, 'utf8'))
      .then((answer) => {
        if (answer.status >= 400) {
          process.stderr.write(`The Runtime API refused ${path} with ${answer.status}: ${answer.body.toString('utf8', 0, 300)}\n`);
        }
      });
  }

  request(method, path, headers, body) {
    return this.enqueue((socket) => {
      const lines = [`${method} ${path} HTTP/1.1`, `Host: ${this.address}`, ...headers];
      if (body) lines.push(`Content-Length: ${body.length}`);
      const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
      socket.write(body ? Buffer.concat([head, body]) : head);
    });
  }

  // A streamed answer: what to write its pieces with. An error after the first byte travels in the
  // trailer, as the Runtime API has it.
  stream(id, contentType) {
    return new Promise((resolve) => {
      const answered = this.enqueue((socket) => {
        socket.write([
          `POST ${BASE}/invocation/${id}/response HTTP/1.1`,
          `Host: ${this.address}`,
          'Lambda-Runtime-Function-Response-Mode: streaming',
          `Trailer: ${ERROR_TYPE}, ${ERROR_BODY}`,
          `Content-Type: ${headerSafe(contentType)}`,
          'Transfer-Encoding: chunked',
        ].join('\r\n') + '\r\n\r\n');
        resolve({
          write: (data, callback) => {
            socket.write(`${data.length.toString(16)}\r\n`);
            socket.write(data);
            socket.write('\r\n', callback);
          },
          end: (callback) => socket.write('0\r\n\r\n', callback),
          fail: (error, callback) => {
            const response = toRapidResponse(error);
            const body = Buffer.from(JSON.stringify(response)).toString('base64');
            const trailer = `${ERROR_TYPE}: ${headerSafe(response.errorType)}\r\n${ERROR_BODY}: ${body}\r\n`;
            socket.write(`0\r\n${trailer}\r\n`, callback);
          },
          // A getter: the promise is not there yet while this runs.
          get answered() { return answered; },
        });
      });
      answered.catch(() => {});
    });
  }

  // Runs `send` with the connected socket and waits for the answer.
  enqueue(send) {
    const turn = this.queue.then(() => new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      if (!this.socket) this.connect();
      this.socket.ref();
      send(this.socket);
    }));
    this.queue = turn.catch(() => {});
    return turn;
  }

  connect() {
    const socket = net.connect({ host: this.host, port: this.port, noDelay: true });
    // `noDelay` as an option is Node 16.17 and later.
    socket.setNoDelay(true);
    this.socket = socket;
    this.received = Buffer.alloc(0);
    socket.on('data', (piece) => this.onData(piece));
    socket.on('error', (error) => this.drop(socket, error));
    socket.on('close', () => this.drop(socket, new Error('the Runtime API closed the connection')));
  }

  drop(socket, error) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.settle('reject', error);
  }

  onData(piece) {
    this.pieces = this.pieces || [];
    this.pieces.push(piece);
    // A large body arrives in many pieces; join them only once there can be a whole answer.
    this.have = (this.have || 0) + piece.length;
    if (this.need && this.have < this.need) return;
    this.received = Buffer.concat(this.pieces);
    this.pieces = [this.received];
    let answer;
    try {
      answer = parseAnswer(this.received);
    } catch (error) {
      this.socket.destroy(error);
      return;
    }
    this.need = answer.need || 0;
    if (answer.need !== undefined) return;
    const rest = this.received.subarray(answer.end);
    this.pieces = rest.length ? [rest] : [];
    this.have = rest.length;
    if (answer.headers.connection === 'close') {
      const socket = this.socket;
      this.socket = null;
      socket.destroy();
    }
    this.settle('resolve', answer);
  }

  settle(how, value) {
    const waiting = this.waiting;
    if (!waiting) return;
    this.waiting = null;
    if (this.socket) this.socket.unref();
    waiting[how](value);
  }
}

// Either the whole answer with where it ends, or `need`: how many bytes there must be before it is
// worth looking again.
function parseAnswer(data) {
  const headEnd = data.indexOf(HEADER_END);
  if (headEnd < 0) {
    if (data.length > HEAD_LIMIT_BYTES) throw new Error('the head of an answer is too long');
    return { need: data.length + 1 };
  }
  const lines = data.toString('utf8', 0, headEnd).split('\r\n');
  const status = Number(lines[0].split(' ')[1]);
  if (!lines[0].startsWith('HTTP/1.') || !(status >= 100)) throw new Error(`not an HTTP status line: ${lines[0].slice(0, 80)}`);
  const headers = {};
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  const start = headEnd + 4;
  if (status < 200) {
    const rest = parseAnswer(data.subarray(start));
    return rest.need ? { need: rest.need + start } : { ...rest, end: rest.end + start };
  }
  if (/chunked/i.test(headers['transfer-encoding'] || '')) {
    const chunks = parseChunks(data, start);
    return chunks ? { status, headers, ...chunks } : { need: data.length + 1 };
  }
  const length = Number(headers['content-length'] || 0);
  if (data.length < start + length) return { need: start + length };
  return { status, headers, body: data.subarray(start, start + length), end: start + length };
}

function parseChunks(data, start) {
  const pieces = [];
  for (let at = start; ;) {
    const lineEnd = data.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = parseInt(data.toString('latin1', at, lineEnd), 16);
    if (!(size >= 0)) throw new Error('not a chunk size');
    if (size === 0) {
      const trailerEnd = data.indexOf(HEADER_END, lineEnd);
      return trailerEnd < 0 ? null : { body: Buffer.concat(pieces), end: trailerEnd + 4 };
    }
    at = lineEnd + 2 + size + 2;
    if (data.length < at) return null;
    pieces.push(data.subarray(lineEnd + 2, lineEnd + 2 + size));
  }
}

function headerSafe(text) {
  return String(text).replace(/[^\x20-\x7e]/g, '?');
}

module.exports = { RuntimeClient, headerSafe, parseAnswer };
