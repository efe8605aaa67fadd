"""Java functions in a jar of their own, built by Maven as their authors build them."""

import json
import pathlib
import re
import shutil

import pytest

from support import doctor, projects
from support.functions import java_runtime, publish, zip_of

SOURCES = pathlib.Path(__file__).parent / "functions" / "java"
EVENTS = json.loads((SOURCES / "events.json").read_text())
pytestmark = pytest.mark.skipif(
    java_runtime() is None or shutil.which("mvn") is None, reason="no JDK or no Maven on this machine")


@pytest.fixture(scope="module")
def jar():
    return projects.jar(SOURCES, "test-java").read_bytes()


@pytest.fixture(scope="module")
def java(functions, jar):
    def create(handler, **fields):
        fields = {"MemorySize": 512, "Timeout": 20, **fields}
        return functions.create(jar, Runtime=java_runtime(), Handler=handler, **fields)
    return create


@pytest.mark.parametrize("method, event, answer", [
    ("text", "Ada", "got Ada"), ("sum", [1, 2, 3], 6), ("nothing", {}, None)])
def test_a_plain_method(functions, java, method, event, answer):
    assert functions.call(java(f"test.Plain::{method}"), event) == answer


def test_the_context_and_the_logger(functions, java):
    name = java("test.Plain::context")
    answer = functions.invoke(name, {"a": [1]}, LogType="Tail")
    assert answer.payload == {"event": {"a": [1]}, "requestId": answer.request_id, "name": name,
                              "memory": 512, "left": True}
    assert "through the logger\n" in answer.log
    assert "through System.out\n" in answer.log


def test_an_instance_keeps_its_object(functions, java):
    name = java("test.Plain::count")
    assert [functions.call(name) for _ in range(3)] == [1, 2, 3]


def test_pojos_by_request_handler(functions, java):
    order = {"customer": "Ada", "notes": {"suffix": "!"}, "ignored": True,
             "lines": [{"name": "tea", "price": 2.5, "count": 2}, {"name": "cake", "price": 4}]}
    assert functions.call(java("test.Orders"), order) == {
        "to": "Ada!", "total": 9.0, "first": {"name": "tea", "price": 2.5, "count": 2}}
    assert functions.call(java("test.Orders::handleRequest"), order)["total"] == 9.0


# What `Events` read from the samples of events.json, which have the form that AWS documents.
READ = [
    ("sqs", "SQSEvent", [
        "1", "Test message.", "arn:aws:sqs:us-east-2:123456789012:my-queue", "AIDAIENQZJOLO23YVJ4VO", "a", "Binary", "3q2+7w==",
        "AQI="]),
    ("sns", "SNSEvent", [
        "1", "aws:sns", "Hello from SNS!", "2019-01-02T12:45:07.000Z",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-ac565b8b.pem", "TestString"]),
    ("s3", "S3Event", [
        "1", "ObjectCreated:Put", "2019-09-03T19:37:27.192Z", "AWS:AIDAINPONIXQXHT3IKHL2", "205.255.255.255",
        "D82B88E5F771F645", "lambda-artifacts-deafc19498e3f2df", "A3I5XTEXAMAI3E",
        "b21b84d653bb07b05b1e6b33684dc11b one\u00e9", "1305107", "v1", "1.0"]),
    ("kinesis", "KinesisEvent", [
        "1", "shardId-000000000006:49590338271490256608559692538361571095921575989136588898", "Hello, this is a test.",
        "2018-12-17T22:10:50.987Z", "NONE"]),
    ("dynamodb", "DynamodbEvent", [
        "1", "c4ca4238a0b923820dcc509a6f75849b", "MODIFY", "2015-04-09T00:00:00Z", "101", "This item has changed",
        "3q2+7w==", "[a, b]", "AQ==", "true", "New item!", "59"]),
    ("gateway", "APIGatewayProxyRequestEvent", [
        "POST", "text/html", "[text/html, text/plain]", "{foo=bar}", "true", "127.0.0.1", "user", "1428582896000", "null"]),
    ("http", "APIGatewayV2HTTPEvent", [
        "2.0", "parameter1=value1&parameter1=value2&parameter2=value", "[cookie1, cookie2]", "POST", "1583348638390",
        "{claim1=value1}", "false", "{parameter1=value1}"]),
    ("balancer", "ApplicationLoadBalancerRequestEvent", [
        "/lambda", "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/lambda/49e9d65c45c6791a",
        "{query=1234ABCD}"]),
    ("scheduled", "ScheduledEvent", [
        "Scheduled Event", "2019-03-01T01:23:45.000Z", "[arn:aws:events:us-east-2:123456789012:rule/my-schedule]",
        "{rate=1, nested={a=[true]}}"]),
    ("firehose", "KinesisFirehoseEvent", {"records": [
        {"recordId": "record1", "result": "Ok", "data": "SEVMTE8gV09STEQ="}]}),
    ("answer", "APIGatewayV2HTTPEvent", {
        "statusCode": 201, "headers": {"a": "b"}, "cookies": ["c=d"], "body": "text", "isBase64Encoded": False}),
    ("proxied", "APIGatewayProxyRequestEvent", {"statusCode": 200, "body": "text", "isBase64Encoded": False}),
    ("failures", "SQSEvent", {"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975830a7d"}]}),
]


