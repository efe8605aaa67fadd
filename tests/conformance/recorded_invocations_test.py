"""Recorded cases of invocations: their types, errors, logs and limits."""

import base64
import json
import re
import threading
import time

from cases import recorded
from support.functions import publish, python, zip_of

NODE_ECHO = zip_of({"index.js": "exports.handler = async event => {\n"
                                "  console.log(JSON.stringify(event)); return event;\n};\n"})
ECHO = python("import json\ndef handler(event, context):\n    print(json.dumps(event))\n    return event\n",
              "handler.py")


def echo(case, runtime, **fields):
    if runtime.startswith("nodejs"):
        # The nearest that the machine has; the recorded one is long retired.
        return case.create(package=NODE_ECHO, Runtime=runtime, Handler="index.handler", **fields)
    return case.create(package=ECHO, Runtime=runtime, **fields)


@recorded("TestLambdaFeatures::test_invocation_type_request_response")
def test_an_answer_is_waited_for(case):
    case.call("invoke-result", "invoke", FunctionName=echo(case, case.parameter), Payload=b"{}",
              InvocationType="RequestResponse")


@recorded("TestLambdaFeatures::test_invocation_type_event",
          "TestLambdaFeatures::test_invocation_type_no_return_payload")
def test_an_event_has_no_answer(case):
    runtime = {"nodejs-Event": "nodejs20.x", "python-Event": "python3.12"}.get(case.parameter, case.parameter)
    case.call("invoke-result", "invoke", FunctionName=echo(case, runtime), Payload=b"{}", InvocationType="Event")


@recorded("TestLambdaFeatures::test_invocation_type_dry_run")
def test_a_dry_run_runs_nothing(case):
    case.call("invoke-result", "invoke", FunctionName=echo(case, case.parameter), Payload=b"{}",
              InvocationType="DryRun")


@recorded("TestLambdaFeatures::test_basic_invoke")
def test_two_functions(case):
    fields = {"Runtime": "python3.9", "Handler": "index.handler", "Timeout": 3, "Environment": None,
              "package": python("def handler(event, context):\n    return event\n")}
    first = case.create("lambda_create_fn", **fields)
    second = case.create("lambda_create_fn_2", **fields)
    case.call("lambda_get_fn", "get_function", FunctionName=first)
    case.call("lambda_get_fn_2", "get_function", FunctionName=second)
    case.call("lambda_invoke_result", "invoke", FunctionName=first, Payload=b"{}")


def numbers_out(line):
    """A line of a log with what varies replaced as the recorder did."""
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<request-id>", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "date", line)
    line = re.sub(r"Duration: [\d.]+", "Duration: <duration>", line)
    return re.sub(r"Used: \d+", "Used: <memory>", line)


@recorded("TestLambdaFeatures::test_invocation_with_logs")
def test_the_tail_of_the_log(case):
    name = echo(case, case.parameter)
    answer = case.call("invoke", "invoke", FunctionName=name, Payload=b"{}", LogType="Tail")
    text = base64.b64decode(answer["LogResult"]).decode()
    case.check("logs", {"logs": [numbers_out(line) for line in text.splitlines(keepends=True)]})


SPEAKS = """
import logging
logging.getLogger().setLevel(logging.INFO)
NAMES = ("aws_request_id client_context function_name function_version invoked_function_arn log_group_name "
         "log_stream_name memory_limit_in_mb").split()
def handler(event, context):
    print("Lambda log message - print function")
    logging.getLogger().info("Lambda log message - logging module")
    return {"event": event, "context": {name: getattr(context, name) for name in NAMES}}
"""


@recorded("TestLambdaFeatures::test_invocation_with_qualifier")
def test_a_version_by_its_number(case):
    name = case.create("creation-response", python(SPEAKS, "handler.py"), Timeout=10, Environment=None,
                       Publish=True)
    case.client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    answer = case.call("invocation-response", "invoke", FunctionName=name, Qualifier="1", LogType="Tail",
                       Payload=json.dumps({"foo": "bar with 'quotes\""}).encode())
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    request = next(line.split()[2] for line in lines if line.startswith("START"))
    kept = [re.sub(r"\t\d{4}-\S+Z\t", "\tdate\t", line) for line in lines if not line.startswith("REPORT")]
    assert request == answer["Payload"]["context"]["aws_request_id"]
    case.check("log_result", {"log_result": kept})


# Errors


@recorded("TestLambdaErrors::test_lambda_runtime_error")
def test_a_module_that_raises(case):
    package = zip_of({"lambda_runtime_error.py": 'raise Exception("Runtime startup fails")\n'})
    name = case.create(package=package, Handler="lambda_runtime_error.handler",
                       Runtime=case.exactly("python3.13"))
    case.call("invocation_error", "invoke", FunctionName=name, Payload=b"{}")


