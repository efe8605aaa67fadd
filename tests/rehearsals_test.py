"""Instances that are made ahead of a call: they run an event of the platform's that no function hears of, and wait awake
where nothing of a function could run meanwhile."""

import json
import re
import time
import urllib.request

import pytest

from support.functions import ECHO, Functions, node_runtime, python, unique, zip_of

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def ready():
    """A server that has one instance of every function ready."""
    from support.server import Server
    one = Server("[instances]\nready = 1\n")
    try:
        yield Functions(one.start())
    finally:
        one.close()


def metrics(functions):
    text = urllib.request.urlopen(f"{functions.server.admin}/metrics", timeout=10).read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}


def instances(functions, name):
    rows = json.loads(functions.server.cli("ps", "--json").stdout)["Instances"]
    return [row for row in rows if row["FunctionName"] == name]


def until(holds):
    end = time.monotonic() + WAIT_SECONDS
    while not (found := holds()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def rest(functions, name, state):
    """Waits until the one instance of a function waits so, and goes on to."""
    until(lambda: [row["State"] for row in instances(functions, name)] == [state])
    time.sleep(2)
    (row,) = instances(functions, name)
    assert row["State"] == state, row
    return row


def lines(functions, name):
    logs = functions.server.client("logs")
    try:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"] for event in found]


def test_the_function_hears_nothing_of_it_and_it_is_on_no_record(ready):
    before = metrics(ready)
    name = ready.create(python(
        "import logging, os, sys\n"
        "print('init'); CALLS, HEARD = [], []\n"
        "sys.addaudithook(lambda event, _: HEARD.append(event)) if hasattr(sys, 'addaudithook') else None\n"
        "def handler(event, context):\n"
        "    CALLS.append(context.aws_request_id)\n"
        "    print('called')\n"
        "    return {'calls': CALLS, 'mine': context.aws_request_id, 'imports': HEARD.count('import')}\n"))
    until(lambda: metrics(ready)["freehold_rehearsals_total"] > before["freehold_rehearsals_total"])
    row = rest(ready, name, "idle")
    after = metrics(ready)
    for counted in ("freehold_billed_milliseconds_total", "freehold_cpu_seconds_total", "freehold_received_bytes_total",
                    "freehold_sent_bytes_total", "freehold_run_seconds_total", "freehold_rehearsals_failed_total"):
        assert after[counted] == before[counted], counted
    assert row["Invocations"] == 0
    assert not [line for line in lines(ready, name) if line.startswith(("START", "END", "REPORT")) or "called" in line]

    used = after["freehold_starts_ahead_used_total"]
    answer = ready.call(name, {})
    assert answer["calls"] == [answer["mine"]] and answer["imports"] == 0
    assert metrics(ready)["freehold_starts_ahead_used_total"] == used + 1
    told = until(lambda: [line for line in lines(ready, name) if line.startswith("REPORT")] and lines(ready, name))
    assert [line.split()[0] for line in told if line.startswith(("START", "END", "REPORT", "called"))] == [
        "START", "called", "END", "REPORT"]
    assert all(answer["mine"] in line for line in told if line.startswith(("START", "REPORT")))


THREAD = """
import threading, time
TICKS = [0]
def tick():
    while True:
        time.sleep(0.01)
        TICKS[0] += 1
threading.Thread(target=tick, daemon=True).start()
def handler(event, context): return TICKS[0]
"""
CHILD = """
import subprocess
CHILD = subprocess.Popen(["/bin/sh", "-c", "while true; do sleep 1; done"])
def handler(event, context): return CHILD.poll()
"""
ALARM = """
import signal
TICKS = [0]
def tick(*_): TICKS[0] += 1
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
def handler(event, context):
    signal.setitimer(signal.ITIMER_REAL, 0)
    return TICKS[0]
"""


@pytest.mark.parametrize("body", [THREAD, CHILD, ALARM], ids=["thread", "child", "timer"])
def test_whose_init_left_something_running_waits_frozen(ready, body):
    name = ready.create(python(body))
    before = rest(ready, name, "frozen")
    (after,) = instances(ready, name)
    assert after["CpuUs"] == before["CpuUs"]
    ready.call(name, {})
    assert instances(ready, name)[0]["InstanceId"] == before["InstanceId"]


def test_what_cannot_be_awake_serves_as_ever(ready):
    if node_runtime() is None:
        pytest.skip("no Node.js on this machine")
    package = zip_of({"index.js": "exports.handler = async (event) => event;"})
    name = ready.create(package, Runtime=node_runtime())
    rest(ready, name, "frozen")
    assert ready.call(name, [1]) == [1]


def test_one_that_ends_in_it_is_replaced_by_one_that_is_spared_it(ready):
    """A function may break what the runtime stands on; what an event would do to it then, ours does."""
    before = metrics(ready)["freehold_rehearsals_failed_total"]
    name = ready.create(python(
        "import os\n"
        "from freehold_runtime import loop\n"
        "def answer_back(event, context): os._exit(3)\n"
        "loop.answer_back = answer_back\n"
        "def handler(event, context): return 'serves'\n"))
    until(lambda: metrics(ready)["freehold_rehearsals_failed_total"] == before + 1)
    rest(ready, name, "idle")
    assert ready.call(name) == "serves"
    assert metrics(ready)["freehold_rehearsals_failed_total"] == before + 1


def test_without_anything_ready_nothing_is_rehearsed(functions):
    name = functions.create(ECHO, name=unique("plain"))
    assert functions.call(name, [1]) == [1]
    assert metrics(functions)["freehold_rehearsals_total"] == 0