@pytest.mark.parametrize("method, event, answer", READ)
def test_the_events_of_aws_bind(functions, java, method, event, answer):
    assert functions.call(java(f"test.Events::{method}"), EVENTS[event]) == answer


def test_the_packed_text_of_log_events(functions, java):
    text = functions.call(java("test.Events::logs"), EVENTS["CloudWatchLogsEvent"])
    assert json.loads(text)["logEvents"][0]["message"] == "[ERROR] First test message"


def test_an_event_that_is_its_own_answer(functions, java):
    event = EVENTS["CognitoUserPoolPostConfirmationEvent"]
    answer = functions.call(java("test.Events::cognito"), event)
    assert answer["request"]["userAttributes"].pop("seen") == "PostConfirmation_ConfirmSignUp client"
    # The class has no field for the response, which is empty.
    assert answer == {name: value for name, value in event.items() if name != "response"}


def test_streams(functions, java):
    assert functions.call(java("test.Stream"), "x" * 100) == {"length": 102}
    assert functions.call(java("test.Stream::handleRequest"), []) == {"length": 2}


def test_an_exception(functions, java):
    name = java("test.Plain::fail")
    answer = functions.invoke(name, "now")
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "java.lang.IllegalStateException"
    assert answer.payload["errorMessage"] == "as told: now"
    assert answer.payload["stackTrace"][0].startswith("test.Plain.fail(")


def test_an_exit(functions, java):
    name = java("test.Plain::exit")
    answer = functions.invoke(name, 3)
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer.payload["errorMessage"]


def test_too_much_memory(functions, java):
    answer = functions.invoke(java("test.Plain::memory", MemorySize=256), 1000)
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] in ("java.lang.OutOfMemoryError", "Runtime.OutOfMemory")


@pytest.mark.parametrize("handler, kind, text", [
    ("test.Missing::x", "java.lang.ClassNotFoundException", "Class not found: test.Missing"),
    ("test.Plain::missing", "java.lang.NoSuchMethodException|java.lang.RuntimeException|Runtime.*", "missing"),
])
def test_a_handler_that_is_not_there(functions, java, handler, kind, text):
    answer = functions.invoke(java(handler))
    assert answer.error == "Unhandled"
    assert re.fullmatch(kind, answer.payload["errorType"]), answer.payload
    assert text in answer.payload["errorMessage"]


