// Errors as Lambda shows them: for the caller, for the log, for X-Ray; and the errors that Lambda has
// a `Runtime.*` name for.
'use strict';

const { isNativeError } = require('util').types;

function toRapidResponse(error) {
  try {
    if (isNativeError(error) || looksLikeError(error)) {
      return {
        errorType: escapeDelete(error.name),
        errorMessage: escapeDelete(error.message),
        trace: escapeDelete(error.stack).split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch (_) {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

function toFormatted(error) {
  try {
    return `\t${JSON.stringify(error, (_key, value) => withEnumerableProperties(value))}`;
  } catch (_) {
    return `\t${JSON.stringify(toRapidResponse(error))}`;
  }
}

function intoError(error) {
  return error instanceof Error ? error : new Error(error);
}

function withEnumerableProperties(error) {
  if (!(error instanceof Error)) return error;
  const shown = Object.assign({ errorType: error.name, errorMessage: error.message, code: error.code }, error);
  if (typeof error.stack === 'string') shown.stack = error.stack.split('\n');
  return shown;
}

function xrayCause(error) {
  try {
    const stack = String((error && error.stack) || '').split('\n').slice(1).map((text) => {
      const line = text.trim().replace(/\(|\)/g, '').replace(/^at /, '');
      const space = line.lastIndexOf(' ');
      const [path, number] = line.slice(space + 1).split(':');
      return { path, line: parseInt(number, 10), label: space < 0 ? 'anonymous' : line.slice(0, space) };
    });
    return JSON.stringify({
      working_directory: process.cwd(),
      exceptions: [{ type: error.name, message: error.message, stack }],
      paths: [...new Set(stack.map((entry) => entry.path))],
    });
  } catch (_) {
    return '';
  }
}

function looksLikeError(value) {
  return value && typeof value.name === 'string' && typeof value.message === 'string' && typeof value.stack === 'string';
}

function escapeDelete(text) {
  return String(text).replace(/\x7F/g, '%7F');
}

class ImportModuleError extends Error {}
class HandlerNotFound extends Error {}
class MalformedHandlerName extends Error {}
class UserCodeSyntaxError extends Error {}
class MalformedStreamingHandler extends Error {}
class InvalidStreamingOperation extends Error {}
class UnhandledPromiseRejection extends Error {
  constructor(reason, promise) {
    super(reason);
    this.reason = reason;
    this.promise = promise;
  }
}

const named = {
  ImportModuleError,
  HandlerNotFound,
  MalformedHandlerName,
  UserCodeSyntaxError,
  MalformedStreamingHandler,
  InvalidStreamingOperation,
  UnhandledPromiseRejection,
};
for (const kind of Object.values(named)) {
  kind.prototype.name = `Runtime.${kind.name}`;
}

module.exports = { toRapidResponse, toFormatted, intoError, xrayCause, ...named };
