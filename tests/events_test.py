"""Invoke with type Event: accepted means durable, at most three tries, each in the log."""

import time

import pytest

from support.functions import Functions, python

# Tries stand in the function's log, the one place that outlives its instances.
TELL = "def handler(e, c):\n    print('got', e, c.aws_request_id, flush=True)\n"


def got(server, name, word="got"):
    """(event, request id) of every try that the log holds."""
    logs = server.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    if not groups:
        return []
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{name}", filterPattern=word)
    return [tuple(e["message"].split()[1:3]) for page in pages for e in page["events"]]


def wait_for(check, seconds=30):
    end = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > end:
            pytest.fail(f"did not happen in {seconds} s")
        time.sleep(0.1)
    return found


def send_event(functions, name, event):
    answer = functions.invoke(name, event, InvocationType="Event")
    assert (answer.status, answer.body, answer.error) == (202, b"", None)
    return answer.request_id


def test_an_event_is_run_once_with_the_id_of_its_answer(functions, server):
    name = functions.create(python(TELL))
    request_id = send_event(functions, name, 7)
    assert wait_for(lambda: got(server, name)) == [("7", request_id)]
    time.sleep(2)
    assert len(got(server, name)) == 1


def test_many_events_all_run(functions, server):
    name = functions.create(python(TELL))
    sent = {send_event(functions, name, n) for n in range(100)}
    wait_for(lambda: len(got(server, name)) >= 100, 60)
    assert {request_id for _, request_id in got(server, name)} == sent


def test_an_event_for_nobody_is_refused_at_once(client, refuses):
    with refuses("ResourceNotFoundException", status=404):
        client.invoke(FunctionName="nope", Payload=b"1", InvocationType="Event")


def test_a_version_gets_its_own_events(functions, client, server):
    name = functions.create(python("def handler(e, c): print('got', c.function_version, c.aws_request_id)\n"))
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=python("def handler(e, c): print('wrong')\n"))
    functions.wait_updated(name)
    functions.invoke(name, 1, InvocationType="Event", Qualifier="1")
    assert wait_for(lambda: got(server, name))[0][0] == "1"


def test_a_failing_event_is_tried_three_times_with_one_id(start_server):
    """AWS waits a minute, then two; the delays are the operator's to shorten."""
    server = start_server("[instances]\nretry_delays = [\"1s\", \"2s\"]\n")
    functions = Functions(server)
    name = functions.create(python(TELL + "    raise ValueError('no')\n"))
    request_id = send_event(functions, name, 1)
    wait_for(lambda: len(got(server, name)) == 3)
    time.sleep(5)
    assert got(server, name) == [("1", request_id)] * 3


def test_a_throttled_event_waits_and_runs(functions, client, server):
    name = functions.create(python(TELL))
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    request_id = send_event(functions, name, 1)
    time.sleep(1)
    assert got(server, name) == []
    client.delete_function_concurrency(FunctionName=name)
    assert wait_for(lambda: got(server, name), 90) == [("1", request_id)]


def test_what_was_accepted_outlives_a_kill(start_server):
    server = start_server()
    functions = Functions(server)
    name = functions.create(python("import time\n" + TELL + "    time.sleep(0.2)\n"), Timeout=10)
    sent = {send_event(functions, name, n) for n in range(60)}
    server.kill()
    server.start()
    wait_for(lambda: {request_id for _, request_id in got(server, name)} >= sent, 90)


def test_a_kill_while_events_arrive_loses_none_that_was_acknowledged(start_server):
    server = start_server()
    functions = Functions(server)
    name = functions.create(python(TELL))
    acknowledged = set()
    for round_number in range(3):
        functions = Functions(server)
        for n in range(40):
            acknowledged.add(send_event(functions, name, round_number * 1000 + n))
        server.kill()
        server.start()
    wait_for(lambda: {request_id for _, request_id in got(server, name)} >= acknowledged, 90)


def test_events_of_a_removed_function_end(functions, client, server):
    name = functions.create(python("import time\ndef handler(e, c): time.sleep(1)\n"), Timeout=5)
    for n in range(20):
        send_event(functions, name, n)
    client.delete_function(FunctionName=name)
    # The name is free again, and the old events are not the new function's.
    functions.create(python(TELL), name)
    time.sleep(5)
    assert got(server, name) == []
