"""Each limit that an account may have of its own: what is under it passes, what is over it is told by
name, nobody else notices, and it goes with its limit. Then all of them at once, from inside an instance,
and what housekeeping takes away.
"""

import concurrent.futures
import contextlib
import json
import random
import re
import socket
import struct
import threading
import time
import zlib

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from calls_test import SIGNING
from support.functions import ECHO, allow_public, python, zip_of
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


def refused(server, limit):
    """How often the server says that it refused requests for this limit."""
    page = send(server.admin, "GET", "/metrics").text
    return int(float(re.search(rf'^freehold_refusals_total{{limit="{limit}"}} ([\d.]+)$', page, re.M)[1]))


@contextlib.contextmanager
def counted(server, limit, times=None):
    """What happens within is counted as refused for this limit: so often, or at all."""
    before = refused(server, limit)
    yield
    more = refused(server, limit) - before
    assert more == times if times is not None else more > 0, (limit, more)


def call(account, name="work", **event):
    return refusal(account.functions.client.invoke, FunctionName=name, Payload=json.dumps(event))


def names(told, flag, value):
    """Whether an answer names the limit, its value and how to raise it."""
    message = told["Error"]["Message"]
    return str(value) in message and f"freehold tenants limits --{flag}" in message


def test_requests_in_a_second(server, limited, one, two):
    limited(requests=5)
    time.sleep(1.1)
    clients = [account.client("lambda") for account in (one, two)]
    before = refused(server, "requests")
    told = [[refusal(lam.get_account_settings) for _ in range(30)] for lam in clients]
    assert told[1] == [None] * 30
    over = [answer for answer in told[0] if answer]
    assert refused(server, "requests") - before == len(over)
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


def test_the_first_session_that_an_instance_is_told_counts_as_no_request(limited, one):
    """In its environment it would not either; asking again does."""
    one.functions.create(python("""
import os, urllib.error, urllib.request
OWN = os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']
def ask(token):
    request = urllib.request.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={'Authorization': token})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
def until_over(token):
    told = [ask(token)]
    while told[-1] != 429 and len(told) < 1000:
        told.append(ask(token))
    return told
def handler(event, context):
    return [until_over('guessed'), until_over(OWN)]
"""), "asks", Timeout=30, MemorySize=256)
    limited(requests=1)
    time.sleep(1.1)
    guessed, own = one.functions.call("asks")
    # With nothing left for a request, which guesses are.
    assert set(guessed) <= {401, 429} and guessed[-1] == 429, guessed
    assert own[0] == 200 and own[-1] == 429, own


def over_rate(answer, flag, most):
    """Whether a call was refused for this rate of its account; it is refused for nothing else."""
    if answer is None:
        return False
    assert answer["Error"]["Code"] == "TooManyRequestsException", answer
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Reason"] == "CallerRateLimitExceeded" and names(answer, flag, most), answer
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    return True


def ways_to_manage(account):
    """Calls of operations that count together."""
    lam = account.client("lambda")
    return [lam.get_account_settings, lam.list_functions,
            lambda: lam.get_function_configuration(FunctionName="work"),
            lambda: lam.get_function_concurrency(FunctionName="work")]


def crossed(calls, flag, most, times=60):
    """How many of many calls in turn were over the rate."""
    return sum(over_rate(refusal(calls[at % len(calls)]), flag, most) for at in range(times))


def test_calls_that_manage_in_a_second(server, limited, one, two):
    lam = one.client("lambda")
    lam.add_permission(FunctionName="work", StatementId="any", Action="lambda:InvokeFunction", Principal=two.account)
    manage, others = ways_to_manage(one), ways_to_manage(two)
    get_function = [lambda: lam.get_function(FunctionName="work")]
    get_policy = [lambda: lam.get_policy(FunctionName="work")]
    held = limited(management=1, get_function=2)["limits"]
    assert (held["management_per_s"], held["get_function_per_s"]) == (1, 2)
    time.sleep(1.1)
    with counted(server, "management"):
        assert 0 < crossed(manage, "management", 1) < 60, "a second's worth at once"
    # Each of the two has its own, which those have not used up.
    for calls in (get_function, get_policy):
        assert refusal(calls[0]) is None
    with counted(server, "get_function"), counted(server, "management", 0):
        assert 0 < crossed(get_function, "get-function", 2)
    with counted(server, "get_policy"), counted(server, "management", 0):
        assert 0 < crossed(get_policy, "management", 1)
    assert 0 < crossed(manage, "management", 1)
    # What is none of them goes on, and so does who is another.
    assert [call(one) for _ in range(20)] == [None] * 20
    assert [refusal(one.client("sts").get_caller_identity) for _ in range(20)] == [None] * 20
    logs = one.client("logs")
    assert [refusal(logs.describe_log_groups) for _ in range(20)] == [None] * 20
    for _ in range(3):
        one.cli("ps")
    assert crossed(others, "management", 1) == 0
    held = limited(management="none", get_function="none")
    for name in ("management_per_s", "get_function_per_s"):
        assert held["limits"][name] is None and held["own_limits"][name] == 0
    shown = server.cli("tenants", "limits", one.account).stdout
    assert len(re.findall(r"^(?:management|get-function) +none\* ", shown, re.M)) == 2, shown
    assert crossed(manage + get_function + get_policy, "management", 1) == 0


