"""The sandbox-escape list, from inside real functions: in every language, in instances of every kind
of start, while they initialise and while they run."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

import pytest

from metrics_test import scrape
from snapstart_test import carried
from support import doctor
from support import server as servers
from support.functions import PYTHON, Functions, java_runtime, node_runtime, unique, zip_of

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import programs  # noqa: E402
from escape_list import FOLDER, EscapeList  # noqa: E402
from hostile_host import hostile_host  # noqa: E402

# The list fills /tmp and uses up every process it may have, each with memory of its own.
FIELDS = {"Timeout": 120, "MemorySize": 2048, "EphemeralStorage": {"Size": 512}}
# What a start is counted as, where nothing was ready and where something was: booted, or thawed from
# an image of the runtime.
EXECUTED, AHEAD = {"executed"}, {"booted", "template"}
# A variable that only a process's own start reads, so that it is executed.
AT_EXECUTION = {"LC_ALL": "C.UTF-8"}
# How long the platform may take to have an instance ready ahead, and how long it is left to itself after
# one that was not: where a processor is emulated each try takes what another would be made ready with.
READY_SECONDS, LEFT_SECONDS = (600, 20) if os.environ.get("FREEHOLD_TEST_EMULATED") else (60, 0)
WHEN = pytest.mark.parametrize("when", ["init", "invoke"])
WAYS = pytest.mark.parametrize("kinds", [EXECUTED, AHEAD], ids=["executed", "ahead"])


@pytest.fixture(scope="module")
def host():
    """What there is to reach, and what doctor says is enforced here."""
    with hostile_host() as reachable:
        yield {**reachable, "enforced": doctor.is_enforced}


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """The probe that is a program of its own."""
    return programs.probe(tmp_path_factory.mktemp("probe")).read_bytes()


@pytest.fixture(scope="module")
def java_classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("java")
    subprocess.run([shutil.which("javac"), "--release", "17", "-d", str(folder),
                    str(FOLDER / "Probe.java")], check=True)
    return {path.name: path.read_bytes() for path in folder.glob("*.class")}


def starts(server):
    """How many instances came up, by kind."""
    samples = scrape(server)
    name = 'freehold_starts_total{kind="%s"}'
    return {kind: samples.get(name % kind, 0) for kind in ("executed", "booted", "template", "restored")}


def tried_in(server, functions, kinds, when, package, **fields):
    """What a probe saw in an instance that came up in one of these ways."""
    variables = {"PROBE_AT_INIT": "1"} if when == "init" else {}
    if kinds == EXECUTED:
        variables |= AT_EXECUTION
    end = time.monotonic() + READY_SECONDS
    while True:
        before = starts(server)
        # A name of its own: each is a first start.
        name = functions.create(package, unique("probe"), Environment={"Variables": variables}, **FIELDS, **fields)
        functions.call(name, False)
        ways = {kind for kind, count in starts(server).items() if count > before[kind]}
        if ways and ways <= kinds:
            return functions.call(name, True)
        assert kinds != EXECUTED and time.monotonic() < end, f"it came up {ways}, not {kinds}"
        time.sleep(LEFT_SECONDS)
        functions.client.delete_function(FunctionName=name)
        time.sleep(1)


@WHEN
@WAYS
def test_python_gets_out_nowhere(functions, server, host, kinds, when):
    if kinds == AHEAD:
        doctor.needs("start images")
    listed = EscapeList("python", **host)
    files = {"probe.py": (FOLDER / "probe.py").read_text(), "lines.tsv": listed.rendered()}
    seen = tried_in(server, functions, kinds, when, zip_of(files), Runtime=PYTHON, Handler="probe.handler")
    assert listed.failures(seen) == []


@pytest.fixture(scope="module")
def without_images():
    """A server that has no start images: it cannot tell this boot of the machine from another. What it
    has booted ahead was executed, and not thawed."""
    one = servers.Server()
    odd = one.folder / "boot_id"
    odd.write_bytes(b"\xff")
    one.wrapped_in = ["unshare", "--mount", "sh", "-c",
                      'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"', str(odd)]
    try:
        yield one.start()
    finally:
        one.close()


@WHEN
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting over a file of /proc needs root")
def test_python_that_was_booted_and_not_thawed_gets_out_nowhere(without_images, host, when):
    listed = EscapeList("python", **host)
    files = {"probe.py": (FOLDER / "probe.py").read_text(), "lines.tsv": listed.rendered()}
    seen = tried_in(without_images, Functions(without_images), {"booted"}, when, zip_of(files),
                    Runtime=PYTHON, Handler="probe.handler")
    assert listed.failures(seen) == []
    assert scrape(without_images)["freehold_template_bytes"] == 0


@WHEN
def test_a_thawed_instance_gets_out_nowhere(functions, client, host, when):
    """The same list in an instance that never executed anything, its memory came last; and in the
    process that its image was taken of."""
    listed = EscapeList("python", **host)
    files = {"probe.py": (FOLDER / "probe.py").read_text(), "lines.tsv": listed.rendered()}
    variables = {"PROBE_AT_INIT": "1"} if when == "init" else {}
    name = functions.create(zip_of(files), **FIELDS, Runtime=PYTHON, Handler="probe.handler",
                            Environment={"Variables": variables}, SnapStart={"ApplyOn": "PublishedVersions"})
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    found = client.get_function_configuration(FunctionName=name, Qualifier=version)
    answer = functions.invoke(name, True, Qualifier=carried(found), LogType="Tail")
    assert answer.error is None, answer.payload
    assert "Restore Duration" in answer.log, answer.log
    assert listed.failures(answer.payload) == []


@WHEN
def test_a_custom_runtime_gets_out_nowhere(functions, server, host, binary, when):
    listed = EscapeList("custom", **host)
    package = zip_of({"bootstrap": binary, "lines.tsv": listed.rendered()}, ["bootstrap"])
    seen = tried_in(server, functions, EXECUTED, when, package, Runtime="provided.al2023", Handler="bootstrap")
    assert listed.failures(seen) == []


@WHEN
@WAYS
@pytest.mark.skipif(java_runtime() is None, reason="no JDK on this machine")
def test_java_gets_out_nowhere(functions, server, host, binary, java_classes, kinds, when):
    check_with_a_child(functions, server, host, binary, java_classes, kinds, when,
                       Runtime=java_runtime(), Handler="Probe::handler")


@WHEN
@WAYS
@pytest.mark.skipif(node_runtime() is None, reason="no Node.js on this machine")
def test_node_gets_out_nowhere(functions, server, host, binary, kinds, when):
    files = {"probe.mjs": (FOLDER / "probe.mjs").read_text()}
    check_with_a_child(functions, server, host, binary, files, kinds, when,
                       Runtime=node_runtime(), Handler="probe.handler")


def check_with_a_child(functions, server, host, binary, files, kinds, when, **fields):
    """Files, folders and connections from the language itself, system calls from a child."""
    own, child = EscapeList("java", **host), EscapeList("custom", **host, only=is_a_call)
    package = zip_of({**files, "lines.tsv": own.rendered(), "child/probe": binary,
                      "child/lines.tsv": child.rendered()}, ["child/probe"])
    seen = tried_in(server, functions, kinds, when, package, **fields)
    assert own.failures(seen["own"]) == []
    assert child.failures([json.loads(line) for line in seen["child"].splitlines()]) == []


def is_a_call(line):
    """What a language has no word for, and does not take seconds."""
    return line["do"][0].startswith(("call", "nr", "signal")) or line["do"][0] in ("abstract", "write")


def test_the_list_itself_notices_an_open_door(host):
    """The comparison fails where a probe gets through: everything allowed, everything seen."""
    for probe in ("python", "java", "custom"):
        listed = EscapeList(probe, **host)
        open_door = [
            {"line": at, "errno": 0, "signal": "none",
             "value": platform.node() if "not_host" in line else "loop 0 - sysfs / /tmp \n" * 200}
            for at, line in enumerate(listed.lines)]
        assert len(listed.failures(open_door)) == len(listed.lines), probe
