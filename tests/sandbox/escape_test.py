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
