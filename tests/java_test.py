"""Java functions in a jar of their own, built by Maven as their authors build them."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.functions import java_runtime, zip_of

SOURCES = pathlib.Path(__file__).parent / "functions" / "java"
pytestmark = pytest.mark.skipif(
    java_runtime() is None or shutil.which("mvn") is None, reason="no JDK or no Maven on this machine")


@pytest.fixture(scope="module")
def jar():
    cache = os.environ.get("FREEHOLD_CACHE") or os.path.expanduser("~/.cache/freehold")
    folder = pathlib.Path(cache) / "test-java"
    # Maven writes beside its sources: a copy keeps the clone clean.
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    done = subprocess.run(["mvn", "--batch-mode", "--quiet", "package"], cwd=folder, capture_output=True,
                          text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:]
    return (folder / "target" / "functions.jar").read_bytes()


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