def test_who_proves_nothing_uses_up_no_rate(limited, one):
    limited(management=1)
    forged = boto3.client("lambda", endpoint_url=one.server.url, region_name=one.server.keys()["AWS_REGION"],
                          aws_access_key_id=one.key, aws_secret_access_key="guessed" * 6,
                          config=Config(retries={"total_max_attempts": 1}))
    time.sleep(1.1)
    told = [refusal(forged.get_account_settings) for _ in range(30)]
    assert {answer["ResponseMetadata"]["HTTPStatusCode"] for answer in told} == {403}
    assert refusal(one.client("lambda").get_account_settings) is None


def test_clients_wait_for_the_next_second(limited, one, tmp_path):
    """SDKs by themselves, and the commands: a deployment takes more calls than it may make at once."""
    patient = one.client("lambda", retries={"mode": "standard", "total_max_attempts": 20})
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return event\n")
    limited(management=1)
    for _ in range(5):
        patient.get_account_settings()
    done = one.cli("deploy", tmp_path, "--name", "slow", "--json")
    assert json.loads(done.stdout)["result"] == "created"
    [told] = done.stderr.splitlines()
    assert told.startswith("freehold: waiting, as the server asks: "), told
    assert "tenants limits --management" in told
    assert one.functions.call("slow", "x") == "x"
    # What a second brings no room for is told as it is.
    limited(management="default", concurrency=0)
    done = one.cli("invoke", "slow", "--payload", '"x"', check=False)
    assert done.returncode == 4 and "waiting" not in done.stderr, done.stderr
    assert "TooManyRequestsException" in done.stderr


def test_the_rates_of_calls_are_aws_by_default(start_server):
    server = start_server("", lifted={})
    one, two = (new_account(server, "--name", word) for word in ("one", "two"))
    for account in (one, two):
        account.functions.create(WORK, "work")
    held = operate(server, "tenants", "limits", one.account)["limits"]
    assert (held["management_per_s"], held["get_function_per_s"]) == (15, 100)
    settings = {row["key"]: row for row in operate(server, "config", "show", "--endpoint", server.url)["keys"]}
    for key, value in (("limits.management", "15"), ("limits.get_function", "100")):
        assert settings[key]["running"] == {"value": value, "origin": "default"}
        assert settings[key]["reload"]
    manage, get_function = ways_to_manage(one), one.client("lambda").get_function

    def at_once(threads, calls, *rate):
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda _: crossed(calls, *rate), range(threads)))
    assert 0 < at_once(8, manage, "management", 15)
    time.sleep(1.1)
    assert crossed(ways_to_manage(two), "management", 15, 10) == 0
    (server.folder / "freehold.toml").write_text("[limits]\nmanagement = \"none\"\nget_function = 1\n")
    server.cli("reload")
    assert at_once(2, manage, "management", 15) == 0
    assert 0 < crossed([lambda: get_function(FunctionName="work")], "get-function", 1)


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


