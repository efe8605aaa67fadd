"""Every ceiling: what is under it passes, what is over it gets a typed error, and all stays up."""

import json
import re
import subprocess

import pytest
from botocore.exceptions import ClientError

from support import doctor
from support import server as servers
from support.functions import Functions, python, zip_of
from support.http import send, signed
from support.recorded import Bindings, cases

MIB = 1024 * 1024
SIX = 6 * MIB


def text_of(length):
    """A JSON string of exactly `length` bytes."""
    return b'"' + b"x" * (length - 2) + b'"'


@pytest.fixture(scope="module")
def size(functions):
    return functions.create(python("def handler(e, c): return len(e)\n"), MemorySize=256, Timeout=30)


def test_an_event_of_6_mib_passes(functions, client, size):
    answer = client.invoke(FunctionName=size, Payload=text_of(SIX))
    assert json.loads(answer["Payload"].read()) == SIX - 2


def test_a_longer_event_is_refused(functions, client, size):
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=size, Payload=text_of(SIX + 1))
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert response["Error"]["Message"] == (
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation")
    assert functions.call(size, "abc") == 3


def test_an_asynchronous_event_of_1_mib_passes_and_a_longer_is_refused(client, size):
    answer = client.invoke(FunctionName=size, Payload=text_of(MIB), InvocationType="Event")
    assert answer["StatusCode"] == 202
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=size, Payload=text_of(MIB + 1), InvocationType="Event")
    error = caught.value.response["Error"]
    assert error["Code"] == "RequestEntityTooLargeException"
    assert error["Message"] == (
        f"{MIB + 1} byte payload is too large for the Event invocation type (limit {MIB} bytes)")


def test_an_answer_over_6_mib_is_the_functions_error_as_recorded(functions):
    name = functions.create(python("def handler(e, c): return 'x' * e\n"), MemorySize=512, Timeout=30)
    assert len(functions.call(name, SIX - 2)) == SIX - 2
    recorded = cases("TestLambdaBaseFeatures::test_lambda_too_large_response")[
        "TestLambdaBaseFeatures::test_lambda_too_large_response"]["invoke_result"]
    answer = functions.invoke(name, 7 * MIB)
    assert answer.error == "Unhandled"
    assert Bindings(functions.account).differences(recorded["Payload"], answer.payload) == []
    assert functions.call(name, 1) == "x"


@pytest.mark.parametrize("headers", [
    {f"X-Filler-{n}": "x" * 1000 for n in range(100)}, {"X-Big": "x" * (1 << 20)}])
def test_too_many_header_bytes_are_refused(server, headers):
    path, signed_headers = signed(server, "GET", "/2015-03-31/functions/")
    try:
        reply = send(server.url, "GET", path, {**signed_headers, **headers})
        assert reply.status in (400, 431)
    except (ConnectionError, BrokenPipeError):
        pass  # The server may close before such a head ends.
    assert send(server.url, "GET", path, signed_headers).status == 200


@pytest.mark.parametrize("path", ["/" + "a" * 70_000, "/2015-03-31/functions/" + "%00" * 50,
                                  "/2015-03-31/functions/%ff%fe", "/%2e%2e/%2e%2e/etc/passwd", "//", "/%"])
def test_odd_paths_get_an_answer(server, path):
    try:
        reply = send(server.url, "GET", path)
        # 501 is what an API answers that is not served: S3, to which all other paths belong.
        assert 400 <= reply.status < 500 or reply.status == 501
    except ConnectionError:
        pass
    assert send(server.url, "GET", "/2015-03-31/functions/").status == 403


# Ceilings that the operator raised or lowered


def test_a_raised_timeout_takes_effect(start_server):
    functions = Functions(start_server('[limits]\nfunction_timeout = "2h"\n'))
    name = functions.create(Timeout=7200)
    assert functions.call(name, 1) == 1
    with pytest.raises(ClientError):
        functions.create_response(Timeout=7201)


