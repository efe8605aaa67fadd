"""Ten thousand invocations with hang-ups, timeouts, crashes and floods: nothing leaks, of any kind.

Run by `make soak`; SOAK_INVOCATIONS and SOAK_SEED choose another length or repeat a run.
"""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import leaks
from support.functions import Functions, python
from support.http import send, signed

INVOCATIONS = int(os.environ.get("SOAK_INVOCATIONS", "10000"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 32)))
BODY = """
import os, sys, time
def handler(event, context):
    if event == 'hang': time.sleep(60)
    if event == 'crash': os.kill(os.getpid(), 9)
    if event == 'exit': sys.exit(1)
    if event == 'raise': raise ValueError('as told')
    if event == 'flood': print('x' * 100000)
    if event == 'memory': return len(bytearray(500 << 20))
    if event == 'fork' and os.fork() == 0:
        time.sleep(60)
    return event
"""
KINDS = ["fine"] * 60 + ["raise"] * 10 + ["exit", "crash", "flood", "fork"] * 4 + ["memory"] * 2 + [
    "hang"] * 2 + ["gone"] * 10
ERRORS = {"raise": "ValueError", "exit": "Runtime.ExitError", "crash": "Runtime.ExitError",
          "memory": "Runtime.OutOfMemory", "hang": "Sandbox.Timedout"}


@pytest.mark.soak
def test_nothing_leaks(start_server):
    print(f"SOAK_SEED={SEED}")
    server = start_server()
    functions = Functions(server)
    names = [functions.create(python(BODY), Timeout=2) for _ in range(5)]
    wrong, lock, chosen = [], threading.Lock(), random.Random(SEED)
    plan = [(chosen.choice(names), chosen.choice(KINDS)) for _ in range(INVOCATIONS)]

    def one(step):
        name, kind = step
        try:
            if kind == "gone":
                path, headers = signed(server, "POST", f"/2015-03-31/functions/{name}/invocations", b'"fine"')
                try:
                    send(server.url, "POST", path, headers, b'"fine"', timeout=0.01)
                except TimeoutError:
                    pass
                return
            answer = functions.invoke(name, kind)
            found = answer.payload.get("errorType") if answer.error else None
            if found != ERRORS.get(kind):
                raise AssertionError(f"{found} instead of {ERRORS.get(kind)}")
        except Exception as error:
            with lock:
                wrong.append((kind, repr(error)))

    def resources():
        pids = leaks.descendants(server.process.pid)
        descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        rss = int(next(line.split()[1] for line in leaks._read(
            f"/proc/{server.process.pid}/status").splitlines() if line.startswith("VmRSS")))
        return len(pids), descriptors, rss

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, plan[: INVOCATIONS // 5]))
        early = resources()
        list(pool.map(one, plan[INVOCATIONS // 5:]))
    late = resources()
    assert wrong == []
    processes, descriptors, rss = zip(early, late)
    assert processes[1] <= processes[0] + 32
    assert descriptors[1] <= descriptors[0] + 64
    assert rss[1] <= rss[0] * 1.5 + 20_000
    server.note_processes()
    assert server.stop() == 0
    assert server.left_behind() == []
