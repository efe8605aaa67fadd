"""`provided.*`: any executable `bootstrap` over the public Runtime API, unmodified."""

import os
import pathlib
import shutil
import subprocess

import pytest

from support.functions import zip_of
from support.recorded import Bindings, cases

SOURCES = pathlib.Path(__file__).parent / "functions"


def cache_folder(name):
    """Builds live with the other caches, outside the clone, and are reused."""
    cache = os.environ.get("FREEHOLD_CACHE") or os.path.expanduser("~/.cache/freehold")
    folder = pathlib.Path(cache) / f"test-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(command, folder, **environment):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module", params=["provided.al2", "provided.al2023"])
def runtime(request):
    return request.param


@pytest.fixture(scope="module")
def go_package():
    if shutil.which("go") is None:
        pytest.skip("no Go on this machine")
    out = cache_folder("go") / "bootstrap"
    build(["go", "build", "-trimpath", "-o", str(out), "."], SOURCES / "go", CGO_ENABLED="0")
    return zip_of({"bootstrap": out.read_bytes()}, executable={"bootstrap"})


@pytest.fixture(scope="module")
def rust_package():
    target = cache_folder("rust")
    host = next(line.split()[1] for line in subprocess.run(
        ["rustc", "-vV"], capture_output=True, text=True, check=True).stdout.splitlines()
        if line.startswith("host:"))
    build(["cargo", "build", "--quiet", "--locked", "--release", "--target", host], SOURCES / "rust",
          CARGO_TARGET_DIR=str(target), RUSTFLAGS="-C target-feature=+crt-static")
    binary = target / host / "release" / "bootstrap"
    return zip_of({"bootstrap": binary.read_bytes()}, executable={"bootstrap"})


@pytest.fixture(scope="module")
def shell_package():
    folder = SOURCES / "shell"
    return zip_of({name: (folder / name).read_text() for name in ("bootstrap", "function.sh")},
                  executable={"bootstrap", "function.sh"})


def test_a_shell_script(functions, runtime, shell_package):
    name = functions.create(shell_package, Runtime=runtime, Handler="function.handler", Timeout=20)
    answer = functions.client.invoke(FunctionName=name, Payload=b'{"a": 1}')
    assert answer["Payload"].read() == b"Echoing request: '{\"a\": 1}'"
    assert "FunctionError" not in answer
    # And again on the same instance.
    answer = functions.client.invoke(FunctionName=name, Payload=b"2")
    assert answer["Payload"].read() == b"Echoing request: '2'"


