"""The Python bootstrap, on every Python of this machine, against what Lambda documents and was recorded to do."""
import json
import os
import re
import tempfile

from runtime_api import Function


def run(python, code, handler="app.handler", env=None, **files):
    sources = {"app.py": code}
    sources.update({name.replace("__", "/") + ".py": text for name, text in files.items()})
    return Function(python, sources, handler, env)


def test_event_comes_in_and_answer_goes_out(python):
    with run(python, "def handler(event, context):\n    return {'got': event, 'text': '\u00e9\u4e16'}") as f:
        assert f.call({"a": [1, 2.5, None, True, "\u00fc"]}) == {"got": {"a": [1, 2.5, None, True, "\u00fc"]}, "text": "\u00e9\u4e16"}
        assert f.call("text") == {"got": "text", "text": "\u00e9\u4e16"}
        assert f.call(None, raw=b" \n[1] ") == {"got": [1], "text": "\u00e9\u4e16"}


def test_none_is_null_and_bytes_go_as_they_are(python):
    with run(python, "def handler(event, context):\n    return bytes(event, 'ascii') if event else None") as f:
        assert f.call(None) is None
        f.send("raw bytes")
        answer = f.answer()
        assert answer["body"] == b"raw bytes"
        assert answer["headers"]["Content-Type"] == "application/unknown"


def test_chunked_events_and_large_bodies(python):
    with run(python, "def handler(event, context):\n    return event") as f:
        f.api.chunked = True
        assert f.call("x" * 3000000) == "x" * 3000000


def test_a_refused_response_does_not_end_the_process(python):
    with run(python, "def handler(event, context):\n    return 'x' * event") as f:
        f.send(7 * 1024 * 1024)
        assert f.answer()["too_large"]
        assert f.call(3) == "xxx"


def test_handlers_in_packages_and_folders(python):
    files = dict(pkg__mod="def fn(event, context):\n    return __name__", pkg____init__="")
    files = {"pkg/mod.py": "def fn(event, context):\n    return __name__", "pkg/__init__.py": "", "a/b.py": "def fn(e, c): return 'folder'"}
    for handler, expected in (("pkg.mod.fn", "pkg.mod"), ("pkg/mod.fn", "pkg.mod"), ("a/b.fn", "folder")):
        with Function(python, files, handler) as f:
            assert f.call() == expected


