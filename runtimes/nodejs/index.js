// Guest side of the Lambda Runtime API for Node.js 16 and later: /var/lang/bin/node /var/runtime/index.js
//
//   load handler ──error──▶ POST init/error, exit
//        │
//        ▼
//   GET next ─▶ handler ─▶ callback | promise | empty event loop ─▶ POST response or error ─▶ GET next …
//
// The connection is unreferenced while the handler runs, so that "the event loop is empty" means
// what the function's author expects: nothing of the function is pending.
'use strict';

const console_ = require('./console.js');
const { RuntimeClient } = require('./client.js');
const errors = require('./errors.js');

console_.patch();
require('./interfaces.js').patch();
const client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API);

// What a fatal error is reported against: init, one invocation, or nothing (between two).
let fatal = (error, code) => client.postInitError(error).then(() => process.exit(code), () => process.exit(code));
// What to do when nothing of the function is pending any more; Lambda's global name for it is kept.
const BEFORE_EXIT = Symbol.for('aws.lambda.beforeExit');
const nothing = () => {};
globalThis[BEFORE_EXIT] = nothing;
process.on('beforeExit', () => globalThis[BEFORE_EXIT]());

process.on('uncaughtException', (error) => {
  console_.logError('Uncaught Exception', error);
  fatal(error, 129);
});
process.on('unhandledRejection', (reason, promise) => {
  const error = new errors.UnhandledPromiseRejection(reason, promise);
  console_.logError('Unhandled Promise Rejection', error);
  fatal(error, 128);
});

main();

async function main() {
  const root = process.env.LAMBDA_TASK_ROOT || '/var/task';
  let handler;
  try {
    try { process.chdir(root); } catch (_) { /* an absent package is the loader's to report */ }
    // Pending while the module loads, so that a top-level await with nothing behind it does not
    // end the process silently.
    globalThis[BEFORE_EXIT] = () => process.exit(13);
    handler = await require('./handler.js').load(root, process.env._HANDLER || '');
  } catch (error) {
    console_.logError('Uncaught Exception', error);
    fatal(error, 129);
    return;
  }
  const serve = handler[Symbol.for('aws.lambda.runtime.handler.streaming')]
    ? require('./streaming.js').serve
    : serveBuffered;
  next(handler, serve);
}

function next(handler, serve) {
  globalThis[BEFORE_EXIT] = nothing;
  fatal = (_error, code) => process.exit(code);
  client.next().then(({ headers, body }) => {
    const id = headers['lambda-runtime-aws-request-id'];
    console_.setRequest(id, headers['lambda-runtime-aws-tenant-id']);
    const trace = headers['lambda-runtime-trace-id'];
    if (trace) process.env._X_AMZN_TRACE_ID = trace; else delete process.env._X_AMZN_TRACE_ID;
    const leave = (code) => () => process.exit(code);
    fatal = (error, code) => client.postError(id, error).then(leave(code), leave(code));
    serve({ client, handler, id, headers, body, setBeforeExit, logError: console_.logError, contextOf, done: () => setImmediate(next, handler, serve) });
  }, (error) => {
    process.stderr.write(`The Runtime API is gone: ${error.message}\n`);
    process.exit(1);
  });
}

function setBeforeExit(listener) {
  globalThis[BEFORE_EXIT] = listener || nothing;
}

function serveBuffered(call) {
  let settled = false;
  const once = (act) => (...args) => {
    if (settled) return;
    settled = true;
    act(...args);
  };
  const fail = (error) => {
    setBeforeExit(null);
    call.logError('Invoke Error', error);
    client.postError(call.id, error).then(call.done, (e) => fatal(e, 1));
  };
  const succeed = (result) => {
    setBeforeExit(null);
    let text;
    try {
      text = JSON.stringify(result === undefined ? null : result);
      // What JSON has no form for (a function, a symbol) is nothing.
      if (text === undefined) text = 'null';
    } catch (_) {
      fail(new Error('Unable to stringify response body'));
      return;
    }
    client.postResponse(call.id, text).then(call.done, (e) => fatal(e, 1));
  };
  const isError = (error) => error !== undefined && error !== null;

  let waits = true;
  const callback = once((error, result) => {
    if (isError(error)) fail(error);
    else if (!waits) succeed(result);
    else setBeforeExit(() => setImmediate(succeed, result));
  });
  const done = once((error, result) => (isError(error) ? fail(error) : succeed(result)));
  const context = {
    get callbackWaitsForEmptyEventLoop() { return waits; },
    set callbackWaitsForEmptyEventLoop(value) { waits = value; },
    succeed: (result) => done(null, result),
    fail: (error) => done(isError(error) ? error : 'handled'),
    done,
  };
  try {
    // A handler that neither calls back nor returns a promise has answered null once it is idle.
    setBeforeExit(() => { if (!settled) { settled = true; succeed(null); } });
    const result = call.handler(JSON.parse(call.body), Object.assign(context, contextOf(call)), callback);
    if (result && typeof result.then === 'function') {
      result.then(context.succeed, context.fail);
    }
  } catch (error) {
    done(error === undefined || error === null ? 'handled' : error);
  }
}

function contextOf({ headers }) {
  const env = process.env;
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed(headers['lambda-runtime-client-context'], 'ClientContext'),
    identity: parsed(headers['lambda-runtime-cognito-identity'], 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis() { return deadline - Date.now(); },
  };
}

function parsed(text, name) {
  if (text === undefined || text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}
