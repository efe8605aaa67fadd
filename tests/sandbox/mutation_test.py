"""Each isolation step left out in turn: the escape list must notice, or nothing may start.

Runs the custom probe in sandboxes of the crate itself, which are parked before it is executed there,
and the one in Python in instances that are thawed from an image of it, and in those that were booted
before they had a package; and looks from outside at those that are parked, in which nothing runs yet.
The probe stands where a function's first code does, in those that were thawed after the thaw, and never
asks for an event: what it tries it tries in init. The process that an image is taken of came up
in one of these ways. That the same walls stand around events `escape_test.py` shows from inside. Built with the feature `mutation`, which no shipped binary has. They run in their own uts, pid and mount
namespaces, since a sandbox without its own would work on the machine's.
"""

import contextlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import programs  # noqa: E402
from escape_list import FOLDER, EscapeList  # noqa: E402
from hostile_host import hostile_host  # noqa: E402

HOST_NAME = "the-host"
RENAMED = "the machine was renamed"
# What stands for the machine: a name, and pids too high for a namespace that was just made. The
# shell stays as its pid 1 and takes along what is left over.
SCRIPT = f"""
hostname {HOST_NAME}
echo 20000 > /proc/sys/kernel/ns_last_pid
"$@"
code=$?
test "$(hostname)" = {HOST_NAME} || echo "{RENAMED}" >&2
exit $code
"""
# Groups that a sandbox would inherit if it did not clear them.
GROUPS = [4, 27]
TIMEOUT = 300

# Steps that the list notices from inside, or without which no sandbox starts.
NOTICED = [
    "namespace_pid", "namespace_mount", "namespace_net", "namespace_ipc", "namespace_uts",
    "join_cgroups", "namespace_cgroup", "loopback", "listeners", "mount_proc",
    "keep_mount_namespace", "offer_to_oom_killer", "read_only_proc", "mount_shm", "pivot_root",
    "host_name", "descriptors", "session", "signals", "resources", "bounding_set", "groups", "ids",
    "no_new_privileges", "filter",
]
# The others, each with what makes it invisible from inside and what shows it instead.
UNSEEN = {
    "link": "it is a way out, and here nobody has one: tests/network_test.py goes it",
    "name_user": "it names the uid and holds nothing in or out: tests/functions_test.py asks for the name",
    "die_with_spawner": "only a dying spawner shows it: the crate's platform test kills one",
    "capabilities": "the change of ids before it clears them too; both stay",
    "not_dumpable": "exec undoes it; on the parked process, which runs no tenant code, the change of ids does the same",
}

# What cannot be seen of a sandbox that is parked.
UNSEEN_PARKED = {
    "host_name": "it is asked of the namespace of whoever asks",
    "keep_mount_namespace": "it is for what is mounted later",
}

# The probe of each kind, and what the Python that runs it does first.
PROBES = {"executed": ("custom", None), "thawed": ("python", ["/var/task/probe.py", "--thawed"]),
          "booted": ("python", ["-c", """
import os, runpy
os.write(3, b"waits")
os.read(3, 1)
runpy.run_path("/var/task/probe.py", run_name="__main__")
"""])}
PARKED = "parked"
KINDS = pytest.mark.parametrize("kind", [*PROBES, PARKED])
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes of this test need root")


@pytest.fixture(scope="module")
def program():
    """The example that runs a probe in a sandbox, with or without a step."""
    return programs.escape()


@pytest.fixture(scope="module")
def listed():
    """The list of each kind of instance, and the same without what takes seconds."""
    with hostile_host() as host:
        yield {(kind, is_whole): EscapeList(probe, **host, host_name=HOST_NAME,
                                            only=(lambda _: True) if is_whole else takes_no_time)
               for kind, (probe, _) in PROBES.items()
               for is_whole in (True, False)}


