"""The Node.js bootstrap against what Lambda documents and was recorded to do."""
import base64
import json
import re

from runtime_api import Function


def run(node, code, name="index.js", handler="index.handler", env=None, **files):
    sources = {name: code}
    sources.update(files)
    return Function(node, sources, handler, env)


def test_async_promise_and_callback_handlers(node):
    for code in (
        "exports.handler = async (event) => ({ got: event });",
        "exports.handler = (event) => Promise.resolve({ got: event });",
        "exports.handler = (event, context, callback) => setTimeout(() => callback(null, { got: event }), 5);",
        "exports.handler = (event, context, callback) => callback(undefined, { got: event });",
        "exports.handler = (event, context) => context.succeed({ got: event });",
        "exports.handler = (event, context) => { setTimeout(() => context.done(null, { got: event }), 5); };",
        "exports.handler = (event) => ({ then(ok) { ok({ got: event }); } });",
    ):
        with run(node, code) as f:
            for event in ({"a": [1, "\u00fc\u4e16"]}, "text", None):
                assert f.call(event) == {"got": event}, code


def test_nothing_is_null(node):
    for code in ("async () => {}", "() => {}", "(e, c, cb) => cb()", "async () => (() => {})", "() => 'a value returned without a promise'"):
        with run(node, "exports.handler = " + code) as f:
            assert f.call() is None, code
            assert f.call() is None, code


def test_es_modules_and_top_level_await(node):
    code = "const base = await new Promise((r) => setTimeout(r, 5, 40));\nexport const handler = async (e) => base + e;"
    with run(node, code, "index.mjs") as f:
        assert f.call(2) == 42
    with Function(node, {"index.js": code, "package.json": '{"type": "module"}'}, "index.handler") as f:
        assert f.call(2) == 42
    with Function(node, {"src/index.js": "import { one } from './one.js';\nexport const handler = async () => one;", "src/one.js": "export const one = 1;", "package.json": '{"type": "module"}'}, "src/index.handler") as f:
        assert f.call() == 1
    with Function(node, {"index.cjs": "exports.a = { b: async () => 'nested' };", "package.json": '{"type": "module"}'}, "index.a.b") as f:
        assert f.call() == "nested"


def test_packages_resolve_from_the_function_then_from_node_path(node):
    files = {
        "index.js": "exports.handler = async () => [require('own'), require('layer')];",
        "node_modules/own/index.js": "module.exports = 'own';",
        "opt/own/index.js": "module.exports = 'not this';",
        "opt/layer/index.js": "module.exports = 'layer';",
    }
    runtime = node.like(["/bin/sh", "-c", 'NODE_PATH="$LAMBDA_TASK_ROOT/opt" exec "$@"', "sh"] + node._argv)
    with Function(runtime, files, "index.handler") as f:
        assert f.call() == ["own", "layer"]


def test_callback_waits_for_an_empty_event_loop(node):
    code = """
let late = 0;
exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.waits;
  setTimeout(() => { late += 1; }, 50);
  callback(null, { get late() { return late; } });
};"""
    with run(node, code) as f:
        assert f.call({"waits": True}) == {"late": 1}
        assert f.call({"waits": False}) == {"late": 1}