def test_invocations_in_a_second(server, limited, one, two):
    """Ten times what may be in flight unless they are said, as on AWS."""
    held = operate(server, "tenants", "limits", one.account)
    assert held["limits"]["sync_invocations_per_s"] == 10 * held["limits"]["concurrency"] == 10_000
    assert call(one) is None and call(two) is None

    def refused(account, most=None):
        time.sleep(1.1)
        over = [answer for answer in (call(account) for _ in range(150)) if answer]
        for answer in over:
            assert answer["Error"]["Code"] == "TooManyRequestsException"
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
            assert answer["Reason"] == "FunctionInvocationRateLimitExceeded"
            assert names(answer, "sync-invocations", most)
            assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
        return len(over)
    limited(sync_invocations=5)
    assert 0 < refused(one, 5) <= 145, "a second's worth at once"
    assert refused(two) == 0
    held = limited(sync_invocations="none", concurrency=2)
    assert held["limits"]["sync_invocations_per_s"] is None
    assert held["own_limits"]["sync_invocations_per_s"] == 0
    shown = server.cli("tenants", "limits", one.account).stdout
    assert re.search(r"^sync-invocations +none\* ", shown, re.M), shown
    assert refused(one) == 0
    held = limited(sync_invocations="default")
    assert held["limits"]["sync_invocations_per_s"] == 20
    assert 0 < refused(one, 20) <= 130, "ten times two"


def test_instances_of_one_function_that_start_in_ten_seconds(server, limited, one, two):
    held = operate(server, "tenants", "limits", one.account)
    assert held["limits"]["function_starts_per_10_s"] == 1000
    limited(function_starts=2)
    for account in (one, two):
        for name in ("first", "second"):
            account.functions.create(WORK, name, Timeout=30)

    def at_once(account, name):
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            calls = [pool.submit(call, account, name, seconds=2) for _ in range(6)]
            return [answer for answer in (done.result() for done in calls) if answer]
    for name in ("first", "second"):
        assert at_once(two, name) == []
        over = at_once(one, name)
        assert 2 <= len(over) <= 4, "each function has its own"
        for answer in over:
            assert answer["Error"]["Code"] == "TooManyRequestsException"
            assert answer["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert names(answer, "function-starts", 2)
            assert 1 <= int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) <= 5
    limited(function_starts="none")
    assert at_once(one, "first") == []


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


def test_payloads_and_answers(server, limited, one, two):
    limited(sync_payload="1KiB", async_payload="500")
    event = json.dumps({"pad": "x" * 1024})
    for account, code in ((one, "RequestEntityTooLargeException"), (two, None)):
        lam = account.client("lambda")
        with counted(server, "body_bytes", 2 if code else 0):
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


def ask_with_long_head(account):
    path, headers = signed(account.server, "GET", "/2015-03-31/functions/", key=account.key,
                           secret=account.secret, headers={"x-pad": "x" * 9000})
    return send(account.server.url, "GET", path, headers)


def test_the_head_of_a_request(server, limited, one, two):
    limited(header="8KiB")
    for account, status in ((one, 431), (two, 200)):
        with counted(server, "header_bytes", int(status == 431)):
            answer = ask_with_long_head(account)
        assert answer.status == status, answer.text
        if status == 431:
            assert "8192" in answer.text and "tenants limits --header" in answer.text


def test_bytes_in_flight(server, limited, one, two):
    limited(bytes_in_flight="64KiB")
    event = json.dumps({"pad": "x" * 100_000})
    with counted(server, "bytes_in_flight", 1):
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


def test_connections(server, limited, one, two):
    limited(connections=3)
    held = [Line(one) for _ in range(3)]
    others = [Line(two) for _ in range(10)]
    try:
        assert [line.ask()[0] for line in held + held] == [200] * 6
        assert [line.ask()[0] for line in others] == [200] * 10
        more = Line(one)
        with counted(server, "connections", 1):
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


