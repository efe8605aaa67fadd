"""The SDK's own waiters and paginators, as generated from the service models."""

import threading
import time

import pytest
from botocore.exceptions import WaiterError

from support.functions import ECHO, python, unique

FAST = {"Delay": 1, "MaxAttempts": 30}


@pytest.mark.parametrize("waiter", [
    "function_exists", "function_active", "function_active_v2", "function_updated", "function_updated_v2"])
def test_waiters_end_on_an_active_function(functions, client, waiter):
    name = functions.create(wait=False)
    client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=FAST)
    assert client.get_function_configuration(FunctionName=name)["FunctionName"] == name


def test_a_published_version_becomes_active(functions, client):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig=FAST)


def test_function_exists_waits_for_a_later_create(functions, client):
    name = unique()
    thread = threading.Thread(target=lambda: (time.sleep(1.5), functions.create_response(ECHO, name)))
    thread.start()
    client.get_waiter("function_exists").wait(FunctionName=name, WaiterConfig=FAST)
    thread.join()


def test_a_waiter_gives_up_on_what_never_comes(client):
    with pytest.raises(WaiterError):
        client.get_waiter("function_exists").wait(
            FunctionName="never-made", WaiterConfig={"Delay": 1, "MaxAttempts": 2})


def test_an_update_in_progress_is_waited_for(functions, client):
    name = functions.create()
    for n in range(5):
        client.update_function_code(FunctionName=name, ZipFile=python(f"def handler(e, c): return {n}\n"))
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
        assert functions.call(name) == n


@pytest.mark.parametrize("operation, key", [
    ("list_functions", "Functions"), ("list_versions_by_function", "Versions"),
    ("list_function_url_configs", "FunctionUrlConfigs")])
def test_lambda_paginators(functions, client, operation, key):
    name = functions.create()
    functions.create(wait=False)
    functions.public_url(name)
    client.publish_version(FunctionName=name)
    fields = {} if operation == "list_functions" else {"FunctionName": name}
    whole = client.get_paginator(operation).paginate(**fields).build_full_result()[key]
    single = client.get_paginator(operation).paginate(
        **fields, PaginationConfig={"PageSize": 1}).build_full_result()[key]
    assert single == whole and whole


def test_logs_paginators(functions, server):
    logs = server.client("logs")
    for _ in range(3):
        functions.call(functions.create())
    names = [g["logGroupName"] for g in logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix="/aws/lambda/", PaginationConfig={"PageSize": 1}).build_full_result()["logGroups"]]
    assert len(names) >= 3 and names == sorted(set(names))
    events = logs.get_paginator("filter_log_events").paginate(
        logGroupName=names[0], PaginationConfig={"PageSize": 1}).build_full_result()["events"]
    assert len(events) == len({e["eventId"] for e in events}) >= 3
