"""Updates of a function that runs: the new code comes up before calls move to it."""

import os
import time

import pytest
from botocore.exceptions import WaiterError

from support.functions import Functions, python
from support.load import Load

RELEASES = int(os.environ.get("FREEHOLD_RELEASES", "20"))
VERSION = """
import time

time.sleep({init})
at = time.time()
{more}

def handler(event, context):
    return [{number}, at]
"""


def code(number, init=0, more=""):
    return python(VERSION.format(number=number, init=init, more=more))


def update(functions, name, package):
    functions.client.update_function_code(FunctionName=name, ZipFile=package)
    functions.wait_updated(name)


def test_the_first_call_after_an_update_waits_for_no_start(functions):
    name = functions.create(code(1))
    functions.call(name)
    update(functions, name, code(2, init=0.3))
    updated = time.time()
    number, came_up = functions.call(name)
    assert number == 2
    assert came_up < updated, "nobody waited for it"


def test_nothing_runs_of_what_nobody_calls(functions):
    name = functions.create(code(1))
    update(functions, name, code(2))
    updated = time.time()
    number, came_up = functions.call(name)
    assert number == 2
    assert came_up > updated


@pytest.mark.parametrize("more, reason", [
    ("raise KeyError('no such table')", "no such table"),
    ("import os; os._exit(3)", "exit"),
])
def test_calls_stay_where_the_new_code_does_not_start(functions, more, reason):
    name = functions.create(code(1))
    before = functions.call(name)
    functions.client.update_function_code(FunctionName=name, ZipFile=code(2, more=more))
    with pytest.raises(WaiterError, match="terminal failure"):
        functions.wait_updated(name)
    shown = functions.client.get_function_configuration(FunctionName=name)
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Failed")
    assert shown["LastUpdateStatusReasonCode"] in ("FunctionError.RuntimeInitError", "FunctionError")
    assert reason in shown["LastUpdateStatusReason"]
    assert functions.call(name) == before, "the very instance that was there"
    # The next one is judged anew.
    update(functions, name, code(3))
    assert functions.call(name)[0] == 3
    # And so it is where the node starts again in between.
    functions.client.update_function_code(FunctionName=name, ZipFile=code(4, more=more))
    with pytest.raises(WaiterError):
        functions.wait_updated(name)
    assert functions.call(name)[0] == 3


def test_writes_of_its_record_start_no_other(functions):
    """Tags and reservations are written while it comes up."""
    name = functions.create(code(1))
    functions.call(name)
    functions.client.update_function_code(FunctionName=name, ZipFile=code(2, init=2))
    arn = functions.client.get_function_configuration(FunctionName=name)["FunctionArn"]
    for n in range(5):
        functions.client.tag_resource(Resource=arn, Tags={"n": str(n)})
        functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5 + n)
    functions.wait_updated(name)
    number, at = functions.call(name)
    assert number == 2
    assert functions.call(name) == [2, at]
    rows = functions.server.cli("ps", name).stdout.splitlines()
    assert len(rows) == 2, rows


def test_updates_drop_nothing(start_server):
    """Callers without a pause while the code changes, every other time to what does not start."""
    server = start_server()
    functions = Functions(server)
    name = functions.create(code(0))
    functions.call(name)
    served = [(0, time.monotonic())]
    with Load(lambda _: functions.call(name)[0], rate=40, workers=16) as load:
        for number in range(1, RELEASES + 1):
            starts = number % 2
            package = code(number, more="" if starts else "raise KeyError(1)")
            functions.client.update_function_code(FunctionName=name, ZipFile=package)
            if starts:
                functions.wait_updated(name)
                served.append((number, time.monotonic()))
            else:
                with pytest.raises(WaiterError):
                    functions.wait_updated(name)
            load.wait_for(len(load.outcomes) + 20)
        load.stop()
    failed = [outcome for _, _, outcome in load.outcomes if isinstance(outcome, Exception)]
    assert failed == []
    at = 0
    for _, started, outcome in sorted(load.outcomes, key=lambda o: o[1]):
        while at + 1 < len(served) and served[at + 1][1] < started:
            at += 1
        assert outcome in [number for number, _ in served[at:]], f"ran {outcome} after {served[at][0]} was served"
