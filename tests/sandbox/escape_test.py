"""The sandbox-escape list, from inside real functions: Python, Java and a custom runtime."""

import pathlib
import platform
import shutil
import subprocess
import sys

import pytest

from support.functions import PYTHON, java_runtime, zip_of

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from escape_list import FOLDER, EscapeList  # noqa: E402
from hostile_host import hostile_host  # noqa: E402

# The list fills /tmp and uses up every process it may have, each with memory of its own.
FIELDS = {"Timeout": 120, "MemorySize": 1024, "EphemeralStorage": {"Size": 512}}


@pytest.fixture(scope="module")
def host():
    with hostile_host() as reachable:
        yield reachable


def check(functions, listed, files, executable=(), **fields):
    package = zip_of({**files, "lines.tsv": listed.rendered()}, executable)
    name = functions.create(package, **FIELDS, **fields)
    assert listed.failures(functions.call(name, {})) == []


def test_python_gets_out_nowhere(functions, host):
    files = {"probe.py": (FOLDER / "probe.py").read_text()}
    check(functions, EscapeList("python", **host), files, Runtime=PYTHON, Handler="probe.handler")


def test_a_thawed_instance_gets_out_nowhere(functions, client, host):
    """The same list in an instance that never executed anything: its memory came last."""
    listed = EscapeList("python", **host)
    files = {"probe.py": (FOLDER / "probe.py").read_text(), "lines.tsv": listed.rendered()}
    name = functions.create(zip_of(files), **FIELDS, Runtime=PYTHON, Handler="probe.handler",
                            SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    found = client.get_function_configuration(FunctionName=name, Qualifier=version)
    if found["SnapStart"]["OptimizationStatus"] != "On":
        pytest.skip(found["StateReason"])
    answer = functions.invoke(name, {}, Qualifier=version, LogType="Tail")
    assert answer.error is None, answer.payload
    assert "Restore Duration" in answer.log, answer.log
    assert listed.failures(answer.payload) == []


def test_a_custom_runtime_gets_out_nowhere(functions, host, tmp_path):
    program = tmp_path / "bootstrap"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-C", "target-feature=+crt-static",
                    "-o", str(program), str(FOLDER / "probe.rs")], check=True)
    check(functions, EscapeList("custom", **host), {"bootstrap": program.read_bytes()},
          ["bootstrap"], Runtime="provided.al2023", Handler="bootstrap")


@pytest.mark.skipif(java_runtime() is None, reason="no JDK on this machine")
def test_java_gets_out_nowhere(functions, host, tmp_path):
    subprocess.run([shutil.which("javac"), "--release", "17", "-d", str(tmp_path),
                    str(FOLDER / "Probe.java")], check=True)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("*.class")}
    check(functions, EscapeList("java", **host), files, Runtime=java_runtime(),
          Handler="Probe::handler")


def test_the_list_itself_notices_an_open_door(host):
    """The comparison fails where a probe gets through: everything allowed, everything seen."""
    for probe in ("python", "java", "custom"):
        listed = EscapeList(probe, **host)
        open_door = [
            {"line": at, "errno": 0, "signal": "none",
             "value": platform.node() if "not_host" in line else "loop 0 - sysfs / /tmp \n" * 200}
            for at, line in enumerate(listed.lines)]
        assert len(listed.failures(open_door)) == len(listed.lines), probe
