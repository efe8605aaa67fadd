"""The `wasm` runtime: modules deployed, called, bounded, logged and refused as every function is.

The modules are made of the texts beside them in `functions/wasm`; see `crates/wasm/tests/fixtures.rs`.
"""

import json
import pathlib
import shutil
import threading
import time
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from support import server as servers
from support.functions import unique, zip_of
from support.http import send

GO = """package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	event, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	var value any
	if err := json.Unmarshal(event, &value); err != nil {
		panic(err)
	}
	if value == "fail" {
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "a line of the log")
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"event": value, "name": os.Getenv("AWS_LAMBDA_FUNCTION_NAME")})
}
"""
MODULES = pathlib.Path(__file__).parent / "functions" / "wasm"


def module(name):
    return (MODULES / f"{name}.wasm").read_bytes()


@pytest.fixture(scope="module")
def deploy(functions):
    """Creates a function of a module and returns its name."""

    def create(name, **fields):
        fields = {"Runtime": "wasm", "Handler": "function.wasm", **fields}
        return functions.create(zip_of({"function.wasm": module(name)}), **fields)

    return create


def refusal(call, **fields):
    with pytest.raises(ClientError) as caught:
        call(**fields)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_command_answers_its_event(functions, deploy):
    name = deploy("echo")
    for event in ({"a": [1, "ü", None]}, "x" * 100_000, None, 7):
        assert functions.call(name, event) == event
    answer = functions.invoke(name, {"b": 1}, LogType="Tail")
    assert "REPORT RequestId" in answer.log and "Max Memory Used" in answer.log


def test_a_component_command_answers_and_fails(functions, deploy):
    name = deploy("command")
    assert functions.call(name, {"a": 1}) == {"a": 1}
    answer = functions.invoke(name, {"a": 1})
    assert answer.version == "$LATEST" and answer.status == 200


def test_each_event_has_an_instance_of_its_own(functions, deploy):
    name = deploy("counter")
    assert [functions.call(name) for _ in range(20)] == [11] * 20


def test_what_it_prints_is_in_its_log_with_its_request(functions, deploy, server):
    name = deploy("counter")
    answer = functions.invoke(name, LogType="Tail")
    assert "counted event" in answer.log
    logs = server.client("logs")
    lines = [event["message"] for event in logs.filter_log_events(
        logGroupName=f"/aws/lambda/{name}")["events"]]
    text = "\n".join(lines)
    assert text.index("START RequestId") < text.index("counted event") < text.index("END RequestId")


def test_a_status_and_a_trap_are_the_functions_errors(functions, deploy):
    answer = functions.invoke(deploy("fails"), LogType="Tail")
    assert answer.error and answer.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer.payload["errorMessage"]
    assert "it does not do" in answer.log
    name = deploy("traps")
    for _ in range(3):
        answer = functions.invoke(name, LogType="Tail")
        assert answer.error and answer.payload["errorType"] == "Runtime.Trap"
        assert "divide by zero" in answer.payload["errorMessage"]
        assert "divides_by_nothing" in answer.log


def test_an_endless_loop_ends_at_its_timeout_and_holds_nobody_up(functions, deploy):
    endless, echo = deploy("endless", Timeout=20), deploy("echo")
    functions.call(echo, 1)
    answers = []

    def run():
        begun = time.monotonic()
        answer = functions.invoke(endless)
        answers.append((answer, time.monotonic() - begun))

    loops = [threading.Thread(target=run) for _ in range(4)]
    for loop in loops:
        loop.start()
    time.sleep(0.5)
    for event in range(20):
        assert functions.call(echo, event) == event
    assert not answers, "the loops held up the others"
    for loop in loops:
        loop.join()
    for answer, took in answers:
        assert answer.error and "Task timed out after 20.00 seconds" in answer.payload["errorMessage"]
        assert took >= 20, "a loop ended before its timeout"
    assert functions.call(echo, 2) == 2


def test_memory_ends_at_its_limit(functions, deploy):
    answer = functions.invoke(deploy("greedy", MemorySize=256), LogType="Tail")
    assert answer.error and answer.payload["errorType"] == "Runtime.OutOfMemory"
    assert "limit 256 MB" in answer.log


def test_nothing_of_the_machine_is_within_reach(functions, deploy):
    # One digit for each attempt, 0 for one that went through.
    assert set(str(functions.invoke(deploy("authority")).body.decode())) == {"1"}
    url = functions.public_url(deploy("http"))
    assert get(functions, url, "/out") == (200, "P"), "an outgoing request was not denied"


def test_the_environment_is_the_functions_own(functions, deploy):
    name = deploy("environment", Environment={"Variables": {"GREETING": "hi"}})
    pairs = functions.invoke(name).body.decode().rstrip("\0").split("\0")
    found = dict(pair.split("=", 1) for pair in pairs)
    assert found["GREETING"] == "hi"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert len(found["FREEHOLD_REQUEST_ID"]) == 36
    assert int(found["FREEHOLD_DEADLINE_MS"]) > time.time() * 1000
    secret = [key for key in found if "SECRET" in key or "TOKEN" in key or "ACCESS_KEY" in key]
    assert not secret