def test_lowered_ceilings_take_effect(start_server):
    functions = Functions(start_server(
        "[limits]\nsync_payload = 1000\nmemory_max = \"256MiB\"\nenvironment = 100\n"))
    name = functions.create()
    assert len(functions.call(name, "x" * 900)) == 900
    with pytest.raises(ClientError) as caught:
        functions.call(name, "x" * 1000)
    assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    for fields in ({"MemorySize": 257}, {"Environment": {"Variables": {"NAME": "x" * 100}}}):
        with pytest.raises(ClientError) as caught:
            functions.create_response(**fields)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_entries_of_a_package_and_the_time_of_an_init(start_server):
    functions = Functions(start_server('[limits]\npackage_entries = 3\ninit_timeout = "1s"\n'))
    files = {f"part{number}.py": "" for number in range(2)}
    source = "def handler(event, context):\n    return event\n"
    assert functions.call(functions.create(zip_of({"index.py": source, **files})), 1) == 1
    with pytest.raises(ClientError) as caught:
        functions.create_response(zip_of({"index.py": source, **files, "one.py": ""}))
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    # As on Lambda an init that takes longer is run again within the call, on the call's time.
    slow = functions.create(zip_of({"index.py": f"import time\ntime.sleep(2)\n{source}"}))
    assert functions.call(slow, 1) == 1
    said = functions.server.cli("logs", slow).stdout
    assert re.search(r"INIT_REPORT Init Duration: 1\d{3}\.\d\d ms\tPhase: init\tStatus: timeout", said), said


@pytest.mark.parametrize("config, text", [
    ("[limits]\nfunction_timeouts = 1\n", "function_timeouts"),
    ("surprise = true\n", "surprise"),
    ("[limits]\nmemory_max = \"much\"\n", "much"),
    ("no toml at all", "freehold.toml"),
])
def test_a_configuration_with_a_mistake_is_refused_by_name(open_folder, config, text):
    path = open_folder / "freehold.toml"
    path.write_text(config)
    done = subprocess.run(
        [str(servers.binary()), "serve", "--data", str(open_folder / "data"), "--listen", "127.0.0.1:0",
         "--admin-listen", "127.0.0.1:0", "--config", str(path)],
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert text in done.stderr


# What a function may take


def test_tmp_has_its_own_hard_size(functions):
    """A 128 MB function fills all of its 512 MB, and the next byte gets "no space"."""
    if doctor.is_enforced("memory limit"):
        doctor.needs("/tmp of its own size")
    body = """
import errno, os
def handler(event, context):
    block, written = b'\\1' * (1 << 20), 0
    with open('/tmp/full', 'wb', buffering=0) as file:
        try:
            while True:
                written += file.write(block)
        except OSError as error:
            return [written, error.errno == errno.ENOSPC]
"""
    name = functions.create(python(body), Timeout=120, MemorySize=128)
    written, full = functions.call(name)
    assert full
    assert written == 512 * MIB


def test_tmp_stays_for_the_next_call_and_is_empty_for_another_instance(functions):
    body = "import os\ndef handler(e, c):\n    seen = os.listdir('/tmp')\n    open('/tmp/mine', 'w')\n    return seen\n"
    first, second = functions.create(python(body)), functions.create(python(body))
    assert functions.call(first) == []
    assert functions.call(first) == ["mine"]
    assert functions.call(second) == []


def test_processes_are_limited(functions):
    doctor.needs("process limit")
    body = """
import os, time
def handler(e, c):
    made = 0
    try:
        for _ in range(5000):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except OSError as error:
        return [made, error.errno]
"""
    name = functions.create(python(body), Timeout=30, MemorySize=1024)
    made, errno = functions.call(name)
    assert 0 < made <= 1024
    assert errno == 11
    assert functions.call(functions.create(), 1) == 1


def test_descriptors_are_limited(functions):
    body = """
def handler(e, c):
    files = []
    try:
        while True:
            files.append(open('/dev/null'))
    except OSError as error:
        return [len(files), error.errno]
"""
    opened, errno = functions.run(body).payload
    assert opened <= 1024
    assert errno == 24
