"""examples/event-booking keeps its bookings in a real Redis, reached by a policy.

`events` and `bookings` are the example's own; `tickets` signs anew each time, so that a ticket that is
the same was kept.
"""

import collections
import concurrent.futures
import datetime
import itertools
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from metrics_test import scrape
from support import databases, server as servers
from support.functions import Functions, python
from support.projects import BUILD_SECONDS, missing

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "event-booking"
# So many seats has the smallest of its events.
EVENT, SEATS = "jazz-cellar", 24
# Bookings at once: more would measure how fast Node starts.
AT_ONCE = 8
TICKETS = python("""
import uuid
def handler(event, context):
    return {"token": f"{event['booking']}.{uuid.uuid4()}.x"}
""")
_numbers = itertools.count(1)
Reply = collections.namedtuple("Reply", "status document headers")


@pytest.fixture(scope="module")
def redis_and_server():
    databases.needs_links()
    absent = [program for program in ("redis-server", "nft", "setpriv") if databases.program(program) is None]
    if absent or missing("node"):
        pytest.skip(f"{missing('node') or 'not on this machine: ' + ', '.join(absent)} (scripts/setup.sh test)")
    address = databases.own_address(1)
    one = servers.Server(databases.Redis.policy())
    redis = databases.Redis(one.data)
    try:
        redis.start()
        one.start()
        if not (one.data / "sdk" / "nodejs" / "node_modules").is_dir():
            pytest.skip("the AWS SDK for JavaScript could not be fetched")
        yield redis, one
    finally:
        redis.stop()
        one.close()
    addresses = subprocess.run(["ip", "address", "show", "to", address], capture_output=True, text=True)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
    assert addresses.stdout == "" and address.replace(".", "_") not in tables.stdout


@pytest.fixture(scope="module")
def redis(redis_and_server):
    return redis_and_server[0]


@pytest.fixture(scope="module")
def server(redis_and_server):
    return redis_and_server[1]


def deploy(server, folder, *arguments):
    done = subprocess.run([servers.binary(), "deploy", EXAMPLE / folder, *arguments], capture_output=True,
                          text=True, timeout=BUILD_SECONDS, env=server.environment())
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


def path_url(server, name):
    host = server.client("lambda").get_function_url_config(FunctionName=name)["FunctionUrl"]
    return f"{server.url}/_freehold/url/{host.split('//')[1].split('.')[0]}/"


@pytest.fixture(scope="module")
def deployed(server, redis):
    """`bookings`, which is patient with Redis where many instances start at once, and `hasty`, as it comes."""
    Functions(server).create(TICKETS, name="tickets", Timeout=30)
    deploy(server, "events")
    reached = ("--public", "--network", "bookings", "--env", f"REDIS_URL={redis.url}")
    deploy(server, "bookings", *reached, "--env", "REDIS_ANSWER_MS=5000")
    deploy(server, "bookings", "--name", "hasty", *reached)
    server.client("lambda").put_function_concurrency(
        FunctionName="bookings", ReservedConcurrentExecutions=AT_ONCE)


def booker(url):
    def post(seats=1, id=None, name="Ada", event=EVENT):
        order = {"eventId": event, "customer": {"name": name, "email": "ada@example.org"},
                 "seats": {"standard": seats}, **({"id": id} if id else {})}
        request = urllib.request.Request(url, json.dumps(order).encode(), {"Content-Type": "application/json"})
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return Reply(response.status, json.loads(response.read()), response.headers)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 429 or time.monotonic() > end:
                        return Reply(error.code, json.loads(error.read()), error.headers)
            # Throttled: there are as many at once as there may be.
            time.sleep(0.2)
    return post


@pytest.fixture
def book(server, deployed):
    """Posts an order: `book(seats, id)`."""
    return booker(path_url(server, "bookings"))


@pytest.fixture
def book_hastily(server, deployed):
    return booker(path_url(server, "hasty"))