@recorded("TestLambdaErrors::test_lambda_handler_exit")
def test_a_handler_that_exits(case):
    name = case.create(package=python("import sys\ndef handler(event, context):\n    sys.exit(0)\n", "handler.py"))
    case.call("invocation_error", "invoke", FunctionName=name, Payload=b"{}")


@recorded("TestLambdaErrors::test_lambda_runtime_exit_segfault")
def test_a_process_that_crashes_and_starts_no_more(case):
    # What AWS answered is that nothing came within the function's time.
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\ndef handler(event, context): pass\n"
    name = case.create(package=python(body, "handler.py"))
    answer = case.client.invoke(FunctionName=name, Payload=b"{}")
    payload = json.loads(answer["Payload"].read())
    payload["errorMessage"] = re.sub(r"RequestId: \S+", "RequestId: <uuid>", payload["errorMessage"])
    case.check("invocation_error", {**answer, "Payload": payload})


# Limits


@recorded("TestLambdaBaseFeatures::test_lambda_too_large_response")
def test_an_answer_that_is_too_large(case):
    name = case.create(package=python("def handler(event, context):\n    return 'x' * 6_300_000\n", "handler.py"))
    for step in ("invoke_result", "invoke_result_2"):
        case.call(step, "invoke", FunctionName=name, Payload=b"{}")


@recorded("TestLambdaBaseFeatures::test_lambda_large_response")
def test_an_answer_that_is_nearly_too_large(case):
    name = case.create(package=python("def handler(event, context):\n    return 'x' * (6 * 1024 * 1024 - 100)\n",
                                      "handler.py"))
    answer = case.client.invoke(FunctionName=name, Payload=b"{}")
    assert "FunctionError" not in answer and len(answer["Payload"].read()) == 6 * 1024 * 1024 - 98


@recorded("TestLambdaBaseFeatures::test_large_payloads")
def test_an_event_that_is_large(case):
    payload = json.dumps({"test": "test123456" * 100 * 1000 * 5}).encode()
    name = case.create(package=python("def handler(event, context):\n    return event\n", "handler.py"),
                       MemorySize=512)
    answer = case.client.invoke(FunctionName=name, Payload=payload)
    assert json.loads(answer["Payload"].read()) == json.loads(payload)


