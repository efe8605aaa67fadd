"""The clock of the machine is set while the server runs: by hours, by a day, forward and back.

`support/clock.py` has how. What is measured in spans of time (timeouts, durations, sessions, what waits in
the queue) does not notice; what is said of moments (signatures, keys, periods, certificates) goes by the
new time.
"""

import concurrent.futures
import contextlib
import datetime
import json
import re
import shutil
import sqlite3
import struct
import subprocess
import threading
import time
import zlib

import pytest
from bill_test import all_prices, bills, by_function, check, ledger, of, set_prices
from botocore.exceptions import ClientError
from metrics_test import scrape
from support import leaks, resources
from support.certificates import Authority, fingerprint
from support.clock import SteppedServer
from support.functions import Functions, python
from support.http import send, signed
from support.server import binary, make_folder
from tenants_test import code_of, new_account, operate, until

STEPS = [{"hours": 1}, {"hours": -1}, {"days": 1}, {"days": -1}, {"hours": 12}, {"hours": -12}]
LIST = "/2015-03-31/functions/"
# Tells by two clocks how long it took and when that was.
SLEEPER = python("""
import time

def handler(event, context):
    print("line", event["mark"], "begins", flush=True)
    begun = time.monotonic()
    time.sleep(event["seconds"])
    print("line", event["mark"], "ends", flush=True)
    return {"mark": event["mark"], "seconds": time.monotonic() - begun, "time": time.time()}
""")

# Tells by the machine's clock when it was tried.
TRIER = python("""
import time

def handler(event, context):
    print("tried", event["mark"], time.time(), flush=True)
    time.sleep(event.get("seconds", 0))
    if event.get("fails"):
        raise ValueError(event["mark"])
""")


def words(step):
    return " ".join(f"{value:+} {unit}" for unit, value in step.items())


@pytest.fixture(scope="module")
def shared():
    """A server of the file's whose clock goes to and fro."""
    server = SteppedServer('[instances]\nretry_delays = ["2s", "2s"]\n')
    try:
        server.start()
        with server.signing():
            yield server
    finally:
        server.close()


@pytest.fixture
def stepped():
    """Starts servers of a test's own; signatures are of the last one's time."""
    started = []

    def start(config=None, arguments=()):
        one = SteppedServer(config, arguments)
        started.append((one, one.signing()))
        one.start()
        started[-1][1].__enter__()
        return one

    yield start
    for one, signing in reversed(started):
        signing.__exit__(None, None, None)
        one.close()


def processor_seconds(server):
    """What the platform's own processes have used."""
    used = 0
    for pid in resources.platform(server):
        fields = leaks._read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
        used += sum(map(int, fields[11:13])) if fields else 0
    return used / 100


def check_idle(server):
    """A thread that spins uses a whole processor in every second; what is idle, little of one of them."""
    shares = []
    for _ in range(8):
        before, begun = processor_seconds(server), time.monotonic()
        time.sleep(0.5)
        shares.append((processor_seconds(server) - before) / (time.monotonic() - begun))
        if shares[-1] < 0.25:
            return
    pytest.fail(f"nobody asks anything, and the platform uses {shares} processors")


def check_counts(before, now):
    """Nothing is below nothing, and what counts up does not fall."""
    assert [name for name, value in now.items() if value < 0] == []
    fell = [name for name, value in now.items()
            if name.split("{")[0].endswith(("_total", "_bucket", "_count", "_sum")) and value < before.get(name, 0)]
    assert fell == []


