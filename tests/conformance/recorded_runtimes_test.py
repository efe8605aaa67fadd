"""Recorded cases of the runtimes: echo, environment, errors and wrappers, language by language."""

import json
import pathlib
import shutil

import pytest

from cases import recorded
from custom_runtimes_test import go_package  # noqa: F401
from support import projects
from support.functions import zip_of

SOURCES = pathlib.Path(__file__).parents[1] / "functions"

PYTHON = """
import os
NAMES = ("aws_request_id function_name function_version invoked_function_arn log_group_name log_stream_name "
         "memory_limit_in_mb").split()
def handler(event, context):
    if event.get("error_msg"):
        raise Exception("Failed: " + event["error_msg"])
    if event.get("do") != "look":
        return event
    told = {name: getattr(context, name) for name in NAMES}
    return {"environment": dict(os.environ), "packages": [],
            "ctx": {**told, "remaining_time_in_millis": context.get_remaining_time_in_millis()}}
"""
NODE = """
exports.handler = async (event, context) => {
  if (event.error_msg) throw new Error('Error: ' + event.error_msg);
  if (event.do !== 'look') return event;
  const {awsRequestId, functionName, functionVersion, invokedFunctionArn, logGroupName, logStreamName,
         memoryLimitInMB} = context;
  return {environment: process.env, packages: [], ctx: {
    aws_request_id: awsRequestId, function_name: functionName, function_version: functionVersion,
    invoked_function_arn: invokedFunctionArn, log_group_name: logGroupName, log_stream_name: logStreamName,
    memory_limit_in_mb: memoryLimitInMB, remaining_time_in_millis: context.getRemainingTimeInMillis()}};
};
"""
# As AWS documents wrappers: the runtime's command comes as arguments.
WRAPPER = '#!/bin/bash\nexport WRAPPER_VAR=test_value\nexec "$@"\n'
# A runtime of its own, as in the tutorial; the URL of its platform and curl are all that it needs.
BOOTSTRAP = """#!/bin/bash
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers="$(mktemp)"
  event="$(curl -sS -LD "$headers" "$API/next")"
  id="$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)"
  if [ "$event" = '{"do":"ask"}' ]; then
    event="$(curl -sS --aws-sigv4 "aws:amz:$AWS_REGION:sts" -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
      -H "X-Amz-Security-Token: $AWS_SESSION_TOKEN" -d 'Action=GetCallerIdentity&Version=2011-06-15' \\
      "$AWS_ENDPOINT_URL" | grep -o 'arn:[^<]*' | sed 's/.*/"&"/')"
  fi
  curl -sS -o /dev/null "$API/$id/response" -d "$event"
done
"""


@pytest.fixture(scope="module")
def jar():
    """The functions in Java, built once."""
    if shutil.which("javac") is None or shutil.which("mvn") is None:
        pytest.skip("no JDK or no Maven on this machine")
    return projects.jar(SOURCES / "java_recorded", "test-java-recorded").read_bytes()


@pytest.fixture(scope="module")
def sdk_jar(jar):
    return projects.jar(SOURCES / "java_sdk", "test-java-sdk").read_bytes()


def package_of(request, runtime):
    """(package, handler) of a language's function."""
    if runtime.startswith("python"):
        return zip_of({"handler.py": PYTHON, "environment_wrapper": WRAPPER}, {"environment_wrapper"}), "handler.handler"
    if runtime.startswith("nodejs"):
        return zip_of({"index.js": NODE, "environment_wrapper": WRAPPER}, {"environment_wrapper"}), "index.handler"
    if runtime.startswith("provided"):
        return zip_of({"bootstrap": BOOTSTRAP}, {"bootstrap"}), "function.handler"
    return request.getfixturevalue("jar"), "echo.Handler"


def make(case, request, runtime, step=None, **fields):
    package, handler = package_of(request, case.exactly(runtime))
    fields = {"MemorySize": 1024, "Timeout": 3, "Environment": None, "Handler": handler, **fields}
    return case.create(step, package, Runtime=runtime, **fields)


@recorded("TestLambdaRuntimesCommon::test_echo_invoke")
def test_echo(case, request):
    name = make(case, request, case.parameter, Timeout=30)
    for value in ('{"a": [1, "é", null, {"b": true}]}', '"text"' if "provided" in case.parameter else '{"t": "x"}'):
        answer = case.client.invoke(FunctionName=name, Payload=value.encode())
        assert "FunctionError" not in answer
        assert json.loads(answer["Payload"].read()) == json.loads(value)


@recorded("TestLambdaRuntimesCommon::test_introspection_invoke")
def test_what_a_function_sees(case, request):
    name = make(case, request, case.parameter, "create_function_result",
                Environment={"Variables": {"TEST_KEY": "TEST_VAL"}})
    for step, fields in (("invocation_result_payload", {}),
                         ("invocation_result_payload_qualified", {"Qualifier": "$LATEST"})):
        case.check(step, case.functions.call(name, {"do": "look"}, **fields))


@recorded("TestLambdaRuntimesCommon::test_uncaught_exception_invoke")
def test_an_exception(case, request):
    name = make(case, request, case.parameter, "create_function_result")
    case.call("error_result", "invoke", FunctionName=name, Payload=b'{"error_msg": "some_error_msg"}')


