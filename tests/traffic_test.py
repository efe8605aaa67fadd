"""What functions send to networks and receive from them: on the ledger, in usage, on bills and budgets.

The same world as `network_test.py`, on a node with links and on one that carries connections itself.
"""

import concurrent.futures
import json
import time

import pytest
from bill_test import bills, ledger, set_prices
from budgets_test import metric
from network_test import CONFIG, EXCHANGES, MIB, world
from relay_test import REASON, Ordinary
from support import server as servers
from support.functions import Functions, python
from support.networks import PUBLIC
from tenants_test import code_of, until

pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no namespaces for networks: {REASON}")

# What headers, and segments that come twice, may add to what a program sends.
MORE = 1.05
# What is sent where that is asked: on a loaded machine two segments of 64 KiB come twice, an eighth of one
# MiB and little of this.
SENT = 8 * MIB
# A minute between two readings, and what a loaded machine takes.
SOON = 75

SENDS = """
import socket

def send(size):
    with socket.create_connection(("8.8.8.8", 7777)) as one:
        one.sendall(b"0\\n" + b"a" * size)
        one.shutdown(socket.SHUT_WR)
        return int(one.recv(100))
"""

# Sends, goes on for a while, and sends once more at its end; asked for nothing, it speaks to nobody.
STAYS = python(SENDS + """
import time

def handler(event, context):
    if event is None:
        return None
    said = send(event["bytes"])
    time.sleep(event["stays"])
    return said + (send(event["then"]) if event["then"] else 0)
""")

# Speaks to the platform and asks for a name, a megabyte in all.
WITHIN = python("""
import http.client, os, socket, urllib.parse

def handler(event, context):
    to = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    one = http.client.HTTPConnection(to.hostname, to.port, timeout=30)
    one.request("POST", "/2015-03-31/functions/x/invocations", b"a" * (1 << 20))
    status = one.getresponse().status
    return [status, sorted({found[4][0] for found in socket.getaddrinfo("public.example.org", None)})]
""")


@pytest.fixture(scope="module", params=[servers.Server, Ordinary], ids=["links", "relay"])
def server(request, world):
    one = request.param(CONFIG)
    try:
        one.start()
        set_prices(one, currency="EUR", gb_out="2", gb_in="0.5")
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


def networks(server, name):
    """What the ledger says of a function's network."""
    found = [entry for entry in ledger(server) if entry["function"]["name"] == name and "kind" in entry]
    assert all(entry["kind"] == "network_v1" for entry in found)
    named = [(entry["instance"], entry["sequence"]) for entry in found]
    assert len(set(named)) == len(named) and all(entry["from"] < entry["to"] for entry in found)
    return found


def sums(server, name):
    found = networks(server, name)
    return sum(entry["bytes_out"] for entry in found), sum(entry["bytes_in"] for entry in found)


def end(functions, name):
    """Its instances end, and what they sent is told."""
    def instances():
        shown = json.loads(functions.server.cli("ps", "--json").stdout)["Instances"]
        return {row["InstanceId"] for row in shown if row["FunctionName"] == name}
    before = instances()
    functions.client.update_function_configuration(FunctionName=name, Description=str(time.time()))
    functions.wait_updated(name)
    until(lambda: not before & instances(), 60)


def used(server, name):
    rows = [row for row in json.loads(server.cli("usage", "--json").stdout) if row["function"] == name]
    return tuple(sum(row[field] for row in rows) for field in (
        "network_bytes_out", "network_bytes_in", "bytes_out", "invocations"))


def test_what_is_sent_and_received_is_what_ledger_usage_and_bill_say(functions, server, world):
    name = functions.create(EXCHANGES, Timeout=60)
    before = [metric(server, f"freehold_network_{way}_bytes_total") for way in ("sent", "received")]
    with world.exchanging():
        for each in ([8 * MIB, 0], [0, 3 * MIB]):
            done, _ = functions.call(name, [1, *each])
            assert done == [each]
    end(functions, name)
    out, back = until(lambda: all(sums(server, name)) and sums(server, name))
    assert 8 * MIB <= out <= 8 * MIB * MORE, out
    assert 3 * MIB <= back <= 3 * MIB * MORE, back
    sent, received, answers, invocations = used(server, name)
    assert (sent, received, invocations) == (out, back, 2)
    [bill] = [one for one in bills(server) if one["tenant"] == server.account]
    lines = [line for line in bill["lines"] if line["function"] == name]
    assert sum(line["bytes_out"] for line in lines) == out + answers
    assert sum(line["network_bytes_in"] for line in lines) == back
    assert sum(float(line["amount"]) for line in lines) == pytest.approx((2 * (out + answers) + back / 2) / 2**30)
    after = [metric(server, f"freehold_network_{way}_bytes_total") for way in ("sent", "received")]
    assert [now - then for now, then in zip(after, before)] == [out, back]


