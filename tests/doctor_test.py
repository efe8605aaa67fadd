"""What `freehold doctor` says of the machine, line by line, against what an instance is actually held by.

Where a line says that something is enforced an instance must be held by it, and where it says NO it must
not be: so the file passes as root and as an ordinary user, under cgroup v1 and v2, delegated or not.
"""

import collections
import glob
import json
import os
import pathlib
import re
import time

import pytest
from metrics_test import scrape
from snapstart_test import ON, publish

from support import doctor, leaks, server as servers
from support.functions import Functions, python

MIB = 1 << 20
# Of memory, for a function of 128 MiB.
MUCH = 300
PROCESSES = 1024
NAMESPACES = ("pid", "mnt", "net", "ipc", "uts", "cgroup")

# One function for all: `event` is what it is to do, in the words of the tests below.
SELF = """
import ctypes, errno, os, resource, socket, threading, time
has_name = threading.Event()
def spin():
    ctypes.CDLL(None).prctl(15, NAME.encode(), 0, 0, 0)
    has_name.set()
    while True:
        pass
def handler(event, context):
    if event == 'facts':
        ctypes.CDLL(None).prctl(15, NAME.encode(), 0, 0, 0)
        status = dict(line.split(':', 1) for line in open('/proc/self/status'))
        mounts = [line.split() for line in open('/proc/self/mounts')]
        return {
            'namespaces': {one: os.readlink('/proc/self/ns/' + one) for one in NAMESPACES},
            'seccomp': int(status['Seccomp']), 'uid': os.getuid(),
            'capabilities': [int(status[one], 16) for one in ('CapPrm', 'CapEff', 'CapBnd')],
            'tmp': [kind for _, at, kind, *_ in mounts if at == '/tmp'][-1],
            'core': resource.getrlimit(resource.RLIMIT_CORE)}
    if event == 'memory':
        held = bytearray(b'x' * (1 << 20)) * MUCH
        return len(held)
    if event == 'tmp':
        block = bytes(1 << 20)
        with open('/tmp/much', 'wb') as file:
            for _ in range(MUCH):
                file.write(block)
        return MUCH
    if event == 'processes':
        read, write = os.pipe()
        made = 0
        try:
            while made < PROCESSES + 100:
                if os.fork() == 0:
                    os.close(write)
                    os.read(read, 1)
                    os._exit(0)
                made += 1
        except OSError:
            pass
        os.close(write)
        return made
    if event == 'spin':
        threading.Thread(target=spin, daemon=True).start()
        return has_name.wait()
    if event == 'burn':
        while time.process_time() < 0.5:
            pass
        return time.process_time()
    if event == 'connect':
        try:
            with socket.create_connection(('203.0.113.1', 80), 5) as one:
                return one.recv(1)
        except OSError as error:
            return errno.errorcode[error.errno]
"""


def package(name):
    return python(f"NAME, MUCH, PROCESSES, NAMESPACES = {name!r}, {MUCH}, {PROCESSES}, {NAMESPACES!r}\n" + SELF)


@pytest.fixture(scope="module")
def says():
    """Whether doctor says that a line is enforced."""
    found = doctor.findings()
    assert all(one["detail"] for one in found.values())
    return {what: one["enforced"] for what, one in found.items()}


def named(server, name, seconds=10):
    """The pid outside of the thread or process of this name, and the folder of its /proc."""
    end = time.monotonic() + seconds
    while True:
        for pid in leaks.descendants(server.process.pid):
            for comm in glob.glob(f"/proc/{pid}/task/*/comm"):
                if leaks._read(comm).strip() == name:
                    return pid, pathlib.Path(comm).parent
        assert time.monotonic() < end, f"nothing is called {name}"
        time.sleep(0.05)


def group_file(pid, *names):
    """What one of these files has in the group of a process, whichever hierarchy has it; None without one."""
    for row in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = row.split(":", 2)
        for mount in _mounts(controllers):
            for name in names:
                try:
                    return (mount / path.lstrip("/") / name).read_text().strip()
                except OSError:
                    pass
    return None


def _mounts(controllers):
    """Where the hierarchy with these controllers, none for the unified one, is mounted."""
    for row in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        head, tail = row.split(" - ")
        kind, _, options = tail.split(" ", 2)
        unified = kind == "cgroup2" and not controllers
        if unified or kind == "cgroup" and controllers and set(controllers.split(",")) <= set(options.split(",")):
            yield pathlib.Path(head.split()[4])


@pytest.fixture(scope="module")
def two(server):
    """Two running instances, of 128 and of 1024 MiB, and what each saw of itself."""
    functions, found = Functions(server), []
    for memory in (128, 1024):
        name = f"fh-{memory}"
        function = functions.create(package(name), MemorySize=memory, Timeout=60)
        facts = functions.call(function, "facts")
        found.append(collections.namedtuple("One", "facts pid")(facts, named(server, name)[0]))
    return found


def test_each_line_is_looked_at_here(says):
    """A new line of doctor's wants a test below; that of other firewalls has `firewall_test.py`."""
    assert set(says) == {
        "own user id per instance", "namespaces", "system calls (seccomp)", "memory limit", "process limit",
        "processor weight", "processor time", "freezing idle instances", "fast moves into groups",
        "/tmp of its own size", "crashes reach no handler", "start images", "networks of functions",
        "other firewalls let through", "memory is not swapped", "runtimes"}
    assert not says["runtimes"], "there are none in a folder that is not there"


