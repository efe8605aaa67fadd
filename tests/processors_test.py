"""Where the server's threads run: each serving one on a processor of its own, what they begin wherever there is room."""

import os
import pathlib
import subprocess
import threading

import pytest

from support import leaks
from support import server as servers


def allowed(task):
    """The processors that a thread may use, by its folder below /proc."""
    for line in leaks._read(task / "status").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return line.split(":")[1].strip()
    return None


def serving(server):
    """What each of the server's serving threads may use, by name, and what its first thread may."""
    first = server.process.pid
    tasks = pathlib.Path(f"/proc/{first}/task").iterdir()
    by_name = {leaks._read(task / "comm").strip(): allowed(task) for task in tasks}
    return ({name: at for name, at in by_name.items() if name.startswith("core-")},
            allowed(pathlib.Path(f"/proc/{first}/task/{first}")))


def given():
    return allowed(pathlib.Path("/proc/self"))


def test_each_serving_thread_keeps_to_a_processor_of_its_own(start_server):
    server = start_server()
    threads, first = serving(server)
    each = [str(processor) for processor in sorted(os.sched_getaffinity(0))]
    if len(threads) != len(each):
        pytest.skip("this machine has more than 64 processors, or a quota of fewer than it shows")
    assert [threads[name] for name in sorted(threads, key=lambda name: int(name[5:]))] == each
    assert first == given()


def test_fewer_threads_than_processors_go_where_there_is_room(start_server):
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("this machine has one processor")
    threads, first = serving(start_server("[server]\ncores = 1\n"))
    assert threads == {"core-0": given()} and first == given()


def test_a_child_goes_where_its_parents_first_thread_may():
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("this machine has one processor")
    seen = {}

    def begin():
        # Of this thread alone, as the server's serving threads have it.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        seen["thread"] = allowed(pathlib.Path(f"/proc/self/task/{threading.get_native_id()}"))
        process = subprocess.Popen([servers.binary(), "__compile"], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        at = pathlib.Path(f"/proc/{process.pid}")
        # It waits for its input.
        for _ in range(1000):
            if seen.get("child") == given():
                break
            seen["child"] = allowed(at)
            threading.Event().wait(0.01)
        process.stdin.close()
        process.wait(10)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert seen["thread"] != given() and seen["child"] == given()