@pytest.fixture
def clean(redis):
    """No seat is sold yet."""
    assert redis.session().ask("FLUSHALL") == "OK"


def fresh():
    return f"order-{os.getpid()}-{next(_numbers)}"


def sold(operator):
    """Seats of the event that are sold, at all its times."""
    return sum(int(operator.ask("HGET", key, "standard")) for key in operator.ask("KEYS", f"seats:{EVENT}:*"))


def test_the_last_seat_is_sold_once(book, redis, clean):
    for count in (8, 8, 7):
        reply = book(count)
        assert reply.status == 201 and reply.document["kept"] is True, reply
    assert reply.document["left"] == {"standard": 1}
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: book(1), range(50)))
    statuses = collections.Counter(reply.status for reply in replies)
    assert statuses == {201: 1, 409: 49}, statuses
    won = next(reply.document for reply in replies if reply.status == 201)
    assert won["left"] == {"standard": 0} and won["ticket"]["token"].startswith(won["id"])
    error = next(reply.document["error"] for reply in replies if reply.status == 409)
    assert error["code"] == "SoldOut"
    assert error["fields"] == [{"field": "seats.standard", "problem": "none is left"}]
    assert sold(redis.session()) == SEATS


def test_who_asks_again_gets_the_same_ticket(book, redis, clean):
    name = fresh()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda _: book(3, name), range(10)))
    assert collections.Counter(reply.status for reply in replies) == {201: 1, 200: 9}
    assert len({reply.document["ticket"]["token"] for reply in replies}) == 1
    operator = redis.session()
    assert sold(operator) == 3
    # Another order does not get it by naming it.
    for other in (book(2, name), book(3, name, "Eve")):
        assert (other.status, other.document["error"]["code"]) == (409, "BookingExists")
        assert "ticket" not in json.dumps(other.document)
    assert sold(operator) == 3
    # What is kept goes a month after the performance.
    month = datetime.timedelta(days=38).total_seconds()
    for key in operator.ask("KEYS", "*"):
        assert 0 < operator.ask("TTL", key) < month, key


def test_seats_beyond_what_is_there_are_refused_with_what_is_left(book, redis, clean):
    assert [book(8).status, book(8).status, book(6).status] == [201] * 3
    reply = book(3)
    assert reply.status == 409
    assert reply.document["error"]["fields"] == [{"field": "seats.standard", "problem": "only 2 left"}]
    assert book(2).status == 201 and sold(redis.session()) == SEATS


def clients_of(operator):
    return [line for line in operator.ask("CLIENT", "LIST").splitlines() if " user=bookings " in line]


def came(server):
    """Instances that came up, those that were made ahead once more when they are used."""
    return sum(value for name, value in scrape(server).items()
               if name.startswith("freehold_starts_total") or name == "freehold_starts_ahead_used_total")


def test_a_connection_is_used_again_and_a_dead_one_replaced(book, redis, server, clean):
    operator, came_before = redis.session(), came(server)
    made = lambda: int(dict(line.split(":", 1) for line in operator.ask("INFO", "stats").splitlines()
                            if ":" in line)["total_connections_received"])
    assert book().status == 201
    before = made()
    for _ in range(10):
        assert book().status == 201
    # One of its own has each instance that came meanwhile, and no other is made.
    assert made() <= before + came(server) - came_before
    came_before, before = came(server), made()
    # Frozen by now: nobody in there sees its connection end.
    time.sleep(0.2)
    assert operator.ask("CLIENT", "KILL", "USER", "bookings") >= 1 and clients_of(operator) == []
    reply = book(2)
    assert reply.status == 201 and sold(operator) == 13
    # The one that was dead, and that of each instance that came meanwhile.
    most = 1 + came(server) - came_before
    assert before < made() <= before + most and 1 <= len(clients_of(operator)) <= most


