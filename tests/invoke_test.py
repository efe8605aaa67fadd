"""Invoke: what goes in, what comes out, and every way in which a function ends."""

import base64
import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from support.functions import PYTHON, node_runtime, python, unique, zip_of
from support.http import send, signed
from support.recorded import Bindings, cases

needs_node = pytest.mark.skipif(node_runtime() is None, reason="no Node on this machine")


@pytest.fixture(scope="module")
def echo(functions):
    return functions.create()


@pytest.mark.parametrize("event", [
    {}, [], None, True, 1.5, "text", {"a": {"b": [1, "zwölf", None]}}, "\u2028 \U0001f600",
    "x" * 100_000])
def test_an_event_comes_back_as_it_went(functions, echo, event):
    assert functions.call(echo, event) == event


def test_an_empty_event_is_an_empty_object_to_the_function(functions, client, echo):
    # The Runtime API hands an empty body on as it is; the managed runtimes read it as {}.
    answer = client.invoke(FunctionName=echo)
    assert json.loads(answer["Payload"].read()) == {}


def test_a_plain_answer_has_the_recorded_fields(functions, client, echo):
    answer = client.invoke(FunctionName=echo, Payload=b"{}")
    answer["Payload"] = json.loads(answer["Payload"].read())
    recorded = cases("TestLambdaFeatures::test_invocation_type_request_response[python3.10]")[
        "TestLambdaFeatures::test_invocation_type_request_response[python3.10]"]["invoke-result"]
    assert Bindings(functions.account).differences(recorded, answer) == []


@pytest.mark.parametrize("kind, case", [
    ("DryRun", "test_invocation_type_dry_run[python3.10]"),
    ("Event", "test_invocation_type_event[python3.10]")])
def test_the_other_types_answer_as_recorded(functions, client, echo, kind, case):
    answer = client.invoke(FunctionName=echo, Payload=b"{}", InvocationType=kind)
    answer["Payload"] = answer["Payload"].read().decode()
    Bindings(functions.account).check(f"TestLambdaFeatures::{case}", "invoke-result", answer)


