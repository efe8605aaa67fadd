"""A thousand updates of a function under load: none fails, and none runs old code afterwards."""

import os
import time

from support.functions import Functions, python
from support.load import Load

UPDATES = int(os.environ.get("FREEHOLD_UPDATES", "1000"))


def numbered(n):
    return python(f"def handler(e, c):\n    return {n}\n")


def test_updates_under_load(start_server):
    server = start_server()
    functions = Functions(server)
    client = functions.client
    # Nearly every call meets a new revision, so nearly every call is a cold start: the machine may
    # be busy, but none of them may fail.
    name = functions.create(numbered(0), Timeout=60)
    assert functions.call(name) == 0
    settled = [(0, time.monotonic())]
    with Load(lambda _: functions.call(name), rate=20, workers=32) as load:
        for n in range(1, UPDATES + 1):
            answer = client.update_function_code(FunctionName=name, ZipFile=numbered(n))
            while answer["LastUpdateStatus"] == "InProgress":
                answer = client.get_function_configuration(FunctionName=name)
            assert answer["LastUpdateStatus"] == "Successful"
            settled.append((n, time.monotonic()))
        load.stop()
    failed = [outcome for _, _, outcome in load.outcomes if isinstance(outcome, Exception)]
    assert failed == []
    assert len(load.outcomes) > UPDATES / 100
    at = 0
    for _, started, outcome in sorted(load.outcomes, key=lambda o: o[1]):
        while at + 1 < len(settled) and settled[at + 1][1] < started:
            at += 1
        # What was reported as done before this call began is the least that it may run.
        assert outcome >= settled[at][0], f"ran {outcome} after {settled[at][0]} was reported"
    assert functions.call(name) == UPDATES


def test_a_call_that_runs_finishes_on_its_code(start_server):
    server = start_server()
    functions = Functions(server)
    slow = "import time\ndef handler(e, c):\n    time.sleep(3)\n    return 'old'\n"
    name = functions.create(python(slow), Timeout=20)
    with Load(lambda _: functions.call(name), rate=2, workers=4) as load:
        time.sleep(1)
        functions.client.update_function_code(
            FunctionName=name, ZipFile=python("def handler(e, c): return 'new'\n"))
        functions.wait_updated(name)
        load.stop()
    assert {outcome for _, _, outcome in load.outcomes} <= {"old", "new"}
    assert "old" in {outcome for _, _, outcome in load.outcomes}