def test_calls_are_answered_over_every_step(shared):
    server = shared
    one = new_account(server)
    set_prices(server, currency="EUR", **all_prices())
    name = one.functions.create(SLEEPER, Timeout=10)
    one.functions.call(name, {"mark": "first", "seconds": 0})
    samples, marks = scrape(server), ["first"]
    for step in STEPS:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            mark = words(step)
            running = pool.submit(one.functions.call, name, {"mark": mark, "seconds": 1})
            until(lambda: mark in " ".join(messages(one, name)))
            server.step(**step)
            fresh = one.functions.call(name, {"mark": "behind " + mark, "seconds": 0})
            answer = running.result(60)
        marks += [mark, "behind " + mark]
        assert answer["mark"] == mark and 0.9 < answer["seconds"] < 10, "a timeout is a span of time"
        assert abs(fresh["time"] - time.time()) < 60, "functions have the machine's clock"
        check_counts(samples, samples := scrape(server))
    check_idle(server)
    check_counts(samples, scrape(server))

    # Each is billed once, by its span.
    entries = of(one, ledger(server))
    assert len(entries) == len(marks)
    spans = sorted(entry["usage"]["billed_ms"] for entry in entries)
    assert all(0 < ms < 12_000 for ms in spans) and all(ms >= 1000 for ms in spans[-len(STEPS):]), spans
    # Each is on the bill of a month, however often that began.
    now = datetime.datetime.fromtimestamp(server.time(), datetime.timezone.utc)
    months = {(now + datetime.timedelta(days=days)).strftime("%Y-%m") for days in (-2, 0, 2)}
    lines = [line for month in months for bill in month_of(one, month) for line in bill["lines"]
             if line["kind"] == "function"]
    assert sum(line["invocations"] for line in lines) == len(entries)
    assert sum(line["billed_ms"] for line in lines) == sum(spans)
    if len(months) == 1:
        [bill] = bills(one)
        check(bill, entries, by_function)


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def month_of(one, month):
    done = one.cli("bill", "--month", month, "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else []


def messages(one, name):
    """Lines of a function in the order in which each of its streams has them."""
    logs, group = one.client("logs"), f"/aws/lambda/{name}"
    try:
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    except ClientError:
        return []
    found = []
    for stream in streams:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"],
                                     startFromHead=True)["events"]
        found += [event["message"].rstrip("\n") for event in events]
    return found


def test_functions_do_not_have_what_steps_the_clock(shared):
    server = shared
    server.step(days=1)
    name = Functions(server).create(python("""
import os, time

def handler(event, context):
    maps = open("/proc/self/maps").read()
    return [sorted(os.environ), time.time(), "clock.so" in maps]
"""))
    environment, now, is_there = Functions(server).call(name)
    assert {"LD_PRELOAD", "CLOCK_AHEAD"}.isdisjoint(environment)
    assert abs(now - time.time()) < 60 and not is_there


@pytest.mark.parametrize("step, text", [({"hours": 1}, "Signature expired"),
                                        ({"hours": -1}, "Signature not yet current"),
                                        ({"days": 1}, "Signature expired"),
                                        ({"days": -1}, "Signature not yet current")], ids=str)
def test_signatures_go_by_the_new_time(shared, step, text):
    path, headers = signed(shared, "GET", LIST)
    assert send(shared.url, "GET", path, headers).status == 200
    shared.step(**step)
    reply = send(shared.url, "GET", path, headers)
    assert reply.status == 403 and text in reply.text
    assert reply.headers["x-amzn-errortype"].startswith("InvalidSignatureException")
    path, headers = signed(shared, "GET", LIST)
    assert send(shared.url, "GET", path, headers).status == 200


def test_the_overlap_of_a_rotation_ends_by_the_new_time(shared):
    one = new_account(shared)
    old = one.client("sts")
    one.use(operate(shared, "keys", "rotate", one.key, "--overlap", "2h"))
    new = one.client("sts")
    for step, refused in (({"hours": 1}, None), ({"hours": 2}, "InvalidClientTokenId")):
        shared.step(**step)
        assert code_of(old.get_caller_identity) == refused
        assert new.get_caller_identity()["Account"] == one.account
        states = sorted(key["state"] for key in operate(shared, "keys", "list", one.account))
        assert ("ended" in states) == (refused is not None), states
    # Whom the operator disabled no clock brings back.
    disabled = one.key
    one.use(operate(shared, "keys", "create", one.account))
    operate(shared, "keys", "disable", disabled)
    for step in ({"days": -1}, {"days": 2}):
        shared.step(**step)
        assert code_of(new.get_caller_identity) == "InvalidClientTokenId"
        assert one.client("sts").get_caller_identity()["Account"] == one.account