def test_the_platform_and_its_names_are_on_no_network(functions, server):
    name = functions.create(WITHIN, Timeout=60)
    status, found = functions.call(name)
    assert status >= 400 and found == [PUBLIC[0]]
    end(functions, name)
    # What there was would be told by then.
    time.sleep(1)
    assert networks(server, name) == [] and used(server, name)[3] == 1


def test_an_instance_that_dies_is_told_of(functions, server, world):
    name = functions.create(python(SENDS + """
import os

def handler(event, context):
    send(8 << 20)
    os._exit(1)
"""), Timeout=60)
    with world.exchanging():
        for _ in range(3):
            functions.invoke(name)
    found = networks(server, name)
    assert len({entry["instance"] for entry in found}) == 3
    assert 3 * SENT <= sums(server, name)[0] <= 3 * SENT * MORE


def test_each_init_that_fails_is_told_of_by_a_name_of_its_own(functions, server, world):
    name = functions.create(python(SENDS + """
send(8 << 20)
raise RuntimeError("as it was told to")
"""), Timeout=60)
    with world.exchanging():
        assert "as it was told to" in json.dumps(functions.invoke(name).payload)
    first, second = sorted(networks(server, name), key=lambda entry: entry["sequence"])
    assert first["instance"] == second["instance"] and (first["sequence"], second["sequence"]) == (1, 2)
    assert all(SENT <= entry["bytes_out"] <= SENT * MORE for entry in (first, second))


def test_one_that_lives_on_is_told_of_within_a_minute_and_its_budget_closes(functions, server, world):
    name, other = (functions.create(STAYS, Timeout=200) for _ in range(2))
    server.cli("budgets", "set", "--tenant", server.account, "--function", name, "--egress", "1MiB", "--per", "month")

    def refused():
        return code_of(functions.invoke, name, None) == "TooManyRequestsException"
    with world.exchanging(), concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert not refused()
        once = pool.submit(functions.call, other, {"bytes": SENT, "stays": SOON, "then": 4 * SENT})
        running = pool.submit(functions.call, name, {"bytes": 2 * SENT, "stays": SOON + 15, "then": 0})
        began = time.monotonic()
        until(refused, SOON)
        assert not running.done() and time.monotonic() - began < SOON
        assert 2 * SENT <= sums(server, name)[0] <= 2 * SENT * MORE
        # It was read as it ran, too.
        assert SENT <= until(lambda: sums(server, other)[0], 5) <= SENT * MORE
        assert running.result() == 2 * SENT, "what has begun runs on"
        assert once.result() == 5 * SENT
    # It is frozen by now, and nobody uses it.
    until(lambda: sums(server, other)[0] >= 5 * SENT, SOON)
    assert sums(server, other)[0] <= 5 * SENT * MORE


def test_a_kill_counts_nothing_twice(functions, server, world):
    name = functions.create(STAYS, Timeout=60)
    with world.exchanging():
        assert functions.call(name, {"bytes": SENT, "stays": 0, "then": 0}) == SENT
        end(functions, name)
        before = until(lambda: sums(server, name)[0] and sums(server, name))
        # This one's instance is not told of any more.
        assert functions.call(name, {"bytes": SENT, "stays": 0, "then": 0}) == SENT
        server.kill()
        server.start()
        functions = Functions(server)
        assert sums(server, name) == before and used(server, name)[:2] == before
        assert functions.call(name, {"bytes": SENT, "stays": 0, "then": 0}) == SENT
        end(functions, name)
    out = until(lambda: sums(server, name)[0] > before[0] and sums(server, name)[0])
    assert 2 * SENT <= out <= 2 * SENT * MORE
    assert used(server, name)[:2] == sums(server, name)