def get(functions, url, path):
    """A GET to the host of a function URL, which the tests reach at the server's own port."""
    host = urllib.parse.urlsplit(url).netloc
    reply = send(functions.server.url, "GET", path, {"Host": host})
    return reply.status, reply.text


def test_a_component_answers_its_url_and_direct_calls(functions, deploy):
    name = deploy("http")
    url = functions.public_url(name)
    assert get(functions, url, "/a/b?c=1") == (200, "/a/b?c=1")
    assert get(functions, url, "/made") == (201, "/made")
    for path in ("/none", "/trap"):
        assert get(functions, url, path)[0] == 502
    # An event of no URL is posted to /.
    assert functions.invoke(name, {"any": "event"}).body == b"/"


def test_code_that_cannot_run_is_refused_by_name(functions, deploy, client):
    fields = {"Runtime": "wasm", "Role": functions.role}
    cases = {
        "is not WebAssembly": ({"function.wasm": b"#!/bin/sh"}, "function.wasm"),
        "other.wasm": ({"function.wasm": module("echo")}, "other.wasm"),
        "unexpected end": ({"function.wasm": module("echo")[:40]}, "function.wasm"),
    }
    for wanted, (files, handler) in cases.items():
        code, message = refusal(
            client.create_function, FunctionName=unique(), Handler=handler,
            Code={"ZipFile": zip_of(files)}, **fields)
        assert code == "InvalidParameterValueException" and wanted in message, message
    # A function that runs keeps its code when new code is refused.
    name = deploy("echo")
    code, message = refusal(
        client.update_function_code, FunctionName=name,
        ZipFile=zip_of({"function.wasm": b"nothing"}))
    assert code == "InvalidParameterValueException" and "not WebAssembly" in message
    code, _ = refusal(
        client.update_function_configuration, FunctionName=name, Handler="none.wasm")
    assert code == "InvalidParameterValueException"
    assert functions.call(name, 1) == 1


def test_an_update_runs_the_new_module(functions, deploy, client):
    name = deploy("echo")
    assert functions.call(name, 1) == 1
    client.update_function_code(
        FunctionName=name, ZipFile=zip_of({"function.wasm": module("hello")}))
    functions.wait_updated(name)
    assert functions.call(name, 1) == {"hello": "world"}


def test_many_at_once_each_get_their_own_answer(functions, deploy):
    name = deploy("echo")
    wrong = []

    def calls(at):
        for turn in range(25):
            event = {"at": at, "turn": turn}
            if functions.call(name, event) != event:
                wrong.append(event)

    threads = [threading.Thread(target=calls, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_program_in_go_is_deployed_from_its_folder(server, functions, tmp_path):
    if shutil.which("go") is None:
        pytest.skip("no Go on this machine")
    if "debug" in servers.binary().parts:
        pytest.skip("a binary without optimisation takes minutes to compile three megabytes")
    (tmp_path / "go.mod").write_text("module f\n\ngo 1.21\n")
    (tmp_path / "main.go").write_text(GO)
    name = unique("go")
    server.cli("deploy", str(tmp_path), "--name", name, "--runtime", "wasm")
    answer = functions.invoke(name, {"a": [1]}, LogType="Tail")
    assert answer.payload == {"event": {"a": [1]}, "name": name}
    assert "a line of the log" in answer.log
    failed = functions.client.invoke(FunctionName=name, Payload=b'"fail"')
    assert failed["FunctionError"]


def test_compiled_code_outlives_a_restart_and_its_loss(start_server):
    from support.functions import Functions

    server = start_server()
    functions = Functions(server)
    name = functions.create(
        zip_of({"function.wasm": module("echo")}), Runtime="wasm", Handler="function.wasm")
    assert functions.call(name, 1) == 1
    compiled = pathlib.Path(server.data) / "compiled"
    files = list(compiled.glob("*.code"))
    assert len(files) == 1 and files[0].stat().st_mode & 0o777 == 0o600
    server.restart()
    assert Functions(server).call(name, 2) == 2
    # Damaged: made again, never run.
    whole = files[0].read_bytes()
    server.stop()
    files[0].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    server.start()
    assert Functions(server).call(name, 3) == 3
    assert files[0].read_bytes() == whole


def test_events_are_queued_and_run(functions, deploy, server):
    name = deploy("counter")
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert answer["StatusCode"] == 202
    logs, ends = server.client("logs"), time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            events = []
        if any("END RequestId" in json.dumps(event["message"]) for event in events):
            return
        time.sleep(0.1)
    raise AssertionError("the event did not run")