def test_budgets_go_by_the_new_period_and_never_back(shared):
    # In the middle of an hour: the clock itself goes on.
    at = shared.time() % 3600
    shared.step(seconds=1800 - int(at))
    one = new_account(shared)
    name = one.functions.create()
    operate(shared, "budgets", "set", "--tenant", one.account, "--invocations", "2", "--per", "hour")

    def calls():
        return [code_of(one.functions.client.invoke, FunctionName=name, Payload="1") for _ in range(3)]
    closed = "TooManyRequestsException"
    assert calls() == [None, None, closed]
    for step, then in (({"hours": 1}, [None, None, closed]), ({"hours": -1}, [closed] * 3),
                       ({"days": -1}, [closed] * 3), ({"days": 1, "hours": 2}, [None, None, closed])):
        shared.step(**step)
        assert calls() == then, words(step)
    [row] = json.loads(one.cli("budgets", "list", "--json").stdout)
    assert row["used"] == "2" and row["state"] == "throttled"


def test_the_trail_and_logs_keep_their_order_and_are_read(shared):
    one = new_account(shared)
    name = one.functions.create(SLEEPER)
    marks = []
    for step in ({"hours": 0}, *STEPS):
        shared.step(**step)
        marks.append(f"mark{len(marks)}")
        one.functions.call(name, {"mark": marks[-1], "seconds": 0})
        one.functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=len(marks))
        # What was just written is found by the time that was just set.
        since = one.cli("logs", name, "--since", "10m").stdout
        assert marks[-1] in since, words(step)
        said = one.cli("audit", "--since", "10m", "--action", "lambda:PutFunctionConcurrency*", "--json").stdout
        assert said.count("\n") >= 1, words(step)
    # Lines of a stream stand as they were written, whatever the clock said.
    seen = re.findall(r"line (mark\d+) begins", "\n".join(messages(one, name)))
    assert seen == marks
    rows = [json.loads(line) for line in one.cli("audit", "--since", "3d", "--until", "2099-01-01", "--json",
                                                 "--action", "lambda:PutFunctionConcurrency*").stdout.splitlines()]
    hours = [round((instant(row["Time"]) - instant(rows[0]["Time"])) / 3600) for row in rows]
    assert hours == [0, 1, 0, 24, 0, 12, 0], "as they were written"
    assert {row["Result"] for row in rows} == {"ok"}
    # One request's lines are found by its id, from its first to its last.
    request = one.functions.invoke(name, {"mark": "asked", "seconds": 0}).request_id
    told = one.cli("logs", name, "--request", request).stdout
    assert "line asked begins" in told and "line asked ends" in told and "REPORT" in told


