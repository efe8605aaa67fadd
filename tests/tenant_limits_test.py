"""Each limit that an account may have of its own: what is under it passes, what is over it is told by
name, nobody else notices, and it goes with its limit. At the end, an account at all of them at once.
"""

import concurrent.futures
import json
import random
import re
import socket
import threading
import time

import pytest
from botocore.exceptions import ClientError
from support.functions import ECHO, allow_public, python
from support.http import send, signed, url_host_and_id
from tenants_test import new_account, operate, until

KIB, MIB = 1 << 10, 1 << 20
WORK = python("""
import os, time

def handler(event, context):
    for _ in range(event.get("lines", 0)):
        print("x" * 1000)
    time.sleep(event.get("seconds", 0))
    return "y" * event.get("answer", 0)
""")


@pytest.fixture(scope="module")
def one(server):
    """The account that has limits."""
    account = new_account(server, "--name", "bound")
    account.functions.create(WORK, "work", Timeout=30, MemorySize=256)
    return account


@pytest.fixture(scope="module")
def two(server):
    """The one that has none."""
    account = new_account(server, "--name", "free")
    account.functions.create(WORK, "work", Timeout=30, MemorySize=256)
    return account


@pytest.fixture
def limited(server, one):
    """`limited(flag=value)` gives the account limits until the test ends."""
    given = set()

    def limit(**limits):
        words = []
        for name, value in limits.items():
            flag = "--" + name.replace("_", "-")
            given.add(flag)
            words += [flag, str(value)]
        return operate(server, "tenants", "limits", one.account, *words)
    yield limit
    operate(server, "tenants", "limits", one.account,
            *[word for flag in given for word in (flag, "default")])


def refusal(call, *arguments, **fields):
    """What an account is told, whole; None when it is not refused."""
    try:
        call(*arguments, **fields)
    except ClientError as error:
        return error.response
    return None


def call(account, **event):
    return refusal(account.functions.client.invoke, FunctionName="work", Payload=json.dumps(event))


def names(told, flag, value):
    """Whether an answer names the limit, its value and how to raise it."""
    message = told["Error"]["Message"]
    return str(value) in message and f"freehold tenants limits --{flag}" in message


def test_requests_in_a_second(limited, one, two):
    limited(requests=5)
    time.sleep(1.1)
    clients = [account.client("lambda") for account in (one, two)]
    told = [[refusal(lam.get_account_settings) for _ in range(30)] for lam in clients]
    assert told[1] == [None] * 30
    over = [answer for answer in told[0] if answer]
    assert 5 <= 30 - len(over) <= 5 + 30, "a second's worth at once"
    assert over, "thirty calls took longer than five seconds"
    answer = over[0]
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Reason"] == "CallerRateLimitExceeded" and names(answer, "requests", 5)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    limited(requests="default")
    assert [refusal(clients[0].get_account_settings) for _ in range(30)] == [None] * 30


def test_who_calls_its_urls_counts_too(limited, one):
    lam = one.client("lambda")
    lam.create_function_url_config(FunctionName="work", AuthType="NONE")
    allow_public(lam, "work")
    url = lam.get_function_url_config(FunctionName="work")["FunctionUrl"]
    host, name = url_host_and_id(url)
    ask = lambda: send(one.server.url, "GET", f"/_freehold/url/{name}/")
    assert until(lambda: ask().status in (200, 502))
    limited(requests=2)
    time.sleep(1.1)
    answers = [ask() for _ in range(12)]
    over = [answer for answer in answers if answer.status == 429]
    assert over and json.loads(over[0].text)["Reason"] == "CallerRateLimitExceeded"


def test_the_operator_does_not_lock_itself_out(server):
    operate(server, "tenants", "limits", server.account, "--requests", "1")
    for _ in range(5):
        operate(server, "tenants", "list")
    operate(server, "tenants", "limits", server.account, "--requests", "default")