def takes_no_time(line):
    """What uses up all there is of something takes seconds, and only a group denies it."""
    return line["do"][0] not in ("fill", "forks")


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return programs.probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def run(program, listed, probe):
    """What the list finds with a step left out; None when no sandbox started."""
    found = {}

    def once(kind, step=None):
        if kind == "thawed" and platform.machine() != "x86_64":
            pytest.skip("start images need x86-64")
        if (kind, step) not in found and kind == PARKED:
            found[kind, step] = _look_at_parked(program, step)
        elif (kind, step) not in found:
            lines = listed[kind, step == "join_cgroups"]
            found[kind, step] = _run(program, lines, kind, probe, step)
        return found[kind, step]

    return once


@contextlib.contextmanager
def _folder():
    """What the program wants: a tree with nothing in it, and a package."""
    with tempfile.TemporaryDirectory(prefix="freehold-escape-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for inside in ("proc", "dev", "run", "tmp", "var/task", "etc", "usr"):
            (folder / "tree" / inside).mkdir(parents=True)
        (folder / "tree/etc/passwd").write_text("root:x:0:0::/:/\n")
        (folder / "package").mkdir()
        yield folder


def _apart(program, folder, step):
    """Runs the program, without a step, away from the machine's own host name, pids and mounts."""
    arguments = [program, str(folder)] + ([step] if step else [])
    return subprocess.run(
        ["unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child",
         "sh", "-c", SCRIPT, "sh", *arguments],
        extra_groups=GROUPS, capture_output=True, text=True, timeout=TIMEOUT)


def _look_at_parked(program, step):
    with _folder() as folder:
        (folder / PARKED).touch()
        done = _apart(program, folder, step)
        if done.returncode != 0:
            assert step is not None, done.stderr
            return None
        return done.stdout.splitlines() + ([RENAMED] if RENAMED in done.stderr else [])


def _run(program, listed, kind, probe, step):
    with _folder() as folder:
        _, arguments = PROBES[kind]
        if arguments:
            shutil.copy(FOLDER / "probe.py", folder / "package")
            command = _python_in(folder / "tree", arguments)
            (folder / f"{kind}.json").write_text(json.dumps(command))
        else:
            shutil.copy(probe, folder / "package" / "bootstrap")
        (folder / "package/lines.tsv").write_text(listed.rendered())
        done = _apart(program, folder, step)
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        if len(seen) != len(listed.lines):
            assert step is not None and done.returncode != 0, (len(seen), done.stderr)
            return None
        renamed = [RENAMED] if RENAMED in done.stderr else []
        return listed.failures(seen) + renamed


def _python_in(tree, arguments):
    """The command of a probe that waits to be thawed, and the mounts that the machine's Python needs."""
    mounts = [["/usr", "/usr"]]
    for name in ("bin", "lib", "lib64"):
        folder = pathlib.Path("/") / name
        if folder.is_symlink():
            (tree / name).symlink_to(folder.readlink())
        elif folder.is_dir():
            (tree / name).mkdir()
            mounts.append([str(folder), f"/{name}"])
    if not pathlib.Path("/usr/bin/python3").exists():
        pytest.skip("no Python of the machine's own: another's folder would be seen inside")
    return [["/usr/bin/python3", "-E", "-S", *arguments], mounts]


def test_every_step_is_accounted_for(program):
    steps = subprocess.run([program, "--steps"], check=True, capture_output=True, text=True)
    assert sorted(steps.stdout.split()) == sorted([*NOTICED, *UNSEEN])


@KINDS
def test_with_every_step_nothing_gets_out(run, kind):
    assert run(kind) == []


@pytest.mark.parametrize("kind, step", [
    *((kind, step) for kind in PROBES for step in NOTICED),
    *((PARKED, step) for step in NOTICED if step not in UNSEEN_PARKED)])
def test_a_step_left_out_is_noticed(run, kind, step):
    found = run(kind, step)
    if found is None:
        return  # refused to start, which lets nobody out
    assert set(found) - set(run(kind)), f"without {step} the list sees nothing new"