@recorded("TestLambdaConcurrency::test_reserved_concurrency_async_queue")
def test_a_reservation_that_is_taken(case):
    body = "import time\ndef handler(event, context):\n    time.sleep(event.get('wait', 0))\n"
    name = case.create(package=python(body, "handler.py"))
    case.call("fn", "get_function_configuration", FunctionName=name, Qualifier="$LATEST")
    case.call("put_fn_concurrency", "put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=1)
    running = threading.Thread(target=case.client.invoke, kwargs={"FunctionName": name, "Payload": b'{"wait": 8}'})
    running.start()
    case.functions.wait_busy(name)
    case.refused("too_many_requests_exc", "invoke", FunctionName=name, Payload=b"{}")
    running.join()


# What an instance is


COUNTS = {"python": ("handler.py", "COUNT = 0\ndef handler(event, context):\n    global COUNT\n    COUNT += 1\n"
                                   "    return {'counter': COUNT - 1}\n", "handler.handler", "python3.12"),
          "nodejs": ("index.js", "let count = 0;\nexports.handler = async () => ({counter: count++});\n",
                     "index.handler", "nodejs20.x")}


@recorded("TestLambdaBehavior::test_lambda_cache_local")
def test_an_instance_remembers(case):
    file, body, handler, runtime = COUNTS[case.parameter]
    name = case.create(package=zip_of({file: body}), Handler=handler, Runtime=runtime)
    case.call("first_invoke_result", "invoke", FunctionName=name, Payload=b"{}")
    case.call("second_invoke_result", "invoke", FunctionName=name, Payload=b"{}")


LIMITS = """
import resource
NAMES = "AS CORE CPU DATA FSIZE MEMLOCK NOFILE NPROC RSS STACK".split()
def handler(event, context):
    return {f"RLIMIT_{name}": list(resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))) for name in NAMES}
"""


@recorded("TestLambdaBehavior::test_runtime_ulimits")
def test_the_limits_of_a_process(case):
    name = case.create(package=python(LIMITS, "handler.py"))
    case.call("invoke_runtime_ulimits", "invoke", FunctionName=name, Payload=b"{}")


LOOKS = """
import getpass, os, platform, pwd, stat, subprocess
def owned(path):
    name = path.replace("/", "_")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return {f"{name}_mode": None}
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = None
    return {f"{name}_mode": stat.filemode(found.st_mode), f"{name}_uid": found.st_uid,
            f"{name}_gid": found.st_gid, f"{name}_owner": owner}
def handler(event, context):
    paths = {}
    for path in ("/var/task", "/opt", "/tmp", "/lambda-entrypoint.sh"):
        paths |= owned(path)
    return {"event": event, "paths": paths, "pwd": os.getcwd(),
            "platform_machine": platform.machine(), "platform_system": platform.system(),
            "user_login_name": getpass.getuser(),
            "user_whoami": subprocess.run(["whoami"], capture_output=True, text=True).stdout.strip()}
"""


@recorded("TestLambdaBehavior::test_runtime_introspection_x86")
def test_the_files_and_the_user_of_a_process(case):
    name = case.create(package=python(LOOKS, "handler.py"))
    case.call("invoke_runtime_x86_introspection", "invoke", FunctionName=name, Payload=b"{}")


@recorded("TestLambdaBehavior::test_lambda_init_environment")
def test_the_environment_of_an_init(case):
    body = "import os\nENVIRONMENT = dict(os.environ)\ndef handler(event, context):\n" \
           "    return {'environment': ENVIRONMENT}\n"
    name = case.create("create-result", python(body, "handler.py"), Runtime=case.exactly("python3.14"))
    case.call("lambda-init-inspection", "invoke", FunctionName=name, Payload=b"{}")


@recorded("TestLambdaBaseFeatures::test_assume_role")
def test_an_instance_is_its_role(case):
    body = "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n"
    role = f"arn:aws:iam::{case.functions.account}:role/lambda-autogenerated-abc"
    name = case.create(package=python(body, "handler.py"), Role=role, MemorySize=256)
    case.bind.name(function_name=name, lambda_autogenerated_role_prefix="abc")
    case.check("invoke-result-assumed-role-arn", case.functions.call(name))


# By alias


VERSIONED = """
import os
def handler(event, context):
    return {"version_id": VERSION, "invoked_arn": context.invoked_function_arn,
            "version_from_ctx": context.function_version}
"""


@recorded("TestLambdaAliases::test_lambda_alias_moving")
def test_an_alias_moves(case):
    def code(number):
        return python(VERSIONED.replace("VERSION,", f"'version{number}',"), "handler.py")

    name = case.create("create_response", code(1), Timeout=3, Environment=None, Description="No version :(")
    publish(case.client, name, Description="First version description :)")
    case.call("create_alias_response", "create_alias", FunctionName=name, Name="alias1", FunctionVersion="1",
              Description="")
    by_alias = {"FunctionName": name, "Qualifier": "alias1", "Payload": b"{}"}
    case.call("invocation_result_qualifier_v1", "invoke", **by_alias)
    arn = f"arn:aws:lambda:us-east-1:{case.functions.account}:function:{name}:alias1"
    case.call("invocation_result_qualifier_v1_arn", "invoke", FunctionName=arn, Payload=b"{}")
    case.call("update_lambda_response", "update_function_code", FunctionName=name, ZipFile=code(2))
    case.functions.wait_updated(name)
    case.call("invocation_result_qualifier_v1_after_update", "invoke", **by_alias)
    case.call("second_publish_response", "publish_version", FunctionName=name,
              Description="Second version description :)")
    case.call("invocation_result_qualifier_v1_after_publish", "invoke", **by_alias)
    case.call("update_alias_response", "update_alias", FunctionName=name, Name="alias1", FunctionVersion="2",
              Description="")
    case.call("invocation_result_qualifier_v2", "invoke", **by_alias)
    case.refused("invocation_exc_not_existent", "invoke", FunctionName=name, Qualifier="non-existent-alias",
                 Payload=b"{}")


@recorded("TestLambdaAlias::test_non_existent_alias_update")
def test_an_alias_that_is_not_there(case):
    name = case.create("create_response", Handler="index.handler", Timeout=3,
                       Environment={"Variables": {"testenv": "staging"}})
    case.refused("update_alias_response", "update_alias", FunctionName=name, Name="non-existent")


# Logs


@recorded("TestCloudwatchLogs::test_multi_line_prints")
def test_lines_of_a_log(case):
    body = "def handler(event, context):\n    print('multi\\nline\\nstring')\n    print('another\\rline')\n"
    name = case.create(package=python(body, "handler.py"), Runtime=case.exactly("python3.13"))
    case.functions.call(name)
    logs = case.functions.server.client("logs")
    end = time.monotonic() + 20
    while len(events := logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]) < 8:
        assert time.monotonic() < end, events
        time.sleep(0.1)
    case.check("log-events", [{**event, "message": numbers_out(event["message"])} for event in events])
