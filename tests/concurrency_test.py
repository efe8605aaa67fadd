"""Reserved concurrency, the account's, and what happens past either."""

import threading

import pytest
from botocore.exceptions import ClientError

from support.functions import Functions, python
from support.recorded import Bindings

SLEEP = python("import time\ndef handler(e, c):\n    time.sleep(e)\n    return e\n")
CASE = "TestLambdaConcurrency::test_lambda_concurrency_crud"


def test_the_setting_comes_and_goes_as_recorded(functions, client):
    name = functions.create(wait=False)
    bind = Bindings(functions.account)
    bind.check(CASE, "get_function_concurrency_default", client.get_function_concurrency(FunctionName=name))
    bind.check(CASE, "put_function_concurrency",
               client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0))
    bind.check(CASE, "get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    client.delete_function_concurrency(FunctionName=name)
    bind.check(CASE, "get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))
    assert "Concurrency" not in client.get_function(FunctionName=name)


def test_zero_stops_a_function(functions, client):
    name = functions.create()
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["Error"]["Message"] == "Rate Exceeded."
    client.delete_function_concurrency(FunctionName=name)
    assert functions.call(name, 1) == 1


def throttled_calls(functions, name, calls, seconds=8):
    """Calls at once and gives the reasons of those that were refused."""
    reasons, served, lock = [], [], threading.Lock()

    def call():
        try:
            answer = functions.call(name, seconds)
            with lock:
                served.append(answer)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
            with lock:
                reasons.append(error.response.get("Reason"))

    threads = [threading.Thread(target=call) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return served, reasons


def test_past_the_reserved_number_the_reason_is_the_functions(functions, client):
    name = functions.create(SLEEP, Timeout=20)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    served, reasons = throttled_calls(functions, name, 5)
    assert len(served) == 2
    assert reasons == ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 3
    assert functions.call(name, 0) == 0


def test_a_function_begins_ten_times_its_reservation_in_a_second(server, functions, client):
    name, other = functions.create(), functions.create()
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)

    def refused(times=150):
        found = []
        for at in range(times):
            try:
                assert functions.call(name, at) == at
            except ClientError as error:
                found.append(error.response)
        return found
    over = refused()
    assert over
    for response in over:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert response["Error"]["Code"] == "TooManyRequestsException"
        assert response["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
        assert "PutFunctionConcurrency" in response["Error"]["Message"]
        assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    # It is that function's alone. Events, below, have no such rate.
    assert [functions.call(other, at) for at in range(60)] == list(range(60))
    limits = ["tenants", "limits", functions.account, "--sync-invocations"]
    server.cli(*limits, "none")
    try:
        assert refused() == [], "it is lifted with the account's"
    finally:
        server.cli(*limits, "default")
    kinds = [functions.invoke(name, 0, InvocationType="Event").status for _ in range(60)]
    assert kinds == [202] * 60


def test_past_the_account_the_reason_is_the_accounts(start_server):
    server = start_server("[limits]\naccount_concurrency = 3\nunreserved_concurrency_min = 1\n")
    functions = Functions(server)
    name = functions.create(SLEEP, Timeout=20)
    served, reasons = throttled_calls(functions, name, 6)
    assert len(served) == 3
    assert reasons == ["ConcurrentInvocationLimitExceeded"] * 3
    limit = functions.client.get_account_settings()["AccountLimit"]
    assert limit["ConcurrentExecutions"] == 3


def test_what_is_reserved_is_not_for_others(start_server):
    server = start_server("[limits]\naccount_concurrency = 4\nunreserved_concurrency_min = 1\n")
    functions = Functions(server)
    quiet, loud = functions.create(), functions.create(SLEEP, Timeout=20)
    functions.client.put_function_concurrency(FunctionName=quiet, ReservedConcurrentExecutions=2)
    assert functions.client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 2
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(throttled_calls(functions, loud, 4, 4)))
    thread.start()
    assert functions.call(quiet, "mine") == "mine"
    thread.join()
    served, reasons = outcome[0]
    assert (len(served), len(reasons)) == (2, 2)


def test_too_much_cannot_be_reserved(functions, client, refuses):
    name = functions.create(wait=False)
    with refuses("InvalidParameterValueException",
                 "decreases account's UnreservedConcurrentExecution below its minimum value of", 400):
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=100_000)
    with refuses("ValidationException", "reservedConcurrentExecutions", 400):
        functions.server.client("lambda", parameter_validation=False).put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=-1)


@pytest.mark.parametrize("operation, fields", [
    ("put_function_concurrency", {"ReservedConcurrentExecutions": 1}),
    ("get_function_concurrency", {}), ("delete_function_concurrency", {})])
def test_a_function_that_is_not_there(client, refuses, operation, fields):
    with refuses("ResourceNotFoundException", "Function not found: .*:function:never-made", 404):
        getattr(client, operation)(FunctionName="never-made", **fields)