def test_who_follows_is_shown_what_comes_after_a_step_forward(shared):
    one = new_account(shared)
    name = one.functions.create(SLEEPER)
    one.functions.call(name, {"mark": "before", "seconds": 0})
    seen = []
    environment = {**shared.environment(), "AWS_ACCESS_KEY_ID": one.key, "AWS_SECRET_ACCESS_KEY": one.secret}
    follow = subprocess.Popen([str(binary()), "logs", name, "-f"], stdout=subprocess.PIPE, text=True, env=environment)
    reader = threading.Thread(target=lambda: seen.extend(iter(follow.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        until(lambda: any("line before" in line for line in seen))
        for step in ({"hours": 1}, {"days": 1}):
            shared.step(**step)
            one.functions.call(name, {"mark": words(step), "seconds": 0})
            until(lambda: any(words(step) in line for line in seen))
    finally:
        follow.terminate()
        follow.wait(10)
        reader.join(10)


def test_certificates_are_judged_by_the_new_time(stepped):
    folder = make_folder("clock")
    try:
        authority = Authority(folder)
        ends = time.time() + 7200
        stamp = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(ends))
        key = authority.make_key("first")
        pair = authority.sign("first", key, ends=stamp)
        server = stepped(arguments=["--tls-cert", str(pair), "--tls-key", str(key)])
        server.trusted = str(authority.certificate)
        reload = ["reload", "--data", server.data]
        local = {"AWS_ENDPOINT_URL": ""}
        assert abs(scrape(server)["freehold_certificate_ends_seconds"] - ends) < 2
        server.cli(*reload, env=local)
        server.step(days=1)
        done = server.cli(*reload, check=False, env=local)
        assert done.returncode == 4 and "has expired" in done.stderr, done.stderr
        # It is shown on: who has it in hand decides; a clock that was wrong for a while broke nothing.
        server.step(days=-1)
        server.cli(*reload, env=local)
        assert server.client("sts").get_caller_identity()["Account"]
        # One that began in the meantime by a clock that is right again.
        begins = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 3600))
        shutil.copy(authority.sign("second", key, begins=begins), pair)
        done = server.cli(*reload, check=False, env=local)
        assert done.returncode == 4 and "is not valid yet" in done.stderr, done.stderr
        server.step(hours=2)
        server.cli(*reload, env=local)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_one_of_the_servers_own_making_is_renewed_by_the_new_time(stepped):
    server = stepped(arguments=["--set", "tls.self_signed=true"])
    bundle = server.data / "tls" / "certificate.pem"
    first, key = fingerprint(bundle), (server.data / "tls" / "key.pem").read_bytes()
    server.step(days=3641)
    server.restart()
    second = fingerprint(bundle)
    assert second != first and (server.data / "tls" / "key.pem").read_bytes() == key
    assert scrape(server)["freehold_certificate_ends_seconds"] > server.time() + 3000 * 86_400
    # Back again it is one of the future, which no client would take.
    server.step(days=-3641)
    server.restart()
    assert fingerprint(bundle) not in (first, second)
    server.trusted = str(bundle)
    assert server.client("lambda").list_functions()["Functions"] == []


def test_instances_that_live_over_a_step_sign_on(shared):
    server = shared
    functions = Functions(server)
    name = functions.create(python("""
import http.client, os, urllib.parse
KEYS = [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]

def handler(event, context):
    address = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    if event is None:
        return {"keys": KEYS, "host": address}
    line = http.client.HTTPConnection(address, timeout=10)
    line.request("POST", "/", event["body"], event["headers"])
    reply = line.getresponse()
    return {"status": reply.status, "text": reply.read().decode(), "keys": KEYS}
"""), Timeout=20)
    was = functions.call(name)
    key, secret, token = was["keys"]
    body = "Action=GetCallerIdentity&Version=2011-06-15"
    for step in ({"hours": 1}, {"hours": -1}, {"hours": 12}, {"days": 1}, {"days": -3}):
        server.step(**step)
        _, headers = signed(server, "POST", "/", body.encode(), {"Content-Type": "application/x-www-form-urlencoded"},
                            service="sts", key=key, secret=secret, token=token, host=was["host"])
        answer = functions.call(name, {"body": body, "headers": headers})
        assert answer["keys"] == was["keys"], "the same instance"
        assert answer["status"] == 200 and "assumed-role/tests/" in answer["text"], (words(step), answer["text"])


def send_event(server, name, **event):
    answer = Functions(server).invoke(name, event, InvocationType="Event")
    assert answer.status == 202


def tries(server, name, mark):
    """When an event was tried."""
    said = [line.split() for line in messages(server, name)]
    return sorted(float(line[2]) for line in said if line[:2] == ["tried", mark])


def in_state(server, state):
    return scrape(server)[f'freehold_events{{state="{state}"}}']