def test_context_has_every_documented_attribute(node):
    code = """exports.handler = async (event, c) => ({ ...c, left: c.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID,
      methods: [typeof c.done, typeof c.succeed, typeof c.fail], cwd: process.cwd() });"""
    with run(node, code) as f:
        got = f.call(headers={"Lambda-Runtime-Client-Context": '{"custom":{"k":1}}', "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"i"}'})
        assert 0 < got.pop("left") <= 60000
        assert got == {
            "callbackWaitsForEmptyEventLoop": True,
            "functionVersion": "$LATEST",
            "functionName": "fn",
            "memoryLimitInMB": "128",
            "logGroupName": "/aws/lambda/fn",
            "logStreamName": "2026/01/01/[$LATEST]abc",
            "clientContext": {"custom": {"k": 1}},
            **({"identity": {"cognitoIdentityId": "i"}} if f.api.carries_identity else {}),
            "invokedFunctionArn": "arn:aws:lambda:us-east-1:111111111111:function:fn",
            "awsRequestId": "00000000-0000-4000-8000-000000000001",
            "trace": "Root=1-1",
            "methods": ["function"] * 3,
            "cwd": f.folder.name,
        }
        assert "Cannot parse ClientContext as json" in f.failure(headers={"Lambda-Runtime-Client-Context": "{"})["errorMessage"]


def test_the_trace_is_true_wherever_it_is_read(node):
    code = """
const { execSync } = require('child_process');
const NAME = '_X_AMZN_TRACE_ID';
const seen = () => [process.env[NAME], { ...process.env }[NAME], Object.keys(process.env).includes(NAME), NAME in process.env];
exports.handler = async () => {
  const found = [...seen(), execSync('echo $' + NAME).toString().trim()];
  process.env[NAME] = 'mine';
  found.push(process.env[NAME]);
  delete process.env[NAME];
  process.env.OTHER = 1;
  return [...found, ...seen(), process.env.OTHER, delete process.env.OTHER, process.env.OTHER, typeof process.env.toString];
};"""
    with run(node, code) as f:
        for at in (1, 2):
            root = "Root=1-%d" % at
            assert f.call() == [root, root, True, True, root, "mine", None, None, False, False, "1", True, None, "function"]


def test_the_trace_is_true_in_an_environment_of_the_functions_own(node):
    code = """
exports.handler = async () => {
  process.env = { ...process.env };
  return process.env._X_AMZN_TRACE_ID;
};"""
    with run(node, code) as f:
        assert [f.call() for _ in range(3)] == ["Root=1-1", "Root=1-2", "Root=1-3"]


def test_traces_fill_no_memory(node):
    code = """
exports.handler = async (event) => {
  if (!event) return 0;
  const rows = require('fs').readFileSync('/proc/self/smaps', 'utf8').split('[heap]').slice(1);
  return rows.reduce((sum, row) => sum + Number(/Rss: +([0-9]+)/.exec(row)[1]), 0);
};"""
    with run(node, code) as f:
        heap = []
        for events in (8000, 12000):
            for at in range(events):
                f.call(headers={"Lambda-Runtime-Trace-Id": "Root=1-%08d;Parent=%0120d" % (at, events)})
            heap.append(f.call(True))
        # Every value kept would be 2 MB.
        assert heap[1] - heap[0] < 1000, heap


def test_errors_are_the_callers_and_the_next_event_is_served(node):
    for code in (
        "exports.handler = async (e) => { if (e) throw new TypeError('Error: some_error_msg'); return 'ok'; };",
        "exports.handler = (e, c, callback) => { if (e) throw new TypeError('Error: some_error_msg'); callback(null, 'ok'); };",
        "exports.handler = (e, c, callback) => { callback(e ? new TypeError('Error: some_error_msg') : null, 'ok'); };",
        "exports.handler = (e, c) => { if (e) c.fail(new TypeError('Error: some_error_msg')); else c.succeed('ok'); };",
    ):
        with run(node, code) as f:
            error = f.failure(True)
            trace = error.pop("trace")
            assert error == {"errorType": "TypeError", "errorMessage": "Error: some_error_msg", "_header": "TypeError"}
            assert trace[0] == "TypeError: Error: some_error_msg" and "index.js:1:" in trace[1]
            line = f.log("Invoke Error").splitlines()[0]
            assert re.match(r"\d{4}-\d\d-\d\dT\S+Z\t00000000-0000-4000-8000-000000000001\tERROR\tInvoke Error \t\{\"errorType\":\"TypeError\"", line), line
            assert f.call(False) == "ok"


def test_odd_errors(node):
    with run(node, "exports.handler = async (e) => { throw e; };") as f:
        assert f.failure("text") == {"errorType": "string", "errorMessage": "text", "trace": [], "_header": "string"}
        assert f.failure(None)["errorMessage"] == "handled"
    with run(node, "exports.handler = async () => { const a = {}; a.a = a; return a; };") as f:
        assert f.failure()["errorMessage"] == "Unable to stringify response body"
        assert f.failure()["errorType"] == "Error"
    with run(node, "exports.handler = async (e) => e;") as f:
        assert f.failure(raw=b"{not json")["errorType"] == "SyntaxError"
        assert f.call(1) == 1


def test_unhandled_rejection_and_uncaught_exception(node):
    with run(node, "exports.handler = (e, c, callback) => { Promise.reject(new Error('left alone')); setTimeout(callback, 10000); };") as f:
        error = f.failure()
        assert (error["errorType"], error["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "Error: left alone")
        assert f.exit_code() == 128
        assert "Unhandled Promise Rejection" in f.log()
    with run(node, "exports.handler = (e, c, callback) => { setTimeout(() => { throw new RangeError('later'); }, 5); };") as f:
        error = f.failure()
        assert (error["errorType"], error["errorMessage"]) == ("RangeError", "later")
        assert f.exit_code() == 129


def test_init_errors_have_lambdas_names_and_texts(node):
    def check(files, handler, error_type, message, code=129):
        with Function(node, files, handler) as f:
            error = f.init_error()
            assert (error["errorType"], error["_header"]) == (error_type, error_type)
            assert re.match(message, error["errorMessage"]), error["errorMessage"]
            assert f.exit_code() == code
            assert "\tundefined\tERROR\tU" in f.log()

    good = {"index.js": "exports.handler = async () => 1; exports.number = 7;"}
    check(good, "nope.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nope'\nRequire stack:\n- ")
    check({"index.js": "require('absent');"}, "index.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'absent'")
    check(good, "index.missing", "Runtime.HandlerNotFound", "index.missing is undefined or not exported$")
    check(good, "index.number", "Runtime.HandlerNotFound", "index.number is not a function$")
    check(good, "handler", "Runtime.MalformedHandlerName", "Bad handler$")
    check(good, "../index.handler", "Runtime.MalformedHandlerName", "'../index.handler' is not a valid handler name.")
    check({"index.js": "const = 1;"}, "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='")
    check({"index.js": "throw new Error('at init');"}, "index.handler", "Error", "at init$")
    check({"index.mjs": "Promise.reject(new Error('x')); await new Promise((r) => setTimeout(r, 1000));"}, "index.handler", "Runtime.UnhandledPromiseRejection", "Error: x$", 128)


def test_network_interfaces_are_loopback_where_the_call_is_refused(node):
    """As in the sandbox, where netlink sockets do not exist."""
    refuse = "require('os').networkInterfaces = () => { throw new Error('uv_interface_addresses returned Unknown system error 97'); };"
    wrapper = ["/bin/sh", "-c", 'NODE_OPTIONS="--require $LAMBDA_TASK_ROOT/refuse.cjs" exec "$@"', "sh"] + node._argv
    for name, code in (
        ("index.js", "exports.handler = async () => require('os').networkInterfaces();"),
        ("index.mjs", "import { networkInterfaces } from 'node:os';\nexport const handler = async () => networkInterfaces();"),
        ("index.mjs", "import os from 'os';\nexport const handler = async () => os.networkInterfaces();"),
    ):
        with Function(node.like(wrapper), {name: code, "refuse.cjs": refuse}, "index.handler") as f:
            found = f.call()
            assert list(found) == ["lo"]
            assert found["lo"][0] == {"address": "127.0.0.1", "netmask": "255.0.0.0", "family": "IPv4", "mac": "00:00:00:00:00:00", "internal": True, "cidr": "127.0.0.1/8"}
            assert all(one["internal"] for one in found["lo"])
    with run(node, "exports.handler = async () => Object.keys(require('os').networkInterfaces());") as f:
        assert "lo" in f.call()


def test_exit_ends_the_process_with_its_code(node):
    with run(node, "exports.handler = async () => process.exit(7);") as f:
        f.send(None)
        assert f.exit_code() == 7


def test_console_text_format(node):
    code = "console.log('at init'); exports.handler = async () => { console.info('a %d', 1); console.warn('two\\nlines'); console.debug({ k: [1] }); process.stdout.write('raw\\n'); };"
    with run(node, code) as f:
        f.call()
        lines = f.log("raw\n").split("\n")
        id_ = "00000000-0000-4000-8000-000000000001"
        kept = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", line) for line in lines]
        assert kept == ["TIME\tundefined\tINFO\tat init", "TIME\t%s\tINFO\ta 1" % id_, "TIME\t%s\tWARN\ttwo\rlines" % id_, "TIME\t%s\tDEBUG\t{ k: [ 1 ] }" % id_, "raw", ""]


def test_console_json_format_and_level(node):
    code = "exports.handler = async () => { console.debug('no'); console.log({ k: 1 }); console.log('a', 1); console.error(new RangeError('bad')); throw new Error('end'); };"
    with run(node, code, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}) as f:
        f.failure()
        lines = [json.loads(line) for line in f.log('"end"').splitlines()]
        assert [line["level"] for line in lines] == ["INFO", "INFO", "ERROR", "ERROR"]
        assert [line["message"] for line in lines[:2]] == [{"k": 1}, "a 1"]
        assert (lines[2]["message"]["errorType"], lines[2]["message"]["errorMessage"]) == ("RangeError", "bad")
        assert lines[3]["message"]["errorMessage"] == "end"
        assert {line["requestId"] for line in lines} == {"00000000-0000-4000-8000-000000000001"}


def test_chunked_events_large_bodies_and_refused_responses(node):
    with run(node, "exports.handler = async (e) => (typeof e === 'number' ? 'x'.repeat(e) : e);") as f:
        f.api.chunked = True
        assert f.call("x" * 3000000) == "x" * 3000000
        f.send(7 * 1024 * 1024)
        assert f.answer()["too_large"]
        assert f.call(3) == "xxx"


def test_streamed_responses(node):
    code = """
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event === 'fail before') throw new Error('before');
  const out = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  out.write('one ');
  await new Promise((r) => setTimeout(r, 5));
  if (event === 'fail after') throw new Error('after');
  out.write('two');
  out.end();
});"""
    with run(node, code) as f:
        f.send("go")
        answer = f.answer()
        assert answer["body"] == b'{"statusCode":201}' + b"\0" * 8 + b"one two"
        assert answer["headers"]["Lambda-Runtime-Function-Response-Mode"] == "streaming"
        assert answer["headers"]["Content-Type"] == "application/vnd.awslambda.http-integration-response"
        assert f.failure("fail before")["errorMessage"] == "before"
        f.send("fail after")
        trailers = f.answer()["trailers"]
        assert trailers["Lambda-Runtime-Function-Error-Type"] == "Error"
        assert json.loads(base64.b64decode(trailers["Lambda-Runtime-Function-Error-Body"]))["errorMessage"] == "after"