def test_a_dry_run_runs_nothing(functions):
    name = functions.create(python("raise SystemExit('must not start')\n"))
    assert functions.invoke(name, InvocationType="DryRun").status == 204
    assert functions.server.client("logs").describe_log_groups(
        logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"] == []


def test_an_unknown_type_is_refused(client, echo, refuses):
    with refuses("ValidationException", "invocationType", 400):
        client.invoke(FunctionName=echo, InvocationType="Later")


def test_the_log_tail_holds_the_lines_of_the_call(functions):
    name = functions.create(python("def handler(e, c):\n    print('a line of mine')\n"))
    answer = functions.invoke(name, {}, LogType="Tail")
    lines = answer.log.splitlines()
    start = lines.index(f"START RequestId: {answer.request_id} Version: $LATEST")
    assert lines[start + 1] == "a line of mine"
    assert lines[start + 2] == f"END RequestId: {answer.request_id}"
    assert lines[start + 3].startswith(f"REPORT RequestId: {answer.request_id}\tDuration: ")
    for part in ("Billed Duration: ", "Memory Size: 128 MB", "Max Memory Used: ", "Init Duration: "):
        assert part in lines[start + 3]


def test_the_log_tail_is_the_last_4_kib(functions):
    name = functions.create(python("def handler(e, c):\n    for n in range(2000): print('line', n)\n"))
    answer = functions.invoke(name, {}, LogType="Tail")
    assert len(answer.log.encode()) <= 4096
    assert "line 1999" in answer.log and "REPORT" in answer.log
    assert "line 100\n" not in answer.log


def test_no_log_without_asking(functions, client, echo):
    assert "LogResult" not in client.invoke(FunctionName=echo, Payload=b"{}")


def test_a_warm_call_has_no_init_duration(functions):
    name = functions.create()
    assert "Init Duration" in functions.invoke(name, {}, LogType="Tail").log
    assert "Init Duration" not in functions.invoke(name, {}, LogType="Tail").log


def test_the_context_is_the_call(functions):
    body = """
def handler(event, c):
    return dict(
        id=c.aws_request_id, name=c.function_name, version=c.function_version,
        arn=c.invoked_function_arn, memory=c.memory_limit_in_mb, group=c.log_group_name,
        stream=c.log_stream_name, left=c.get_remaining_time_in_millis(),
        custom=c.client_context.custom if c.client_context else None,
        env=c.client_context.env if c.client_context else None)
"""
    name = functions.create(python(body), Timeout=7, MemorySize=192)
    context = base64.b64encode(json.dumps(
        {"custom": {"a": "b"}, "env": {"make": "x"}, "client": {}}).encode()).decode()
    answer = functions.invoke(name, {}, ClientContext=context)
    seen = answer.payload
    assert seen["id"] == answer.request_id
    assert (seen["name"], seen["version"]) == (name, "$LATEST")
    assert seen["arn"] == f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    assert int(seen["memory"]) == 192
    assert seen["group"] == f"/aws/lambda/{name}"
    assert "[$LATEST]" in seen["stream"]
    assert 0 < seen["left"] <= 7000
    assert (seen["custom"], seen["env"]) == ({"a": "b"}, {"make": "x"})


def test_a_client_context_that_is_no_base64_json_is_refused(server, echo):
    path, headers = signed(server, "POST", f"/2015-03-31/functions/{echo}/invocations", b"{}",
                           {"X-Amz-Client-Context": "not base64!"})
    reply = send(server.url, "POST", path, headers, b"{}")
    assert reply.status == 400
    assert reply.headers["x-amzn-ErrorType"].split(":")[0] == "InvalidRequestContentException"


def test_an_event_that_is_no_json_is_refused(client, echo, refuses):
    with refuses("InvalidRequestContentException", "Could not parse request body into json", 400):
        client.invoke(FunctionName=echo, Payload=b"{no json")


@pytest.mark.parametrize("payload", [b"\xff\xfe", b'{"a":1', b"[" * 100_000, b"nul", b'"\x01"'])
def test_hostile_json_is_refused_and_the_function_still_serves(functions, client, echo, payload, refuses):
    with refuses("InvalidRequestContentException", status=400):
        client.invoke(FunctionName=echo, Payload=payload)
    assert functions.call(echo, 1) == 1


def test_the_environment_is_lambdas(functions):
    name = functions.create(python(
        "import os\ndef handler(e, c):\n    return [dict(os.environ), os.getcwd()]\n"), MemorySize=192)
    env, folder = functions.call(name)
    assert folder == "/var/task"
    wanted = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "192",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}", "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": "index.handler", "TZ": ":UTC", "LANG": "en_US.UTF-8"}
    assert {k: env.get(k) for k in wanted} == wanted
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                     "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                     "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "PATH"):
        assert env.get(variable)
    # An instance's keys are its own, never the root's.
    assert env["AWS_ACCESS_KEY_ID"] != functions.server.keys()["AWS_ACCESS_KEY_ID"]


def test_a_trace_id_goes_in_and_on(server, functions):
    name = functions.create(python("import os\ndef handler(e, c): return os.environ['_X_AMZN_TRACE_ID']\n"))
    root = "Root=1-5759e988-bd862e3fe1be46a994272793"
    path, headers = signed(server, "POST", f"/2015-03-31/functions/{name}/invocations", b"{}",
                           {"X-Amzn-Trace-Id": f"{root};Parent=53995c3f42cd8ad8;Sampled=1"})
    reply = send(server.url, "POST", path, headers, b"{}")
    assert root in json.loads(reply.body)
    assert root in reply.headers["X-Amzn-Trace-Id"]
    assert functions.call(name).startswith("Root=1-")


# The function's own failures are outcomes


def test_an_exception_is_an_answer(functions):
    answer = functions.run("def handler(e, c):\n    raise ValueError('it broke')\n")
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.payload["errorType"] == "ValueError"
    assert answer.payload["errorMessage"] == "it broke"
    assert answer.payload["requestId"] == answer.request_id
    assert any("/var/task/index.py" in line for line in answer.payload["stackTrace"])