def test_a_jar_beside_the_classes_in_lib(functions, jar):
    package = zip_of({"lib/functions.jar": jar})
    name = functions.create(package, Runtime=java_runtime(), Handler="test.Plain::text", MemorySize=512,
                            Timeout=20)
    assert functions.call(name, "lib") == "got lib"


ON = {"ApplyOn": "PublishedVersions"}
RAN = ["init", "three.beforeCheckpoint", "two.beforeCheckpoint", "one.beforeCheckpoint",
       "one.afterRestore", "two.afterRestore", "three.afterRestore"]
# The newest, and the one that AWS's own examples name.
CRAC = ["org.crac:crac:1.5.0", "io.github.crac:org-crac:0.1.3"]


@pytest.fixture(scope="module")
def hooked(functions):
    made = {}

    def create(crac=CRAC[0], **fields):
        if crac not in made:
            parts = zip(("group", "artifact", "version"), crac.split(":"))
            made[crac] = projects.jar(
                SOURCES.parent / "java_hooks", f"test-java-hooks-{crac.split(':')[2]}",
                *(f"-Dcrac.{part}={value}" for part, value in parts)).read_bytes()
        fields = {"MemorySize": 512, "Timeout": 20, "SnapStart": ON, **fields}
        package = fields.pop("package", lambda jar: jar)(made[crac])
        return functions.create(package, Runtime=java_runtime(), Handler="test.Hooks::told", **fields)
    return create


@pytest.mark.parametrize("crac", CRAC)
def test_hooks_run_after_init_and_before_the_first_event(functions, client, hooked, crac):
    name = hooked(crac)
    version = publish(client, name)
    assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
    for _ in range(2):
        assert functions.call(name, Qualifier=version["Version"]) == RAN
    # Neither the head nor a version without SnapStart has any.
    assert functions.call(name) == ["init"]
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})
    functions.wait_updated(name)
    plain = publish(client, name)["Version"]
    assert functions.call(name, Qualifier=plain) == ["init"]


def test_hooks_run_behind_a_wrapper(functions, client, hooked):
    def wrapped(jar):
        script = '#!/bin/bash\nexec "$@"\n'
        return zip_of({"lib/functions.jar": jar, "wrapper": script}, executable=["wrapper"])
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    name = hooked(package=wrapped, Environment=variables)
    assert publish(client, name)["State"] == "Active"
    assert functions.call(name, Qualifier="1") == RAN
    assert functions.call(name) == ["init"]


def test_hooks_that_fail_before_the_snapshot_fail_the_version(client, hooked, refuses):
    fails = {"Variables": {"FAILS": "three.beforeCheckpoint,one.beforeCheckpoint"}}
    name = hooked(Environment=fails)
    version = publish(client, name)
    if version["State"] == "Active":
        doctor.needs_images()
    # One that fails keeps no other from being told.
    assert (version["State"], version["StateReasonCode"], version["StateReason"]) == (
        "Failed", "FunctionError.RuntimeInitError", "Runtime.BeforeCheckpointError: "
        "java.lang.IllegalStateException: three.beforeCheckpoint as told; "
        "java.lang.IllegalStateException: one.beforeCheckpoint as told")
    with refuses("ResourceConflictException"):
        client.invoke(FunctionName=name, Qualifier="1")


def test_a_hook_that_fails_after_the_restore_ends_the_instance(functions, client, hooked):
    name = hooked(Environment={"Variables": {"FAILS": "two.afterRestore"}})
    version = publish(client, name)
    assert version["State"] == "Active", version
    answer = functions.invoke(name, Qualifier="1", LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.payload["errorMessage"] == "java.lang.IllegalStateException: two.afterRestore as told"
    assert "Error Type: Runtime.AfterRestoreError" in answer.log
    # The log has where it came from.
    assert "Suppressed: java.lang.IllegalStateException: two.afterRestore as told" in answer.log
    assert "test.Hooks$Noting.note(" in answer.log
    assert functions.call(name) == ["init"]
