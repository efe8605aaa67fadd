// What Lambda does to `console`: every message is one log event with time, request id and level, as
// tab-separated text or as JSON, to standard output or, framed, to the descriptor that the platform
// names in `_LAMBDA_TELEMETRY_LOG_FD`.
'use strict';

const { format } = require('util');
const { intoError, toFormatted } = require('./errors.js');

const LEVELS = {
  TRACE: { name: 'TRACE', priority: 1, frameBits: 0x04 },
  DEBUG: { name: 'DEBUG', priority: 2, frameBits: 0x08 },
  INFO: { name: 'INFO', priority: 3, frameBits: 0x0c },
  WARN: { name: 'WARN', priority: 4, frameBits: 0x10 },
  ERROR: { name: 'ERROR', priority: 5, frameBits: 0x14 },
  FATAL: { name: 'FATAL', priority: 6, frameBits: 0x18 },
};
const TEXT_FRAME = 0xa55a0003;
const JSON_FRAME = 0xa55a0002;
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');

let tenantId;
let isJson = false;

function setRequest(id, tenant) {
  globalThis[REQUEST_ID] = id;
  tenantId = tenant;
}

// What `setRequest` set.
function forget() {
  delete globalThis[REQUEST_ID];
  tenantId = undefined;
}

function patch() {
  const env = process.env;
  isJson = (env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const least = LEVELS[(env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()] || LEVELS.TRACE;
  const fd = env._LAMBDA_TELEMETRY_LOG_FD;
  delete env._LAMBDA_TELEMETRY_LOG_FD;
  const write = fd === undefined ? toStdout : toFrames(Number(fd));
  const render = isJson ? jsonText : plainText;
  const at = (level) => (level.priority < least.priority && level !== LEVELS.FATAL
    ? () => {}
    : (...params) => write(level, render(level, new Date().toISOString(), params)));
  console.trace = at(LEVELS.TRACE);
  console.debug = at(LEVELS.DEBUG);
  console.info = at(LEVELS.INFO);
  console.log = console.info;
  console.warn = at(LEVELS.WARN);
  console.error = at(LEVELS.ERROR);
  console.fatal = at(LEVELS.FATAL);
}

function logError(what, error) {
  if (isJson) console.error(intoError(error));
  else console.error(what, toFormatted(intoError(error)));
}

function plainText(level, time, params) {
  return `${time}\t${globalThis[REQUEST_ID]}\t${level.name}\t${format(...params)}`;
}

function jsonText(level, time, params) {
  const record = { timestamp: time, level: level.name, requestId: globalThis[REQUEST_ID] };
  if (tenantId !== undefined && tenantId !== null) record.tenantId = tenantId;
  if (params.length === 1) {
    record.message = params[0];
    try {
      return JSON.stringify(record, errorFields);
    } catch (_) {
      record.message = format(record.message);
      return JSON.stringify(record);
    }
  }
  record.message = format(...params);
  const error = params.find((param) => param instanceof Error);
  if (error) {
    record.errorType = className(error);
    record.errorMessage = error.message;
    record.stackTrace = typeof error.stack === 'string' ? error.stack.split('\n') : [];
  }
  return JSON.stringify(record);
}

function errorFields(_key, value) {
  if (!(value instanceof Error)) return value;
  const stackTrace = typeof value.stack === 'string' ? value.stack.split('\n') : value.stack;
  return Object.assign({ errorType: className(value), errorMessage: value.message, stackTrace }, value);
}

function className(error) {
  return (error.constructor && error.constructor.name) || 'UnknownError';
}

// A line is a log event there, so the line ends inside of one message become carriage returns.
function toStdout(_level, text) {
  process.stdout.write(`${text.replace(/\n/g, '\r')}\n`);
}

function toFrames(fd) {
  const { writeSync } = require('fs');
  return (level, text) => {
    const body = Buffer.from(isJson ? text : `${text}\n`, 'utf8');
    const frame = Buffer.alloc(16 + body.length);
    frame.writeUInt32BE(((isJson ? JSON_FRAME : TEXT_FRAME) | level.frameBits) >>> 0, 0);
    frame.writeUInt32BE(body.length, 4);
    frame.writeBigInt64BE(BigInt(Date.now()) * 1000n, 8);
    body.copy(frame, 16);
    for (let at = 0; at < frame.length;) at += writeSync(fd, frame, at);
  };
}

module.exports = { patch, setRequest, forget, logError };