def test_instances_that_start_in_a_second(limited, one, two):
    limited(starts=1)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = {account: [pool.submit(call, account, seconds=1) for _ in range(6)]
                 for account in (one, two)}
        told = {account: [done.result() for done in calls] for account, calls in asked.items()}
    assert told[two] == [None] * 6
    over = [answer for answer in told[one] if answer]
    assert 1 <= len(over) < 6, "some run, on what is there and on what may start"
    assert {answer["Error"]["Code"] for answer in over} == {"TooManyRequestsException"}
    assert {answer["Reason"] for answer in over} == {"FunctionInvocationRateLimitExceeded"}
    assert names(over[0], "starts", 1)
    # Whoever comes back finds an instance.
    assert until(lambda: call(one, seconds=0) is None)


def test_log_bytes_in_a_second(limited, one, two):
    limited(log_rate="10KiB")
    time.sleep(1.1)
    begun = time.monotonic()
    for account in (one, two):
        assert call(account, lines=200) is None
    assert time.monotonic() - begun < 20, "who logs too much is not slowed"

    def lines(account):
        logs = account.client("logs")
        events = logs.filter_log_events(logGroupName="/aws/lambda/work")["events"]
        return [event["message"] for event in events]
    until(lambda: len([line for line in lines(two) if line.startswith("xxx")]) == 200)
    kept = [line for line in until(lambda: lines(one)) if line.startswith("xxx")]
    assert 5 <= len(kept) <= 60

    def counted():
        told = [re.match(r"LOGS_DROPPED Lines: (\d+)", line) for line in lines(one)]
        return sum(int(match[1]) for match in told if match)
    until(lambda: counted() == 200 - len(kept))


def test_payloads_and_answers(limited, one, two):
    limited(sync_payload="1KiB", async_payload="500")
    event = json.dumps({"pad": "x" * 1024})
    for account, code in ((one, "RequestEntityTooLargeException"), (two, None)):
        lam = account.client("lambda")
        for kind in ("RequestResponse", "Event"):
            told = refusal(lam.invoke, FunctionName="work", Payload=event, InvocationType=kind)
            assert (told and told["Error"]["Code"]) == code
    small = json.dumps({"pad": "x" * 600})
    told = refusal(one.client("lambda").invoke, FunctionName="work", Payload=small,
                   InvocationType="Event")
    assert "500 bytes" in told["Error"]["Message"]
    for account, failed in ((one, True), (two, False)):
        answer = account.client("lambda").invoke(FunctionName="work",
                                                 Payload=json.dumps({"answer": 3000}))
        assert ("FunctionError" in answer) == failed
        if failed:
            assert json.loads(answer["Payload"].read())["errorType"] == \
                "Function.ResponseSizeTooLarge"


def test_what_a_function_may_be(limited, one, two):
    limited(memory="512MiB", function_timeout="10s", environment="200B", versions=1)
    lam = one.client("lambda")
    for field, fits, over in (("MemorySize", 512, 513), ("Timeout", 10, 11)):
        told = refusal(lam.update_function_configuration, FunctionName="work", **{field: over})
        assert told["Error"]["Code"] == "ValidationException" and str(fits) in told["Error"]["Message"]
        lam.update_function_configuration(FunctionName="work", **{field: fits})
        one.functions.wait_updated("work")
    told = refusal(lam.update_function_configuration, FunctionName="work",
                   Environment={"Variables": {"WORD": "x" * 200}})
    assert told["Error"]["Code"] == "InvalidParameterValueException"
    assert "200 bytes" in told["Error"]["Message"]
    lam.publish_version(FunctionName="work")
    lam.update_function_configuration(FunctionName="work", Description="another")
    one.functions.wait_updated("work")
    told = refusal(lam.publish_version, FunctionName="work")
    assert told["Error"]["Code"] == "InvalidParameterValueException" and names(told, "versions", 1)
    two.client("lambda").update_function_configuration(FunctionName="work", MemorySize=1024)
    two.functions.wait_updated("work")
    # A run is bound by a limit that came later.
    limited(function_timeout="1s")
    answer = lam.invoke(FunctionName="work", Payload=json.dumps({"seconds": 5}))
    assert "timed out" in answer["Payload"].read().decode()


