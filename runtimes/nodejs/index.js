// Guest side of direct frames and of the Lambda Runtime API for Node.js 16 and later:
// /var/lang/bin/node /var/runtime/index.js
//
//   over frames (descriptor 3)                     over the Runtime API
//   greet ─▶ hello   (booted ahead only)
//   begin ─▶ load handler ─▶ ready                 load handler
//                └error──▶ init error, exit            └error──▶ POST init/error, exit
//   event ─▶ handler ─▶ callback | promise |       GET next ─▶ handler ─▶ the same ─▶
//                empty event loop ─▶ answer | error       POST response | error ─▶ GET next
//
// The line is unreferenced while the handler runs, so that "the event loop is empty" means what the
// function's author expects: nothing of the function is pending.
'use strict';

const console_ = require('./console.js');
const errors = require('./errors.js');
const trace = require('./trace.js');

require('./interfaces.js').patch();

// What to do when nothing of the function is pending any more; Lambda's global name for it is kept.
const BEFORE_EXIT = Symbol.for('aws.lambda.beforeExit');
const nothing = () => {};
globalThis[BEFORE_EXIT] = nothing;
process.on('beforeExit', () => globalThis[BEFORE_EXIT]());

let client;
// What a fatal error is reported against: init, one invocation, or nothing (between two).
const failInit = (error, code) => client.postInitError(error).then(() => process.exit(code), () => process.exit(code));
let fatal = failInit;

process.on('uncaughtException', (error) => {
  console_.logError('Uncaught Exception', error);
  fatal(error, 129);
});
process.on('unhandledRejection', (reason, promise) => {
  const error = new errors.UnhandledPromiseRejection(reason, promise);
  console_.logError('Unhandled Promise Rejection', error);
  fatal(error, 128);
});

const descriptor = process.env._FREEHOLD_FRAMES;
delete process.env._FREEHOLD_FRAMES;
if (descriptor === undefined) serveRuntimeApi(); else serveFrames(Number(descriptor));

function serveRuntimeApi() {
  const { RuntimeClient } = require('./client.js');
  client = new RuntimeClient(process.env.AWS_LAMBDA_RUNTIME_API);
  load((handler, serve) => {
    const next = () => {
      betweenEvents();
      client.next().then((event) => run(client, handler, serve, event, () => setImmediate(next)), (error) => {
        process.stderr.write(`The Runtime API is gone: ${error.message}\n`);
        process.exit(1);
      });
    };
    next();
  });
}

function serveFrames(number) {
  const { Line } = require('./frames.js');
  client = new Line(number, listening);
}

// What the frames of a line set off: the platform's, and before that one of the rehearsal's.
function listening(line) {
  let handler;
  let serve;
  const done = () => {
    betweenEvents();
    line.wait();
  };
  return {
    event(event) {
      line.run();
      run(line, handler, serve, event, done);
    },
    begin(again, code) {
      if (again) {
        line.ready();
        return;
      }
      line.run();
      fatal = failInit;
      const compiled = code && require('./code.js').watch(code.given, code.wanted);
      load((loaded, how) => {
        [handler, serve] = [loaded, how];
        const made = compiled && compiled();
        const ready = () => {
          done();
          line.ready();
        };
        if (made) line.handOver(made).then(ready); else ready();
      });
    },
    rehearse(rehearsed) {
      line.run();
      line.wait();
      require('./rehearsal.js').rehearse(listening).finally(betweenEvents).then(rehearsed);
    },
    gone(error) {
      process.stderr.write(`The line to the platform is gone: ${error.message}\n`);
      process.exit(1);
    },
  };
}

async function load(loaded) {
  console_.patch();
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
  loaded(handler, serve);
}

function betweenEvents() {
  globalThis[BEFORE_EXIT] = nothing;
  fatal = exitOnly;
}

function exitOnly(_error, code) {
  process.exit(code);
}

function run(line, handler, serve, event, done) {
  console_.setRequest(event.id, event.tenantId);
  trace.setHeader(event.trace);
  const leave = (code) => () => process.exit(code);
  fatal = (error, code) => line.postError(event.id, error, true).then(leave(code), leave(code));
  const { id, body } = event;
  serve({ client: line, handler, id, body, event, setBeforeExit, logError: console_.logError, contextOf, done });
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
    call.client.postError(call.id, error).then(call.done, (e) => fatal(e, 1));
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
    call.client.postResponse(call.id, text).then(call.done, (e) => fatal(e, 1));
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

function contextOf({ event }) {
  const env = process.env;
  const { deadline } = event;
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed(event.clientContext, 'ClientContext'),
    identity: parsed(event.identity, 'CognitoIdentity'),
    invokedFunctionArn: event.arn,
    awsRequestId: event.id,
    tenantId: event.tenantId,
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