def test_path_order_is_lambdas(python):
    with run(python, "import sys\ndef handler(e, c):\n    return sys.path") as f:
        path = f.call()
        version = "python%d.%d" % python.version
        assert path[:3] == [f.folder.name, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
        assert path[3].endswith("/runtimes/python")
        assert not [entry for entry in path[3:] if "site-packages" in entry or "dist-packages" in entry]
        assert len(path) == len(set(path))


def test_context_has_every_documented_attribute(python):
    code = """
import os
def handler(event, c):
    return dict(id=c.aws_request_id, name=c.function_name, version=c.function_version, arn=c.invoked_function_arn,
        memory=c.memory_limit_in_mb, group=c.log_group_name, stream=c.log_stream_name,
        left=c.get_remaining_time_in_millis(), identity=c.identity.cognito_identity_id,
        pool=c.identity.cognito_identity_pool_id, client=c.client_context and c.client_context.client.app_title,
        custom=c.client_context and c.client_context.custom, env=c.client_context and c.client_context.env,
        trace=os.environ.get("_X_AMZN_TRACE_ID"), shown=repr(c))
"""
    with run(python, code) as f:
        got = f.call()
        assert got["id"] == "00000000-0000-4000-8000-000000000001"
        assert (got["name"], got["version"], got["memory"]) == ("fn", "$LATEST", "128")
        assert got["arn"] == "arn:aws:lambda:us-east-1:111111111111:function:fn"
        assert (got["group"], got["stream"]) == ("/aws/lambda/fn", "2026/01/01/[$LATEST]abc")
        assert 0 < got["left"] <= 60000
        assert got["client"] is None and got["identity"] is None and got["trace"] == "Root=1-1"
        assert got["shown"].startswith("LambdaContext([aws_request_id=00000000-")
        headers = {
            "Lambda-Runtime-Client-Context": json.dumps({"client": {"app_title": "t"}, "custom": {"k": 1}, "env": {"e": "v"}}),
            "Lambda-Runtime-Cognito-Identity": json.dumps({"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}),
        }
        got = f.call(headers=headers)
        assert (got["client"], got["custom"], got["env"]) == ("t", {"k": 1}, {"e": "v"})
        assert (got["identity"], got["pool"]) == (("i", "p") if f.api.carries_identity else (None, None))
        assert got["trace"] == "Root=1-2"
        error = f.failure(headers={"Lambda-Runtime-Client-Context": "{"})
        assert error["errorType"] == "Runtime.LambdaContextUnmarshalError"
        assert error["errorMessage"].startswith("Unable to parse Client Context JSON: ")


def test_the_trace_is_true_wherever_it_is_read(python):
    code = """
import os, subprocess
NAME = "_X_AMZN_TRACE_ID"
def handler(event, c):
    child = subprocess.run(["sh", "-c", "echo $" + NAME], stdout=subprocess.PIPE).stdout.decode().strip()
    piped, forked = os.popen("echo $" + NAME).read().strip(), os.fork()
    if not forked:
        os.execvp("sh", ["sh", "-c", 'test "$%s" = "%s"' % (NAME, os.environ[NAME])])
    return [os.environ[NAME], dict(os.environ)[NAME], child, piped, os.waitpid(forked, 0)[1]]
"""
    with run(python, code) as f:
        for at in (1, 2, 3):
            assert f.call() == ["Root=1-%d" % at] * 4 + [0]


def test_traces_fill_no_memory(python):
    code = """
def handler(event, c):
    if event:
        rows = open("/proc/self/smaps").read().split("[heap]")[1:]
        return sum(int(row.split("Rss:")[1].split()[0]) for row in rows)
"""
    with run(python, code) as f:
        heap = []
        for events in (500, 8000):
            for at in range(events):
                f.call(headers={"Lambda-Runtime-Trace-Id": "Root=1-%08d;Parent=%0120d" % (at, events)})
            heap.append(f.call(True))
        # Every value kept would be 1.5 MB.
        assert heap[1] - heap[0] < 400, heap


def test_an_exception_is_the_callers_error_and_the_next_event_is_served(python):
    code = "def inner():\n    raise ValueError('Failed: some_error_msg')\ndef handler(event, context):\n    if event: inner()\n    return 'ok'\n"
    with run(python, code) as f:
        error = f.failure(True)
        assert error.pop("_header") == "ValueError"
        stack = error.pop("stackTrace")
        assert error == {"errorMessage": "Failed: some_error_msg", "errorType": "ValueError", "requestId": "00000000-0000-4000-8000-000000000001"}
        assert len(stack) == 2
        assert stack[0] == '  File "%s/app.py", line 4, in handler\n    if event: inner()\n' % f.folder.name
        assert stack[1].endswith("line 2, in inner\n    raise ValueError('Failed: some_error_msg')\n")
        log = f.log("raise ValueError")
        assert "[ERROR] ValueError: Failed: some_error_msg\rTraceback (most recent call last):\r\u00a0\u00a0File" in log
        assert f.call(False) == "ok"


def test_what_cannot_be_marshalled(python):
    with run(python, "def handler(event, context):\n    return {1, 2}") as f:
        error = f.failure()
        assert error["errorType"] == "Runtime.MarshalError"
        assert error["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"
        assert error["stackTrace"] == []
        error = f.failure(raw=b"{not json")
        assert error["errorType"] == "Runtime.UnmarshalError"
        assert error["errorMessage"] == "Unable to unmarshal input: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
        error = f.failure(raw=b"[1] x")
        assert error["errorMessage"] == "Unable to unmarshal input: Extra data: line 1 column 5 (char 4)"
        assert f.failure(raw=b"")["errorType"] == "Runtime.UnmarshalError"


def test_decimals_are_numbers_and_cycles_are_errors(python):
    code = "import decimal\ndef handler(event, context):\n    if event: \n        a = []; a.append(a); return a\n    return {'d': [decimal.Decimal('1.10'), decimal.Decimal('12345678901234567890.5')], 'k': {1: 2, None: 3, True: 4}}"
    with run(python, code) as f:
        f.send(None)
        assert f.answer()["body"] == b'{"d": [1.10, 12345678901234567890.5], "k": {"1": 4, "null": 3}}'
        assert f.failure(1)["errorMessage"] == "Unable to marshal response: Circular reference detected"


def init_error(python, files, handler="app.handler"):
    with Function(python, files, handler) as f:
        error = f.init_error()
        assert f.exit_code() == 1
        assert error["_header"] == error["errorType"]
        assert "[ERROR] " + error["errorType"] in f.log()
        return error, f.folder.name


def test_init_errors_have_lambdas_names_and_texts(python):
    def check(files, handler, error_type, message):
        error, folder = init_error(python, files, handler)
        assert error["errorType"] == error_type
        assert re.fullmatch(message, error["errorMessage"]), error["errorMessage"]
        assert error["requestId"] == ""
        return error, folder

    good = {"app.py": "def handler(e, c): pass"}
    check(good, "nope.handler", "Runtime.ImportModuleError", "Unable to import module 'nope': No module named 'nope'")
    check({"app.py": "import absent"}, "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'absent'")
    check(good, "app.missing", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'")
    check(good, "handler", "Runtime.MalformedHandlerName", r"Bad handler 'handler': not enough values to unpack \(expected 2, got 1\)")
    check(good, "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module")
    error, folder = check({"app.py": "def handler(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError", r"Syntax error in module 'app': .*\(app.py, line 1\)")
    assert error["stackTrace"] == ['  File "%s/app.py" Line 1\n    def handler(:\n' % folder]
    error, folder = check({"app.py": "\nboom = 1 / 0\n"}, "app.handler", "ZeroDivisionError", "division by zero")
    # From the import on, as on Lambda: recorded case TestLambdaErrors::test_lambda_runtime_error.
    stack = error["stackTrace"]
    assert re.search(r"importlib/__init__.py\", line \d+, in import_module\n    return _bootstrap._gcd_import\(", stack[0])
    assert all('File "<frozen importlib._bootstrap' in frame for frame in stack[1:-1]) and "_gcd_import" in stack[1]
    assert "app.py" in stack[-1] and "line 2" in stack[-1]


def test_exits_end_the_process_with_their_code(python):
    with run(python, "import sys\ndef handler(e, c): sys.exit(e)") as f:
        f.send(3)
        assert f.exit_code() == 3
    with run(python, "import os\ndef handler(e, c):\n    print('last words', end='')\n    os._exit(4)") as f:
        f.send(None)
        assert f.exit_code() == 4
        assert f.log() == "last words"
    with run(python, "def handler(e, c): exit(5)") as f:
        f.send(None)
        assert f.exit_code() == 5
    with run(python, "raise SystemExit(6)") as f:
        assert f.exit_code() == 6


def test_print_keeps_lines(python):
    with run(python, "import sys\ndef handler(e, c):\n    print('multi\\nline')\n    print('another\\rline')\n    sys.stderr.write('err\\n')") as f:
        f.call()
        assert f.log("err") == "multi\nline\nanother\rline\nerr\n"


def test_text_logging_is_lambdas_format(python):
    code = "import logging\nlogging.warning('during init')\nlog = logging.getLogger('x')\nlog.setLevel('INFO')\ndef handler(e, c):\n    log.info('hello %s', 1)\n    log.debug('no')\n    c.log('raw\\n')"
    with run(python, code) as f:
        f.call()
        lines = f.log("raw\n").splitlines()
        assert re.fullmatch(r"\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t\tduring init", lines[0]), lines
        assert re.fullmatch(r"\[INFO\]\t\S+Z\t00000000-0000-4000-8000-000000000001\thello 1", lines[1]), lines
        assert lines[2] == "raw"


def test_json_logging_and_levels(python):
    code = "import logging\nlog = logging.getLogger('x')\ndef handler(e, c):\n    log.debug('no')\n    log.info('yes', extra={'k': {1}})\n    try: 1/0\n    except Exception: log.exception('bad')\n    raise KeyError('q')"
    with run(python, code, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}) as f:
        f.failure()
        lines = [json.loads(line) for line in f.log("KeyError").splitlines()]
        assert [line["level"] for line in lines] == ["INFO", "ERROR", "ERROR"]
        assert lines[0]["message"] == "yes" and lines[0]["k"] == "{1}" and lines[0]["logger"] == "x"
        assert lines[0]["requestId"] == "00000000-0000-4000-8000-000000000001"
        assert (lines[1]["errorType"], lines[1]["errorMessage"]) == ("ZeroDivisionError", "division by zero")
        assert lines[1]["location"].endswith("app.py:handler:7")
        assert (lines[2]["errorType"], lines[2]["requestId"]) == ("KeyError", lines[0]["requestId"])


def test_a_log_module_of_the_function_is_left_alone(python):
    with run(python, "import logging\ndef handler(e, c): return logging.mine", logging="mine = 7") as f:
        assert f.call() == 7


def test_start_stays_light(python):
    heavy = ["json", "logging", "re", "socket", "traceback", "typing", "enum", "http", "ssl", "site"]
    with run(python, "import sys\ndef handler(e, c): return [m for m in e if m in sys.modules]") as f:
        assert f.call(heavy) == []


def test_wrapper_scripts_run_the_runtime(python):
    code = "def handler(e, c): return e"
    with run(python, code, env={"AWS_LAMBDA_EXEC_WRAPPER": "/usr/bin/env"}) as f:
        assert f.call("wrapped once") == "wrapped once"
    # As Lambda's guide has it: the arguments of the interpreter go before the last one.
    script = '#!/bin/bash\nargs=("$@")\nargs=("${args[@]:0:$#-1}" "-X" "utf8" "${args[@]: -1}")\nexport K=v\nexec "${args[@]}"\n'
    code = "import os, sys\ndef handler(e, c): return [os.environ['K'], '_FREEHOLD_WRAPPED' in os.environ, sys._xoptions.get('utf8', False), sys.argv[1:]]"
    with tempfile.TemporaryDirectory() as folder:
        wrapper = os.path.join(folder, "wrapper")
        with open(wrapper, "w") as out:
            out.write(script)
        os.chmod(wrapper, 0o755)
        with run(python, code, env={"AWS_LAMBDA_EXEC_WRAPPER": wrapper}) as f:
            assert f.call() == ["v", False, True, []]
    with run(python, code, env={"AWS_LAMBDA_EXEC_WRAPPER": "/nonexistent"}) as f:
        assert f.exit_code() == 127
        assert f.log() == "/nonexistent: does not exist\n"
    with run(python, code, env={"AWS_LAMBDA_EXEC_WRAPPER": "/etc/passwd"}) as f:
        assert f.exit_code() == 126


HOOKS = """
from snapshot_restore_py import register_before_snapshot, register_after_restore
order = []
register_before_snapshot(order.append, 'before')
register_before_snapshot(lambda: print('waits now', flush=True))
register_after_restore(order.append, 'after')
def handler(e, c): return order
"""
WRAPPED = {"AWS_LAMBDA_EXEC_WRAPPER": "/usr/bin/env"}


def test_behind_a_wrapper_hooks_run_with_the_platforms_word_between_them(python):
    with run(python, HOOKS, env=WRAPPED) as f:
        assert f.call() == []
    with run(python, HOOKS, env={**WRAPPED, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}) as f:
        f.log("waits now")
        f.api.restores.put("now")
        assert f.call() == ["before", "after"]


def test_behind_a_wrapper_a_hook_that_fails_says_so_and_ends_the_process(python):
    for register, error_type, exit_code in (
        ("register_before_snapshot(lambda: 1 / 0)", "Runtime.BeforeSnapshotError", 64),
        ("register_after_restore(lambda: 1 / 0)", "Runtime.AfterRestoreError", 65),
    ):
        with run(python, HOOKS + register, env={**WRAPPED, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}) as f:
            f.api.restores.put("now")
            error = f.init_error()
            assert (error["_header"], error["errorMessage"]) == (error_type, "division by zero")
            assert f.exit_code() == exit_code


def test_a_runtime_api_that_is_gone_ends_the_process(python):
    with run(python, "def handler(e, c): return 1") as f:
        assert f.call() == 1
        f.api.events.put(None)
        assert f.exit_code() == 1
        over_api = "The Runtime API is gone: the Runtime API closed the connection\n"
        over_frames = "The line to the platform is gone: the host closed the line\n"
        assert f.log() == (over_api if python.transport == "runtime-api" else over_frames)


def test_framed_log_descriptor_keeps_messages_whole(python):
    code = "import logging, os\nfd = os.dup(1)\ndef handler(e, c):\n    logging.error('two\\nlines')\n    print('plain')"
    with run(python, code, env={"_LAMBDA_TELEMETRY_LOG_FD": "1"}) as f:
        f.call()
        f.log("plain\n")
        data = f.output
        assert data[:4] == b"\xa5\x5a\x00\x03"
        size = int.from_bytes(data[4:8], "big")
        assert data[16:16 + size].endswith(b"\ttwo\nlines\n")
        assert data[16 + size:] == b"plain\n"