def test_a_redis_that_is_away_is_said_so_and_comes_back(book_hastily, redis, clean):
    name = fresh()
    kept = book_hastily(2, name)
    redis.kill()
    took = []
    for _ in range(3):
        began = time.monotonic()
        reply = book_hastily(1)
        took.append(time.monotonic() - began)
        assert (reply.status, reply.document["error"]["code"]) == (503, "StoreUnavailable")
        assert reply.headers["Retry-After"] == "5"
    # The machine may stall in one of them.
    assert min(took) < 5, took
    redis.start()
    assert book_hastily(1).status == 201
    again = book_hastily(2, name)
    assert again.status == 200 and again.document["ticket"] == kept.document["ticket"]
    assert sold(redis.session()) == 3


def test_a_redis_that_hangs_is_not_waited_for(book_hastily, redis, clean):
    assert book_hastily(1).status == 201
    names, took = [fresh() for _ in range(3)], []
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        for name in names:
            began = time.monotonic()
            assert book_hastily(2, name).status == 503
            took.append(time.monotonic() - began)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    # The machine may stall in one of them.
    assert min(took) < 8, took
    # The first attempts lay in their connections, and may have been made or not: now each was made once.
    for name in names:
        assert book_hastily(2, name).status in (200, 201)
    assert sold(redis.session()) == 7


def test_bookings_outlive_the_platform_and_redis(book, redis, server, clean):
    name = fresh()
    first = book(2, name)
    server.restart()
    again = book_on(server, name)
    assert (again.status, again.document["ticket"]) == (200, first.document["ticket"])
    server.kill()
    redis.stop()
    redis.start()
    server.start()
    again = book_on(server, name)
    assert (again.status, again.document["ticket"]) == (200, first.document["ticket"])
    assert sold(redis.session()) == 2


def book_on(server, name):
    """The order of `book(2, name)`; the server may have another port now."""
    order = {"eventId": EVENT, "customer": {"name": "Ada", "email": "ada@example.org"},
             "seats": {"standard": 2}, "id": name}
    with urllib.request.urlopen(path_url(server, "bookings"), json.dumps(order).encode(), timeout=60) as response:
        return Reply(response.status, json.loads(response.read()), response.headers)


def test_only_the_policy_leads_to_redis_and_only_the_password_into_it(server, redis, deployed):
    functions = Functions(server)
    probe = python("""
import errno, socket
def handler(event, context):
    try:
        with socket.create_connection(event, 3) as one:
            one.sendall(b"PING\\r\\n")
            return one.recv(100).decode()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
""")
    host, port = redis.listen.split(":")
    where = [host, int(port)]
    assert functions.call(functions.create(probe), where) == "ECONNREFUSED"
    allowed = functions.create(probe, VpcConfig={"SubnetIds": [], "SecurityGroupIds": ["sg-bookings"]})
    assert functions.call(allowed, where).startswith("-NOAUTH")
    # With it the function may do what it does, and no more.
    one = redis.session("bookings")
    for command in (["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "dir"], ["SET", "other", "1"],
                    ["EVAL", "return redis.call('FLUSHALL')", "0"], ["ACL", "LIST"], ["SHUTDOWN"]):
        said = one.ask(*command)
        assert isinstance(said, str) and ("NOPERM" in said or "can't run" in said or "permission" in said), (command, said)
    for name in ("redis.password", "redis.operator"):
        assert (redis.data / "example" / name).stat().st_mode & 0o077 == 0


def test_without_a_redis_bookings_are_answered_and_said_not_to_be_kept(server, deployed):
    deploy(server, "bookings", "--name", "unkept", "--public", "--network", "none", "--env", "POSTER_URL=http://x/")
    order = json.loads((EXAMPLE / "booking.json").read_text())
    with urllib.request.urlopen(path_url(server, "unkept"), json.dumps(order).encode(), timeout=60) as response:
        document = json.loads(response.read())
    assert response.status == 201 and document["kept"] is False
    assert document["ticket"]["poster"] == "http://x/" + document["ticket"]["token"]