@recorded("TestLambdaRuntimesCommon::test_runtime_wrapper_invoke")
def test_a_wrapper(case, request):
    name = make(case, request, case.parameter, "create_function_result",
                Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/environment_wrapper"}})
    environment = case.functions.call(name, {"do": "look"})["environment"]
    assert environment["WRAPPER_VAR"] == "test_value"


ASKS = {
    "python": {"handler.py": "import boto3\ndef handler(event, context):\n"
                             "    return boto3.client('sts').get_caller_identity()['Arn']\n"},
    "nodejs": {"index.js": "const {STSClient, GetCallerIdentityCommand} = require('@aws-sdk/client-sts');\n"
                           "exports.handler = async () =>\n"
                           "  (await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn;\n"},
}


@recorded("TestLambdaCallingLocalstack::test_manual_endpoint_injection",
          "TestGoProvidedRuntimes::test_manual_endpoint_injection")
def test_a_function_asks_the_platform(case, request):
    runtime = case.exactly(case.parameter)
    language = runtime.rstrip("0123456789.x")
    if language in ASKS:
        name = case.create(package=zip_of(ASKS[language]), Runtime=runtime, MemorySize=1024,
                           Handler="index.handler" if language == "nodejs" else "handler.handler")
        event = {}
    elif language == "java":
        name = case.create(package=request.getfixturevalue("sdk_jar"), Runtime=runtime, MemorySize=1024,
                           Handler="test.Asks$Default::handle")
        event = {}
    else:
        name, event = make(case, request, runtime, Timeout=30), {"do": "ask"}
    payload = json.loads(case.functions.client.invoke(
        FunctionName=name, Payload=json.dumps(event, separators=(",", ":")).encode())["Payload"].read())
    arn = payload["arn"] if language == "java" else payload
    assert arn.startswith(f"arn:aws:sts::{case.functions.account}:assumed-role/"), payload


# Python


@recorded("TestPythonRuntimes::test_handler_in_submodule")
def test_a_handler_in_a_package(case):
    body = "def handler(event, context):\n    return event\n"
    name = case.create(package=zip_of({"localstack_package/def/main.py": body}),
                       Handler="localstack_package.def.main.handler", Runtime=case.exactly(case.parameter))
    assert case.functions.call(name, {"a": 1}) == {"a": 1}


@recorded("TestPythonRuntimes::test_python_runtime_correct_versions")
def test_the_version_of_the_interpreter(case):
    body = "import sys\ndef handler(event, context):\n    return 'python%d.%d' % sys.version_info[:2]\n"
    name = case.create(package=zip_of({"handler.py": body}), Runtime=case.exactly(case.parameter))
    assert case.functions.call(name) == case.parameter


# Node.js


@recorded("TestNodeJSRuntimes::test_invoke_nodejs_es6_lambda")
def test_a_module_of_es6(case):
    body = "export const handler = async event => ({statusCode: 200, body: JSON.stringify(\n" \
           "  `response from localstack lambda: ${JSON.stringify(event)}`)});\n"
    name = case.create("creation-result", zip_of({"lambda_handler_es6.mjs": body}),
                       Handler="lambda_handler_es6.handler", Runtime=case.parameter)
    case.call("invocation-result", "invoke", FunctionName=name, Payload=b'{"event_type": "test_lambda"}')


# Java


@recorded("TestJavaRuntimes::test_stream_handler")
def test_a_stream(case, jar):
    name = case.create(package=jar, Handler="test.Recorded$Stream", Runtime=case.exactly(case.parameter))
    case.call("invoke_result", "invoke", FunctionName=name, Payload=b"{}")


def instead(case, recorded_name, ours):
    """Classes are named as the test's own, which is no part of the service's answer."""
    case.answers = json.loads(json.dumps(case.answers).replace(f'"{recorded_name}"', json.dumps(ours)))


@recorded("TestJavaRuntimes::test_serializable_input_object")
def test_an_event_as_an_object(case, jar):
    instead(case, "cloud.localstack.awssdkv1.sample.SerializedInputLambdaHandler", "test.Recorded$Bucket")
    name = case.create("create-result", jar, Handler="test.Recorded$Bucket", Runtime=case.exactly(case.parameter))
    case.call("invoke-result", "invoke", FunctionName=name,
              Payload=b'{"bucket": "test_bucket", "key": "test_key"}')


@recorded("TestJavaRuntimes::test_java_custom_handler_method_specification")
def test_the_method_of_the_interface(case, jar):
    instead(case, "cloud.localstack.sample.LambdaHandlerWithInterfaceAndCustom", "test.Recorded$Two")
    name = case.create("create-result", jar, Handler="test.Recorded$Two", Runtime="java11")
    case.call("invoke-result", "invoke", FunctionName=name, Payload=b'{"echo": "echo"}')


@recorded("TestJavaRuntimes::test_java_runtime_with_lib")
def test_libraries_in_a_jar_and_beside_it(case, jar):
    instead(case, "cloud.localstack.sample.LambdaHandlerWithLib", "test.Recorded$WithLibrary")
    # What differs is how the package holds its libraries.
    apart = {name: zip_of({f"lib/{name}.jar": jar}) for name in ("functions", "build")}
    for word, package in (("jar-with-lib", jar), ("zip-with-lib", apart["functions"]),
                          ("zip-with-lib-gradle", apart["build"])):
        name = case.create(f"create-result-{word}", package, Handler="test.Recorded$WithLibrary", Runtime="java11")
        case.call(f"invoke-result-{word}", "invoke", FunctionName=name, Payload=b'{"echo": "echo"}')


# Go


@recorded("TestGoProvidedRuntimes::test_uncaught_exception_invoke")
def test_an_error_of_go(case, go_package):
    name = case.create("create_function_result", go_package, Handler="function.handler", MemorySize=1024, Timeout=3,
                       Environment=None, Runtime=case.parameter)
    case.call("error_result", "invoke", FunctionName=name, Payload=b'{"name": "error"}')