def test_an_exit_is_an_answer_as_recorded(functions):
    name = functions.create(python("import sys\ndef handler(e, c):\n    sys.exit(0)\n"))
    answer = functions.invoke(name)
    recorded = cases("TestLambdaErrors::test_lambda_handler_exit")[
        "TestLambdaErrors::test_lambda_handler_exit"]["invocation_error"]
    bind = Bindings(functions.account, uuid=answer.request_id)
    assert answer.error == "Unhandled"
    assert bind.differences(recorded["Payload"], answer.payload) == []


def test_an_exit_with_a_status_names_it(functions):
    answer = functions.run("import os\ndef handler(e, c):\n    os._exit(7)\n")
    assert answer.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 7"}


def test_a_signal_is_named(functions):
    answer = functions.run("import os\ndef handler(e, c):\n    os.kill(os.getpid(), 11)\n")
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert "signal: segmentation fault" in answer.payload["errorMessage"]


def test_after_an_exit_the_next_call_is_served(functions):
    name = functions.create(python("import os\ndef handler(e, c):\n    if e: os._exit(1)\n    return 'up'\n"))
    assert functions.invoke(name, True).error == "Unhandled"
    assert functions.call(name) == "up"


def test_a_timeout_kills_and_says_so(functions):
    name = functions.create(python(
        "import time\ndef handler(e, c):\n    if e: time.sleep(60)\n    return 'up'\n"), Timeout=1)
    answer = functions.invoke(name, True, LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert answer.payload["errorMessage"] == (
        f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds")
    assert "Status: timeout" in answer.log
    assert functions.call(name) == "up"


@pytest.mark.parametrize("body", [
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "def handler(e, c):\n    while True: time.sleep(1)\n",
    "def handler(e, c):\n    while True: pass\n",
    "import os, time\ndef handler(e, c):\n    if os.fork() == 0:\n        os.setsid()\n"
    "        while True: time.sleep(1)\n    while True: time.sleep(1)\n",
])
def test_nothing_survives_a_timeout(functions, body):
    name = functions.create(python(body), Timeout=1)
    assert functions.invoke(name).payload["errorType"] == "Sandbox.Timedout"
    rows = json.loads(functions.server.cli("ps", "--json").stdout)["Instances"]
    assert [row for row in rows if row["FunctionName"] == name] == []


def test_too_much_memory_is_out_of_memory(functions):
    body = "def handler(e, c):\n    if e: return len(bytearray(e << 20))\n    return 'up'\n"
    name = functions.create(python(body), MemorySize=128, Timeout=20)
    answer = functions.invoke(name, 129, LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.OutOfMemory"
    assert "128 MB" in answer.log and "Max Memory Used: 128 MB" in answer.log
    assert functions.call(name) == "up"


@pytest.mark.parametrize("files, handler, kind, text", [
    ({"index.py": "x = 1\n"}, "index.handler", "Runtime.HandlerNotFound",
     "Handler 'handler' missing on module 'index'"),
    ({"index.py": ""}, "other.handler", "Runtime.ImportModuleError",
     "Unable to import module 'other': No module named 'other'"),
    ({"index.py": "import nothing_like_it\n"}, "index.handler", "Runtime.ImportModuleError",
     "Unable to import module 'index': No module named 'nothing_like_it'"),
    ({"index.py": "def handler(:\n"}, "index.handler", "Runtime.UserCodeSyntaxError",
     "Syntax error in module 'index'"),
    ({"index.py": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler 'index'"),
])
def test_an_init_that_fails_names_the_reason(functions, files, handler, kind, text):
    name = functions.create(zip_of(files), Handler=handler)
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == kind
    assert text in answer.payload["errorMessage"]


def test_an_init_that_raises_is_retried_and_answers_each_time(functions):
    name = functions.create(python("raise RuntimeError('init broke')\n"))
    for _ in range(2):
        answer = functions.invoke(name)
        assert answer.payload["errorType"] == "RuntimeError"
        assert answer.payload["errorMessage"] == "init broke"


def test_an_answer_that_is_no_json_is_the_functions_fault(functions):
    answer = functions.run("def handler(e, c):\n    return object()\n")
    assert answer.payload["errorType"] == "Runtime.MarshalError"


def test_instances_keep_their_memory_between_calls(functions):
    name = functions.create(python("n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n"))
    assert [functions.call(name) for _ in range(3)] == [1, 2, 3]


def test_calls_at_once_run_on_instances_of_their_own(functions):
    name = functions.create(python(
        "import time, uuid\nME = str(uuid.uuid4())\ndef handler(e, c):\n    time.sleep(2)\n    return ME\n"),
        Timeout=20)
    seen, threads = [], []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: seen.append(functions.call(name))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 4


def test_a_client_that_hangs_up_stops_nothing(server, functions):
    body = "import time\ndone = []\ndef handler(e, c):\n    if e == 'seen': return done\n" \
           "    time.sleep(2)\n    done.append(e)\n    print('finished', e)\n"
    name = functions.create(python(body), Timeout=20)
    functions.call(name, "seen")
    path, headers = signed(server, "POST", f"/2015-03-31/functions/{name}/invocations", b'"gone"')
    with pytest.raises(TimeoutError):
        send(server.url, "POST", path, headers, b'"gone"', timeout=0.5)
    logs = server.client("logs")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        events = logs.filter_log_events(
            logGroupName=f"/aws/lambda/{name}", filterPattern='"finished gone"')["events"]
        if events:
            break
        time.sleep(0.2)
    assert len(events) == 1
    assert functions.call(name, "seen") == ["gone"]


@needs_node
def test_node_answers_errors_as_recorded(functions):
    body = "exports.handler = async () => { throw new Error('some_error_msg') }\n"
    name = functions.create(zip_of({"index.js": body}), Runtime=node_runtime())
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Error"
    assert answer.payload["errorMessage"] == "some_error_msg"
    assert any("/var/task/index.js" in line for line in answer.payload["trace"])


@needs_node
@pytest.mark.parametrize("files", [
    {"index.js": "exports.handler = async (e) => ({got: e})\n"},
    {"index.js": "exports.handler = (e, c, done) => done(null, {got: e})\n"},
    {"index.mjs": "const x = await Promise.resolve('got');\nexport const handler = async (e) => ({[x]: e})\n"},
    {"index.js": "export const handler = async (e) => ({got: e})\n", "package.json": '{"type":"module"}'},
])
def test_every_shape_of_a_node_handler_runs(functions, files):
    name = functions.create(zip_of(files), Runtime=node_runtime())
    assert functions.call(name, 5) == {"got": 5}


def test_an_instance_may_call_functions_of_its_tenant_and_nothing_else(functions):
    target = functions.create(python("def handler(e, c): return e + 1\n"))
    body = f"""
import boto3, json
from botocore.exceptions import ClientError
def handler(e, c):
    client = boto3.client('lambda')
    got = json.loads(client.invoke(FunctionName='{target}', Payload=b'41')['Payload'].read())
    try:
        client.delete_function(FunctionName='{target}')
        return [got, 'deleted']
    except ClientError as error:
        return [got, error.response['Error']['Code']]
"""
    name = functions.create(python(body), Timeout=30, MemorySize=256)
    answer = functions.invoke(name)
    if "No module named 'boto3'" in str(answer.payload):
        pytest.skip("no boto3 for functions: 'freehold runtimes install' had no network")
    assert answer.payload == [42, "AccessDeniedException"]
    assert functions.call(target, 1) == 2


def test_a_missing_function_is_an_error_of_the_service(client, refuses):
    with refuses("ResourceNotFoundException", "Function not found: arn:aws:lambda:.*:function:nope", 404):
        client.invoke(FunctionName="nope")


def test_a_pending_function_is_called_once_it_is_ready(functions):
    name = unique()
    functions.create_response(name=name)
    try:
        assert functions.call(name, 1) == 1
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ResourceConflictException"
        assert "is currently in the following state: Pending" in error.response["Error"]["Message"]


USER = ["sbx_user1051", "/home/sbx_user1051"]


def test_the_user_has_lambdas_name_in_python(functions):
    body = "import getpass, os\ndef handler(e, c):\n    return [getpass.getuser(), os.path.expanduser('~')]\n"
    assert functions.run(body).payload == USER


@needs_node
def test_the_user_has_lambdas_name_in_node(functions):
    body = "const os = require('os');\nexports.handler = async () => [os.userInfo().username, os.homedir()];\n"
    name = functions.create(zip_of({"index.js": body}), Runtime=node_runtime())
    assert functions.call(name) == USER