def test_the_head_of_a_request(limited, one, two):
    limited(header="8KiB")
    for account, status in ((one, 431), (two, 200)):
        path, headers = signed(account.server, "GET", "/2015-03-31/functions/", key=account.key,
                               secret=account.secret, headers={"x-pad": "x" * 9000})
        answer = send(account.server.url, "GET", path, headers)
        assert answer.status == status, answer.text
        if status == 431:
            assert "8192" in answer.text and "tenants limits --header" in answer.text


def test_bytes_in_flight(limited, one, two):
    limited(bytes_in_flight="64KiB")
    event = json.dumps({"pad": "x" * 100_000})
    told = refusal(one.client("lambda").invoke, FunctionName="work", Payload=event)
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert names(told, "bytes-in-flight", 64 * KIB)
    assert refusal(two.client("lambda").invoke, FunctionName="work", Payload=event) is None


class Line:
    """One connection on which an account asks again and again."""

    def __init__(self, account):
        host, port = account.server.url.removeprefix("http://").split(":")
        self.account = account
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def ask(self):
        """The status of one signed request on this connection."""
        path, headers = signed(self.account.server, "GET", "/2016-08-19/account-settings/",
                               key=self.account.key, secret=self.account.secret)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
        head, body = data.split(b"\r\n\r\n", 1)
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(head.split()[1]), head.lower(), body

    def close(self):
        self.socket.close()


def test_connections(limited, one, two):
    limited(connections=3)
    held = [Line(one) for _ in range(3)]
    others = [Line(two) for _ in range(10)]
    try:
        assert [line.ask()[0] for line in held + held] == [200] * 6
        assert [line.ask()[0] for line in others] == [200] * 10
        more = Line(one)
        status, head, body = more.ask()
        assert status == 429 and b"connection: close" in head
        assert b"tenants limits --connections" in body and b"3 connections" in body
        more.close()
        held.pop().close()

        def has_room():
            line = Line(one)
            held.append(line)
            return line.ask()[0] == 200
        assert until(has_room)
    finally:
        for line in held + others:
            line.close()


def test_an_account_at_all_its_limits_at_once_leaves_anothers_calls_answered(limited, one, two):
    """No time is asserted: that is `freehold-bench neighbours`' to tell."""
    limited(requests=20, starts=1, log_rate="10KiB", connections=8, bytes_in_flight="64KiB",
            concurrency=2, functions=1, versions=1, code_storage="100KiB", header="8KiB",
            sync_payload="100KiB", async_payload="1KiB")
    stop, told = threading.Event(), {}

    def note(answer):
        key = "ok" if answer is None else answer["Error"]["Code"]
        told[key] = told.get(key, 0) + 1

    def press(seed, lam):
        rng = random.Random(seed)
        ways = [
            lambda: lam.invoke(FunctionName="work", Payload=json.dumps({"lines": 300})),
            lambda: lam.invoke(FunctionName="work", Payload=json.dumps({"pad": "x" * 90_000})),
            lambda: lam.invoke(FunctionName="work", Payload=json.dumps({"pad": "x" * 200_000})),
            lambda: lam.invoke(FunctionName="work", Payload=json.dumps({"pad": "x" * 2000}),
                               InvocationType="Event"),
            lambda: one.functions.create_response(ECHO, f"more-{seed}"),
            lambda: lam.get_account_settings(),
        ]
        while not stop.is_set():
            try:
                note(refusal(rng.choice(ways)))
            except Exception as error:  # a connection that was closed on it
                told[type(error).__name__] = told.get(type(error).__name__, 0) + 1
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        clients = [one.client("lambda", max_pool_connections=1) for _ in range(12)]
        pressing = [pool.submit(press, seed, lam) for seed, lam in enumerate(clients)]
        try:
            lam = two.client("lambda")
            lam.get_account_settings()
            for at in range(60):
                answer = lam.invoke(FunctionName="work", Payload=json.dumps({"answer": at}))
                assert "FunctionError" not in answer
                assert json.loads(answer["Payload"].read()) == "y" * at
        finally:
            stop.set()
        for done in pressing:
            done.result()
    assert told.get("TooManyRequestsException", 0) > 0, told