def test_an_account_at_all_its_limits_at_once_leaves_anothers_calls_answered(server, limited, one, two):
    """Each limit of the table is set, and each that a request can meet is met, until all were; the last two
    are housekeeping's. No time is asserted: that is `freehold-bench neighbours`' to tell."""
    one.functions.create(python("""
import os
def handler(event, context):
    os._exit(1)
"""), "ends", Timeout=10)
    for name in ("changes", "grows"):
        one.functions.create(ECHO, name)
    lam = one.client("lambda")
    lam.publish_version(FunctionName="changes")
    many = len(lam.list_functions()["Functions"])
    held = limited(requests=40, starts=1, function_starts=2, log_rate="10KiB", connections=8,
                   bytes_in_flight="64KiB", concurrency=2, sync_invocations=5, functions=many, versions=1,
                   code_storage="16KiB", header="8KiB", sync_payload="100KiB", async_payload="1KiB",
                   management=5, get_function=1, environment="200B", function_timeout="10s", memory="512MiB",
                   stored_logs="1MiB", log_age="2d")
    assert all(held["own_limits"][name] is not None for name in held["limits"]), held

    def invoke(lam, name="work", **event):
        return lam.invoke(FunctionName=name, Payload=json.dumps(event))

    def change(lam, **fields):
        lam.update_function_configuration(FunctionName="changes", **fields)

    def grow(lam):
        package = zip_of({"index.py": f"handler = print  # {random.randbytes(20_000).hex()}"})
        lam.update_function_code(FunctionName="grows", ZipFile=package)
    ways = [
        lambda lam: invoke(lam, lines=300),
        lambda lam: invoke(lam, seconds=0.3),
        lambda lam: invoke(lam, "ends"),
        lambda lam: invoke(lam, pad="x" * 90_000),
        lambda lam: invoke(lam, pad="x" * 200_000),
        lambda lam: lam.invoke(FunctionName="work", Payload=json.dumps({"pad": "x" * 2000}), InvocationType="Event"),
        lambda lam: one.functions.create_response(ECHO, "one-more"),
        lambda lam: lam.get_function(FunctionName="work"),
        lambda lam: change(lam, MemorySize=513),
        lambda lam: change(lam, Timeout=11),
        lambda lam: change(lam, Environment={"Variables": {"WORD": "x" * 200}}),
        lambda lam: change(lam, Description=str(random.random())),
        lambda lam: lam.publish_version(FunctionName="changes"),
        grow,
    ]
    # What tells of each: how an answer names it.
    signs = {name: f"tenants limits --{name}" for name in (
        "requests", "starts", "function-starts", "connections", "bytes-in-flight", "sync-invocations", "functions",
        "versions", "management", "get-function")}
    signs |= {"code-storage": "Code storage limit exceeded: 16384 bytes", "concurrency": "ConcurrentInvocationLimitExceeded", "sync-payload": "smaller than 102400 bytes",
              "async-payload": "1024 bytes", "memory": "less than or equal to 512",
              "function-timeout": "less than or equal to 10", "environment": "200 bytes", "header": "8192"}
    stop, told, others = threading.Event(), set(), set()

    def note(text):
        met = {name for name, sign in signs.items() if sign in text}
        # Of function-starts the reason is that of concurrency.
        met -= {"concurrency"} if "function-starts" in met else set()
        told.update(met) if met else others.add(text[:300])

    def press(seed, lam):
        rng = random.Random(seed)
        while not stop.is_set():
            try:
                if rng.random() < 0.05:
                    note(ask_with_long_head(one).text)
                answer = refusal(rng.choice(ways), lam)
                if answer:
                    note(" ".join(str(answer.get(word)) for word in ("Reason", "Message", "message", "Error")))
            except Exception as error:  # a connection that was closed on it
                others.add(type(error).__name__)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        clients = [one.client("lambda", max_pool_connections=1) for _ in range(12)]
        pressing = [pool.submit(press, seed, lam) for seed, lam in enumerate(clients)]
        try:
            lam, at, until_s = two.client("lambda"), 0, time.monotonic() + 120
            lam.get_account_settings()
            while at < 60 or told != signs.keys() and time.monotonic() < until_s:
                answer = lam.invoke(FunctionName="work", Payload=json.dumps({"answer": at}))
                assert "FunctionError" not in answer
                assert json.loads(answer["Payload"].read()) == "y" * at
                at += 1
        finally:
            stop.set()
        for done in pressing:
            done.result()
    assert told == signs.keys(), (signs.keys() - told, others)
    # The one limit that no answer tells of.
    limited(requests="default", management="default", connections="default")
    logs = one.client("logs")
    assert until(lambda: logs.filter_log_events(logGroupName="/aws/lambda/work", filterPattern="LOGS_DROPPED")["events"])