@pytest.mark.parametrize("step", [{"days": 1}, pytest.param({"days": -1}, marks=pytest.mark.slow)], ids=str)
def test_events_do_not_notice_a_step_nor_a_restart_behind_it(stepped, step):
    server = stepped('[instances]\nretry_delays = ["25s"]\n')
    functions = Functions(server)
    name, full = functions.create(TRIER), functions.create(TRIER)
    functions.client.put_function_concurrency(FunctionName=full, ReservedConcurrentExecutions=0)
    send_event(server, name, mark="waits", fails=True)
    send_event(server, name, mark="runs", seconds=8)
    send_event(server, full, mark="ages")
    until(lambda: tries(server, name, "waits") and tries(server, name, "runs"))
    server.step(**step)
    # What comes behind the step has the queue look at all that is due.
    send_event(server, name, mark="behind")
    until(lambda: in_state(server, "done") == 2, 60)
    assert [len(tries(server, name, mark)) for mark in ("runs", "behind")] == [1, 1]
    server.restart()
    until(lambda: len(tries(server, name, "waits")) >= 2, 90)
    first, second, *_ = tries(server, name, "waits")
    assert second - first > 24, "its delay is a span of time"
    # It is not over its age of six hours, and is tried every half a minute by now.
    Functions(server).client.delete_function_concurrency(FunctionName=full)
    until(lambda: tries(server, full, "ages"), 120)
    until(lambda: in_state(server, "done") == 3)


def test_an_event_that_a_kill_cuts_short_behind_a_step_runs_once_more(stepped):
    server = stepped()
    name = Functions(server).create(TRIER)
    send_event(server, name, mark="cut", seconds=10)
    until(lambda: tries(server, name, "cut"))
    server.step(days=1)
    server.kill()
    server.start()
    until(lambda: in_state(server, "done") == 1, 90)
    assert len(tries(server, name, "cut")) == 2 and in_state(server, "dead") == 0


@pytest.mark.parametrize("step", [pytest.param({"days": 1}, marks=pytest.mark.slow), {"days": -1}], ids=str)
def test_an_event_ends_at_its_age_over_a_step_and_a_restart(stepped, step):
    server = stepped('[limits]\nasync_event_age = "40s"\n')
    functions = Functions(server)
    name, full = functions.create(TRIER), functions.create(TRIER)
    functions.client.put_function_concurrency(FunctionName=full, ReservedConcurrentExecutions=0)
    begun = time.monotonic()
    send_event(server, full, mark="ages")
    server.step(**step)
    send_event(server, name, mark="behind")
    until(lambda: tries(server, name, "behind"))
    server.restart()
    until(lambda: in_state(server, "dead") == 1, 150)
    # Its last try, after half a minute, is the one after which the next would be too late.
    assert time.monotonic() - begun > 25
    assert tries(server, full, "ages") == []


def boot_anew(server):
    """What the store knows of the machine's own clock is of another boot."""
    names = ("time", "time_wall", "time_boot", "time_since_boot")
    with contextlib.closing(sqlite3.connect(server.data / "store" / "queue.db")) as base, base:
        kept = [base.execute("SELECT value FROM counters WHERE name = ?", [name]).fetchone()[0] for name in names]
        kept[2] ^= 1
        new = {"time_boot": kept[2], "time_sum": zlib.crc32(struct.pack("<4q", *kept))}
        for name, value in new.items():
            base.execute("UPDATE counters SET value = ? WHERE name = ?", [value, name])


@pytest.mark.parametrize("step, boots, waits",
                         [({"hours": 3}, False, True),
                          # As good as three hours of being down.
                          ({"hours": 3}, True, False),
                          # Not believed: the queue's time goes on from where it was.
                          pytest.param({"hours": -3}, True, True, marks=pytest.mark.slow),
                          pytest.param({"days": 800}, True, True, marks=pytest.mark.slow)], ids=str)
def test_a_step_while_the_server_is_down_counts_over_a_boot_alone(stepped, step, boots, waits):
    server = stepped('[instances]\nretry_delays = ["35s"]\n')
    name = Functions(server).create(TRIER)
    send_event(server, name, mark="waits", fails=True)
    until(lambda: tries(server, name, "waits") and in_state(server, "waiting") == 1)
    server.stop()
    server.step(**step)
    if boots:
        boot_anew(server)
    server.start()
    until(lambda: len(tries(server, name, "waits")) >= 2, 150)
    first, second, *_ = tries(server, name, "waits")
    assert (second - first > 34) == waits, second - first