def test_go(functions, runtime, go_package):
    name = functions.create(go_package, Runtime=runtime, Handler="bootstrap")
    answer = functions.invoke(name, {"name": "Ada"})
    assert answer.payload == {
        "greeting": "Hello, Ada", "requestId": answer.request_id, "deadline": True,
        "region": "us-east-1",
        "arn": f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"}


def test_go_fails_as_recorded(functions, go_package):
    name = functions.create(go_package, Runtime="provided.al2", Handler="function.handler")
    answer = functions.invoke(name, {})
    recorded = cases("TestGoProvidedRuntimes::test_uncaught_exception_invoke[provided.al2]")[
        "TestGoProvidedRuntimes::test_uncaught_exception_invoke[provided.al2]"]["error_result"]
    # The recorder's function put "Error: " before the text itself.
    wanted = {**recorded["Payload"], "errorMessage": "some_error_msg"}
    assert (answer.error, answer.payload) == (recorded["FunctionError"], wanted)
    assert functions.call(name, {"name": "x"})["greeting"] == "Hello, x"


def test_go_panics_and_exits(functions, go_package):
    name = functions.create(go_package, Runtime="provided.al2023", Handler="bootstrap")
    panicked = functions.invoke(name, {"name": "panic"})
    assert panicked.error == "Unhandled"
    assert panicked.payload["errorMessage"] == "it panicked"
    # aws-lambda-go ends its process after a panic: the next event goes to another instance.
    exited = functions.invoke(name, {"name": "exit"})
    assert exited.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 4" in exited.payload["errorMessage"]
    assert functions.call(name, {"name": "x"})["greeting"] == "Hello, x"


def test_rust(functions, runtime, rust_package):
    name = functions.create(rust_package, Runtime=runtime, Handler="bootstrap", MemorySize=192)
    answer = functions.invoke(name, {"x": [1, 2]})
    assert answer.payload == {
        "event": {"x": [1, 2]}, "requestId": answer.request_id, "function": name, "memory": 192,
        "arn": f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"}


def test_rust_fails_panics_and_exits(functions, rust_package):
    name = functions.create(rust_package, Runtime="provided.al2023", Handler="bootstrap")
    failed = functions.invoke(name, {"do": "fail"})
    assert (failed.error, failed.payload["errorMessage"]) == ("Unhandled", "some_error_msg")
    panicked = functions.invoke(name, {"do": "panic"})
    assert panicked.error == "Unhandled"
    assert "it panicked" in panicked.payload["errorMessage"]
    exited = functions.invoke(name, {"do": "exit"})
    assert "exit status 4" in exited.payload["errorMessage"]
    assert functions.call(name, {})["function"] == name


def test_a_package_without_a_bootstrap(functions):
    name = functions.create(zip_of({"other": "x"}), Runtime="provided.al2023", Handler="x")
    answer = functions.invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.InvalidEntrypoint"
    assert "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]" in answer.payload["errorMessage"]


def test_a_bootstrap_that_may_not_be_run(functions):
    name = functions.create(zip_of({"bootstrap": "#!/bin/sh\nexit 0\n"}), Runtime="provided.al2023", Handler="x")
    answer = functions.invoke(name)
    assert answer.payload["errorType"] in ("Runtime.InvalidEntrypoint", "Runtime.ExitError")


def test_a_bootstrap_that_ends_at_once(functions):
    package = zip_of({"bootstrap": "#!/bin/sh\nexit 3\n"}, executable={"bootstrap"})
    name = functions.create(package, Runtime="provided.al2023", Handler="x")
    answer = functions.invoke(name)
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer.payload["errorMessage"]


# A bootstrap that breaks the rules of the Runtime API

RUDE = """#!/bin/bash
api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -LD "$headers" "$api/invocation/next")
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  case "$event" in
    '"twice"')
      curl -sS "$api/invocation/$id/response" -d '"first"' > /dev/null
      second=$(curl -sS -o /dev/null -w '%{http_code}' "$api/invocation/$id/response" -d '"second"')
      echo "second answer: $second" ;;
    '"other"')
      wrong=$(curl -sS -o /dev/null -w '%{http_code}' "$api/invocation/00000000-0000-0000-0000-000000000000/response" -d '"stolen"')
      curl -sS "$api/invocation/$id/response" -d "\\"wrong id: $wrong\\"" > /dev/null ;;
    '"silent"') exit 0 ;;
    *) curl -sS "$api/invocation/$id/response" -d "$event" > /dev/null ;;
  esac
done
"""


@pytest.fixture(scope="module")
def rude(functions):
    package = zip_of({"bootstrap": RUDE}, executable={"bootstrap"})
    return functions.create(package, Runtime="provided.al2023", Handler="x", Timeout=10)


def test_the_first_answer_counts(functions, rude):
    assert functions.call(rude, "twice") == "first"
    assert functions.call(rude, "next") == "next"
    lines = functions.server.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{rude}", filterPattern="second")["events"]
    assert [line["message"].rstrip() for line in lines] == ["second answer: 400"]


def test_nobody_answers_for_another(functions, rude):
    assert functions.call(rude, "other") == "wrong id: 400"


def test_a_bootstrap_that_leaves_without_an_answer(functions, rude):
    answer = functions.invoke(rude, "silent")
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert Bindings(functions.account).differences(
        {"errorType": "Runtime.ExitError",
         "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited without providing a reason"},
        answer.payload) == []
    assert functions.call(rude, 1) == 1