# From inside: a function with its own credentials and its own endpoint.
PRESSER = """
import collections, json, os, socket, threading, time
from signing import exchange, sign

HOST = os.environ['AWS_ENDPOINT_URL'].split('//')[1]

def connect():
    host, port = HOST.split(':')
    return socket.create_connection((host, int(port)), timeout=asked_patience)

def call(line, event):
    path, body = asked_path, json.dumps(event).encode()
    headers = {**sign(path, HOST, body, os.environ['AWS_REGION']), 'content-length': len(body),
               'x-amz-invocation-type': asked_kind, 'x-pad': 'x' * asked_head}
    head = ''.join(f'{name}: {value}\\r\\n' for name, value in headers.items())
    return exchange(line, f'POST {path} HTTP/1.1\\r\\n{head}\\r\\n'.encode() + body)

def handler(asked, context):
    global asked_head, asked_kind, asked_patience, asked_path
    asked_head, asked_kind = asked.get('head', 0), asked.get('kind', 'RequestResponse')
    asked_patience = asked.get('patience', 30)
    asked_path = asked.get('path', '/2015-03-31/functions/work/invocations')
    end, told, held = time.monotonic() + asked['seconds'], collections.Counter(), []
    event = {'pad': 'x' * asked.get('bytes', 0), 'seconds': asked.get('each', 0)}

    def press():
        line = None
        while time.monotonic() < end and told['over'] < asked['over']:
            try:
                line = line or connect()
                status, body = call(line, event)
                over = asked['named'] in body.decode()
                told['over' if over else 'fine' if status in (200, 202) else f'{status} {body.decode()[:300]}'] += 1
                if status != 200 or asked.get('hold'):
                    # A held one stays open and idle, beside the next.
                    held.append(line) if status == 200 else line.close()
                    line = None
            except Exception as error:
                told[type(error).__name__] += 1
                line = None
    threads = [threading.Thread(target=press) for _ in range(asked['threads'])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told
"""


@pytest.fixture(scope="module")
def presser(one):
    """The one that presses has an instance before any limit holds."""
    package = zip_of({"index.py": PRESSER, "signing.py": SIGNING})
    one.functions.create(package, "presser", Timeout=120, MemorySize=512)
    asked = {"seconds": 10, "threads": 1, "over": 1, "named": '"y"'}
    one.functions.call("presser", {**asked, "seconds": 0})
    return "presser"


@pytest.mark.parametrize("limits, asked", [
    ({"requests": 5}, {"named": "freehold tenants limits --requests"}),
    ({"concurrency": 2}, {"named": "ConcurrentInvocationLimitExceeded", "each": 0.2}),
    ({"starts": 1}, {"named": "freehold tenants limits --starts", "each": 1}),
    ({"bytes_in_flight": "64KiB"}, {"named": "freehold tenants limits --bytes-in-flight", "bytes": 100_000}),
    ({"function_starts": 1}, {"named": "freehold tenants limits --function-starts", "each": 1}),
    ({"sync_invocations": 5}, {"named": "freehold tenants limits --sync-invocations"}),
    ({"sync_payload": "1KiB"}, {"named": "smaller than 1024 bytes", "bytes": 2000}),
    ({"async_payload": "1KiB"}, {"named": "1024 bytes", "bytes": 2000, "kind": "Event"}),
    ({"header": "8KiB"}, {"named": "8192 bytes", "head": 9000}),
], ids=["requests", "concurrency", "starts", "bytes in flight", "starts of a function", "invocations", "payload",
        "event", "head"])
def test_what_a_function_presses_against_from_inside(limited, one, two, presser, limits, asked):
    """It is told which limit it is at, again and again; the other account's calls are all right."""
    limited(**limits)
    told = pressed(one, two, {"seconds": 60, "threads": 12, "over": 30, **asked})
    assert told["over"] >= 30, told