def test_user_ids(says, two):
    outside = [int(re.search(r"^Uid:\s+(\d+)", leaks._read(f"/proc/{one.pid}/status"), re.M)[1]) for one in two]
    assert [one.facts["uid"] for one in two] == outside
    assert (len(set(outside)) == 2) == says["own user id per instance"]
    assert 0 not in outside


def test_namespaces(says, two):
    assert says["namespaces"], "or no instance would have started"
    for name in NAMESPACES:
        own = os.readlink(f"/proc/self/ns/{name}")
        assert len({own, *(one.facts["namespaces"][name] for one in two)}) == 3, name


def test_the_filter_and_capabilities(says, two):
    assert says["system calls (seccomp)"]
    for one in two:
        assert one.facts["seccomp"] == 2
        assert one.facts["capabilities"] == [0, 0, 0]


def test_core_files(says, two):
    assert says["crashes reach no handler"] == (
        all(one.facts["core"] == [1, 1] for one in two)
        and not leaks._read("/proc/sys/kernel/core_pattern").startswith("@"))


def test_memory(says, functions, two):
    limit = group_file(two[0].pid, "memory.limit_in_bytes", "memory.max")
    # What was thawed from a small image has a part of it counted in its limit (decision 0010).
    held = (limit or "").isdigit() and 115 * MIB < int(limit) <= 128 * MIB
    assert held == says["memory limit"], limit
    answer = functions.invoke(functions.create(package("memory"), MemorySize=128, Timeout=60), "memory")
    assert (answer.error is not None) == says["memory limit"], answer.payload
    if answer.error is None:
        assert answer.payload == MUCH * MIB


def test_swap(says, two):
    spaces = leaks._read("/proc/swaps").splitlines()[1:]
    limit, word = (group_file(two[0].pid, name) for name in ("memory.swap.max", "memory.swappiness"))
    # Of v1 alone is the word, which the kernel may pass over.
    assert says["memory is not swapped"] == (not spaces or limit == "0")
    if says["memory limit"] and (limit or word):
        assert "0" in (limit, word)


def test_processes(says, functions, two):
    limit = group_file(two[0].pid, "pids.max")
    assert (limit is not None and limit != "max") == says["process limit"], limit
    made = functions.call(functions.create(package("many"), MemorySize=2048, Timeout=120), "processes")
    assert (made < PROCESSES) == says["process limit"], made


def test_weights(says, two):
    small, large = (group_file(one.pid, "cpu.shares", "cpu.weight") for one in two)
    # Where there is a hierarchy but no group of an instance's own both are in its root.
    assert (small != large) == says["processor weight"], (small, large)
    if says["processor weight"]:
        assert 7 < int(large) / int(small) < 9, (small, large)


def test_processor_time(says, server, functions):
    before = scrape(server)["freehold_cpu_seconds_total"]
    # However busy the machine is: it goes on until it has used so much.
    used = functions.call(functions.create(package("time"), MemorySize=1024), "burn")
    assert used >= 0.5
    # Counted when the event is over.
    counted = scrape(server)["freehold_cpu_seconds_total"] - before
    assert (counted > 0.1) == says["processor time"], counted


def test_freezing(says, server, functions):
    functions.call(functions.create(package("fh-spins"), MemorySize=1024), "spin")
    _, thread = named(server, "fh-spins")

    def ticks():
        fields = (thread / "stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    # Who is expected soon waits awake, and is frozen within two seconds if it does not sleep.
    time.sleep(3)
    is_frozen, end = False, time.monotonic() + 20
    while not is_frozen and time.monotonic() < end:
        before = ticks()
        time.sleep(1)
        is_frozen = ticks() == before
    assert is_frozen == says["freezing idle instances"]


def test_fast_moves(says, server, two):
    rows = leaks._read(f"/proc/{two[0].pid}/cgroup")
    # The hierarchy bears its supervisor's pid; other servers on the machine have theirs. One without the
    # option may be there and is of no use.
    mounted = any(f"name=fastmoves{pid}:" in rows for pid in leaks.descendants(server.process.pid))
    assert mounted or not says["fast moves into groups"], rows
    assert not mounted or os.geteuid() == 0, rows


def test_tmp(says, functions, two):
    """With a size of its own it is not charged to memory: a function of 128 MiB may write 300."""
    own_size = says["/tmp of its own size"]
    assert {one.facts["tmp"] for one in two} == {"ext4" if own_size else "tmpfs"}
    answer = functions.invoke(functions.create(package("tmp"), MemorySize=128, Timeout=120), "tmp")
    held = not own_size and says["memory limit"]
    assert (answer.error is not None) == held, answer.payload


def test_tenants_are_made_where_instances_have_user_ids_of_their_own(says):
    one = servers.Server(lifted={})
    try:
        one.start()
        done = one.cli("tenants", "create", check=False)
        assert (done.returncode == 0) == says["own user id per instance"], done.stderr
        if done.returncode != 0:
            for part in ("one user id", "server.shared_uid_tenants"):
                assert part in done.stderr.replace("\n", " "), done.stderr
                assert "server.shared_uid_tenants" in doctor.findings()["own user id per instance"]["remedy"]
            assert len(json.loads(one.cli("tenants", "list", "--json").stdout)) == 1
    finally:
        one.close()


def test_networks(says, functions):
    """Refused, or reset where the server carries connections; without a network there is no way to it."""
    heard = functions.call(functions.create(package("network")), "connect")
    assert (heard in ("ECONNREFUSED", "ECONNRESET")) == says["networks of functions"], heard


def test_start_images(says, functions, client):
    name = functions.create(SnapStart=ON, Timeout=60)
    version = publish(client, name)
    assert (version["SnapStart"]["OptimizationStatus"] == "On") == says["start images"], version.get("StateReason")