def test_a_function_that_may_manage_nothing_uses_up_no_rate(limited, one, presser):
    limited(management=1)
    settings = one.client("lambda").get_account_settings
    asked = {"seconds": 60, "threads": 4, "over": 300, "named": "not authorized",
             "path": "/2015-03-31/functions/work/policy"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pressing = pool.submit(one.functions.call, presser, asked)
        told = []
        while not pressing.done() or not told:
            time.sleep(1.1)
            told.append(refusal(settings))
    assert pressing.result()["over"] >= 300, pressing.result()
    assert set(told) == {None}, told


def pressed(one, two, asked):
    """What the function was told; meanwhile the other account calls, and all of it is right."""
    lam, done = two.client("lambda"), 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pressing = pool.submit(one.functions.call, "presser", asked)
        while not pressing.done() or done < 20:
            answer = lam.invoke(FunctionName="work", Payload=json.dumps({"answer": done % 100}))
            assert "FunctionError" not in answer
            assert json.loads(answer["Payload"].read()) == "y" * (done % 100)
            done += 1
    return pressing.result()


def test_connections_from_inside_are_the_instances_own(limited, one, two, presser):
    """They are no connections to the public address; an instance has as many of its own, and what is
    over waits to be accepted."""
    limited(connections=4)
    held = [Line(one) for _ in range(2)]
    try:
        assert [line.ask()[0] for line in held] == [200] * 2
        told = pressed(one, two, {"seconds": 8, "threads": 12, "over": 1, "named": "tenants limits", "hold": True,
                                  "patience": 2})
        assert 4 < told["fine"] <= 64 and told.keys() <= {"fine", "TimeoutError", "over"}, told
        assert told.get("over", 0) == 0, told
    finally:
        for line in held:
            line.close()


# What housekeeping takes away, once a minute.


def age(path, by_s):
    """Makes a stream look as if all of it had been written `by_s` earlier; its index is made anew."""
    content = path.read_bytes()
    assert content.startswith(b"FHLOG1\0\n")
    out, at, earlier = bytearray(content[:8]), 8, by_s * 1_000_000

    def frame(body):
        length = struct.pack("<I", len(body))
        return length + struct.pack("<II", zlib.crc32(length), zlib.crc32(body)) + body
    (length,) = struct.unpack_from("<I", content, at)
    head = json.loads(content[at + 12:at + 12 + length])
    head["created"] -= earlier
    out += frame(json.dumps(head, separators=(",", ":")).encode())
    at += 12 + length
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        body = content[at + 12:at + 12 + length]
        written, stored = struct.unpack_from("<qq", body)
        line = frame(struct.pack("<qq", written - earlier, stored - earlier) + body[16:])
        out += line + struct.pack("<I", len(line))
        at += 12 + length + 4
    path.write_bytes(out)


def test_what_is_over_or_past_or_unused_goes_by_itself(start_server):
    """Stored logs, log age, and packages that nothing refers to: of the account that has the limit, and
    of nobody else."""
    server = start_server()
    one, two = (new_account(server, "--name", word) for word in ("bound", "free"))

    def streams(account, name):
        try:
            found = account.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException"
            return []
        return [stream["logStreamName"] for stream in found["logStreams"]]

    def files(account, name):
        found = {}
        for path in (server.data / "store" / "logs").rglob("*.log"):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # Removed since it was listed.
            if account.account.encode() in content[:1000] and f'/aws/lambda/{name}"'.encode() in content[:1000]:
                found[path] = len(content)
        return found

    def packages(account):
        below = [server.data / "packages" / account.account, server.data / "store" / "blobs" / account.account]
        return [len([path for path in folder.rglob("*") if len(path.name) == 64]) for folder in below]
    for account in (one, two):
        for name in ("loud", "old"):
            account.functions.create(WORK, name, Timeout=30)
        account.functions.call("old", {"lines": 3})
        for round_of in range(4):
            account.client("lambda").update_function_configuration(
                FunctionName="loud", Description=f"another instance, {round_of}")
            account.functions.wait_updated("loud")
            account.functions.call("loud", {"lines": 400})
        until(lambda account=account: len(streams(account, "loud")) == 4)
        account.functions.create(zip_of({"index.py": f"handler = print  # {account.account}"}), "gone")
        account.client("lambda").delete_function(FunctionName="gone")
        assert packages(account) == [2, 2]
    size = sum(files(one, "loud").values())
    assert size > 1.2 * MIB, size
    newest = max(files(one, "loud"), key=lambda path: int(path.stem)).read_bytes()
    operate(server, "tenants", "limits", one.account, "--stored-logs", "1MiB", "--log-age", "2d")
    server.stop()
    for account in (one, two):
        (only,) = files(account, "old")
        age(only, 3 * 86_400)
    for path in (server.data / "store").glob("logs.db*"):
        path.unlink()
    server.start()
    assert len(streams(two, "old")) == 1 and len(streams(two, "loud")) == 4
    until(lambda: sum(files(one, "loud").values()) <= MIB, 180)
    until(lambda: streams(one, "old") == [] and not files(one, "old"), 180)
    until(lambda: packages(one) == packages(two) == [1, 1], 180)
    # What is newest stays, and so does all of the other account's.
    assert newest in [path.read_bytes() for path in files(one, "loud")]
    assert len(files(one, "loud")) == len(streams(one, "loud")) >= 2
    assert len(streams(two, "old")) == 1 and len(streams(two, "loud")) == 4
    for account in (one, two):
        for name in ("loud", "old"):
            answer = account.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"answer": 3}))
            assert json.loads(answer["Payload"].read()) == "yyy"
