"""Clients that read or write a byte at a time, or stop in the middle: they hold their own slot only, and
answers that they do not take stay in the functions that made them once there is no room for more.

The bounds in time, 30 s for a body that stalls and 120 s for an answer that nobody takes, are tested
where the clock can be turned: `crates/api/src/{body,unread}.rs`.
"""

import concurrent.futures
import socket
import time
import urllib.parse

import pytest

from metrics_test import scrape
from support.functions import Functions, python, zip_of
from support.http import send, signed, url_host_and_id
from tenants_test import new_account

MIB = 1 << 20
# As much text as the event asks for; without one, a word.
BODY = """
def handler(event, context):
    asked = event.get('rawQueryString') if isinstance(event, dict) else None
    return 'x' * int(asked or 0) + 'end'
"""
# As much text as the query asks for, at a moment that it names.
TOGETHER = """
import time
def handler(event, context):
    size, at = event['rawQueryString'].split('&')
    time.sleep(max(0, float(at) - time.time()))
    return 'x' * int(size)
"""
# Longer than who takes or sends nothing has where that is in others' way.
UNHURRIED_S = 45
# Sends its answer as fast as the event says: large and at once, or as much and the end late or never.
SENDS = f"#!/bin/bash\nunhurried={UNHURRIED_S}" + """
api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -LD "$headers" "$api/invocation/next")
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  case "$event" in '"fast"') pause=0 ;; *late*) pause=$unhurried ;; *) pause=900 ;; esac
  (printf '"'; head -c 200000 /dev/zero | tr '\\0' x; sleep $pause; printf '"') |
    curl -sS -X POST -T - "$api/invocation/$id/response" > /dev/null
done
"""
# Answers that begin together, each a little below 5 MiB, and of how many the URLs of an account have room:
# four are not quite a quarter of 80, and so there is one more. One address has room for three: two are not
# quite half of that.
TOGETHER_COUNT, ROOM_COUNT, ADDRESS_COUNT = 14, 5, 3
SOURCES = [f"127.0.1.{number}" for number in range(1, TOGETHER_COUNT + 1)]
# Bodies and answers of the whole node; the URLs of an account have a quarter of it.
IN_FLIGHT_MIB = 80
CONFIG = f'[limits]\nbytes_in_flight = "{IN_FLIGHT_MIB}MiB"\n'


@pytest.fixture(scope="module")
def target():
    """A server with little room for bodies, and a public function on it."""
    from support.server import Server
    server = Server(CONFIG)
    try:
        server.start()
        functions = Functions(server)
        name = functions.create(python(BODY), Timeout=30)
        server.slow = functions, name, url_host_and_id(functions.public_url(name))[0]
        yield server
    finally:
        server.close()


def connect(server, receive_bytes=None, source=""):
    """A connection; one with few bytes of room makes the other side wait early."""
    address = urllib.parse.urlsplit(server.url)
    one = socket.socket()
    one.bind((source, 0))
    if receive_bytes:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    one.settimeout(60)
    one.connect((address.hostname, address.port))
    return one


def ask(server, size, receive_bytes=4096, host=None, source=""):
    """Asks the URL for an answer of `size` bytes and reads none of it."""
    one = connect(server, receive_bytes, source)
    host = host or server.slow[2]
    one.sendall(f"GET /?{size} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    return one


def status_of(one):
    """Reads as far as the status."""
    got = b""
    while len(got) < 12:
        part = one.recv(12 - len(got))
        assert part, got
        got += part
    return int(got.split(b" ")[1])


def invoke(server):
    """A signed call, which has a share of its own."""
    functions, name, _ = server.slow
    assert functions.call(name, "word") == "end"


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmRSS")))


def connections(server):
    """What the server holds of connections, whatever the client has done."""
    port = f":{urllib.parse.urlsplit(server.url).port:04X}"
    with open(f"/proc/{server.process.pid}/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file][1:]
    # Neither the listeners nor what is nobody's any more.
    return sum(row[1].endswith(port) and row[3] != "0A" and row[9] != "0" for row in rows)


def until(seconds, holds):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def url_answers(server):
    reply = send(server.url, "GET", "/?5", {"Host": server.slow[2]})
    return reply.status == 200 and reply.text == "xxxxxend"


def test_who_reads_a_byte_at_a_time_is_served_to_the_end(target):
    with ask(target, 300_000) as one:
        got = bytearray()
        while part := one.recv(1):
            got += part
    head, body = bytes(got).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and body == b"x" * 300_000 + b"end"


def test_slow_readers_hold_no_more_memory_than_they_may(target):
    """Sixty answers of 5 MiB that nobody takes would be 300 MiB; a quarter of 80 is theirs, half of that one
    address's."""
    invoke(target)
    before, held = resident_kib(target), []

    statuses = []
    try:
        for _ in range(60):
            held.append(ask(target, 5 * MIB, source="127.0.0.1"))
            statuses.append(status_of(held[-1]))
            if len(held) % 10 == 0:
                invoke(target)
        assert set(statuses) == {200, 503}, statuses
        assert statuses.count(200) == IN_FLIGHT_MIB / 4 / 5 / 2, statuses
        # Another's calls are answered meanwhile, as long as they like.
        for _ in range(3):
            with ask(target, MIB, None, source="127.0.0.3") as other:
                assert read_whole(other) == (b"HTTP/1.1 200", MIB + 3)
        held.append(ask(target, 5 * MIB, source="127.0.0.2"))
        assert status_of(held[-1]) == 200
        grown = (resident_kib(target) - before) / 1024
        assert grown < 200, f"{grown:.0f} MiB"
        # A body that turns out to be empty lets nobody in either.
        held.append(connect(target, 4096, "127.0.0.1"))
        head = f"GET /?{5 * MIB} HTTP/1.1\r\nHost: {target.slow[2]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        held[-1].sendall(head.encode() + b"0\r\n\r\n")
        assert status_of(held[-1]) == 503
        invoke(target)
    finally:
        for one in held:
            one.close()
    until(30, lambda: url_answers(target))


def room(server):
    """Bytes that answers hold, and how many of them have waited."""
    numbers = scrape(server)
    return numbers["freehold_answers_held_bytes"], numbers["freehold_answers_waited_total"]


def begin_together(server, sources, room_count):
    """Calls whose answers come at once, with nobody who reads them; resolves when they have waited for room."""
    functions = server.slow[0]
    name = functions.create(python(TOGETHER), Timeout=60)
    host = url_host_and_id(functions.public_url(name))[0]
    until(30, lambda: room(server)[0] == 0)
    before, most = room(server)[1], room_count * 5 * MIB
    query = f"{5 * MIB - 1000}&{time.time() + 5}"
    held = [ask(server, query, 32 << 10, host, source) for source in sources]

    def have_waited():
        bytes_held, waited = room(server)
        assert bytes_held <= most
        return waited - before == TOGETHER_COUNT - room_count and bytes_held == room_count * (5 * MIB - 1000)
    until(60, have_waited)
    return held


def read_whole(one):
    got = bytearray()
    while part := one.recv(1 << 16):
        got += part
    head, body = bytes(got).split(b"\r\n\r\n", 1)
    return head[:12], len(body)


def read_all(held):
    """What was begun together, all of it."""
    with concurrent.futures.ThreadPoolExecutor(TOGETHER_COUNT) as readers:
        read = list(readers.map(read_whole, held))
    assert read == [(b"HTTP/1.1 200", 5 * MIB - 1000)] * TOGETHER_COUNT


def let_go(server, held):
    for one in held:
        one.close()
    until(30, lambda: room(server)[0] == 0)


def test_answers_wait_in_their_functions_until_there_is_room(target):
    other = new_account(target)
    word = other.functions.create(python(BODY), Timeout=30)
    held = begin_together(target, SOURCES, ROOM_COUNT)
    try:
        # Another account has room of its own, so have signed calls of this one, and what is small needs none.
        functions, name, _ = target.slow
        for caller, called in [(other.functions, word), (functions, name)]:
            whole = caller.call(called, {"rawQueryString": str(MIB)})
            assert whole == "x" * MIB + "end"
        invoke(target)
        until(30, lambda: room(target)[0] <= ROOM_COUNT * 5 * MIB)
        read_all(held)
    finally:
        let_go(target, held)


def test_answers_to_one_address_leave_room_to_others(target):
    held = begin_together(target, ["127.0.0.1"] * TOGETHER_COUNT, ADDRESS_COUNT)
    try:
        for _ in range(3):
            with ask(target, MIB, None, source="127.0.0.2") as other:
                assert read_whole(other) == (b"HTTP/1.1 200", MIB + 3)
        read_all(held)
    finally:
        let_go(target, held)


def test_answers_that_wait_for_room_find_it_at_a_reload(target):
    held = begin_together(target, SOURCES, ROOM_COUNT)
    path = target.folder / "freehold.toml"
    try:
        path.write_text(CONFIG.replace(f"{IN_FLIGHT_MIB}MiB", "512MiB"))
        target.cli("reload")
        # Nobody has read anything.
        until(30, lambda: room(target)[0] == TOGETHER_COUNT * (5 * MIB - 1000))
    finally:
        path.write_text(CONFIG)
        target.cli("reload")
        let_go(target, held)


def test_one_address_that_holds_its_part_hurries_nobody_else(target):
    functions = target.slow[0]
    package = zip_of({"bootstrap": SENDS}, executable={"bootstrap"})
    name = functions.create(package, Runtime="provided.al2023", Handler="any", Timeout=300)
    late = url_host_and_id(functions.public_url(name))[0]
    with ask(target, "late", None, late, "127.0.0.7") as sent, ask(target, MIB, source="127.0.0.8") as taken:
        assert status_of(taken) == 200
        until(30, lambda: room(target)[0] > 6 * MIB)
        before = room(target)[1]
        held = [ask(target, 5 * MIB, source="127.0.0.9") for _ in range(TOGETHER_COUNT)]
        try:
            until(30, lambda: room(target)[1] > before)
            sent.settimeout(2 * UNHURRIED_S)
            assert read_whole(sent) == (b"HTTP/1.1 200", 200_000)
            got = bytearray()
            while part := taken.recv(1 << 16):
                got += part
            assert len(got.split(b"\r\n\r\n", 1)[1]) == MIB + 3
        finally:
            let_go(target, held)


def test_a_function_that_sends_slowly_ends_once_another_waits_for_its_room(target):
    functions = target.slow[0]
    package = zip_of({"bootstrap": SENDS}, executable={"bootstrap"})
    name = functions.create(package, Runtime="provided.al2023", Handler="any", Timeout=300)
    assert functions.call(name, "fast") == "x" * 200_000
    path = target.folder / "freehold.toml"
    before = room(target)[1]
    # Half of that is the account's: less than one answer of unknown length takes.
    path.write_text(CONFIG.replace(f"{IN_FLIGHT_MIB}MiB", "8MiB"))
    try:
        target.cli("reload")
        with concurrent.futures.ThreadPoolExecutor(2) as callers:
            slow = callers.submit(functions.invoke, name, "slow")
            until(30, lambda: room(target)[0] > 6 * MIB)
            fast = callers.submit(functions.call, name, "fast")
            until(30, lambda: room(target)[1] > before)
            assert not slow.done() and not fast.done()
            assert fast.result(120) == "x" * 200_000
            ended = slow.result(10)
        assert ended.error == "Unhandled"
        assert ended.payload["errorType"] == "Function.ResponseTooSlow", ended.payload
    finally:
        path.write_text(CONFIG)
        target.cli("reload")
    until(30, lambda: room(target)[0] == 0)


def test_answers_that_nobody_hears_and_errors_hold_no_room_afterwards(target):
    functions, name, _ = target.slow
    fails = functions.create(python("def handler(event, context): raise Exception('x' * 100_000)\n"))
    done = lambda: scrape(target)['freehold_events{state="done"}']
    before = done()
    # More than there is room for, were it not given back.
    for _ in range(IN_FLIGHT_MIB // 5):
        functions.invoke(name, {"rawQueryString": str(5 * MIB)}, InvocationType="Event")
    assert functions.invoke(fails).error == "Unhandled"
    until(60, lambda: done() - before == IN_FLIGHT_MIB // 5)
    until(30, lambda: room(target)[0] == 0)


def test_who_does_not_take_an_answer_holds_no_instance(target):
    functions, name, _ = target.slow
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    held = [ask(target, MIB)]
    try:
        assert status_of(held[0]) == 200
        for _ in range(3):
            invoke(target)
    finally:
        held[0].close()
        functions.client.delete_function_concurrency(FunctionName=name)


def test_many_bodies_a_byte_at_a_time_hold_up_nobody(target):
    _, name, _ = target.slow
    event = b'"' + b"y" * 40 + b'"'
    path, headers = signed(target, "POST", f"/2015-03-31/functions/{name}/invocations", event)
    headers["Content-Length"] = str(len(event))
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    writers = [connect(target) for _ in range(40)]
    try:
        for one in writers:
            one.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode())
        for place in range(len(event)):
            for one in writers:
                one.sendall(event[place:place + 1])
            if place % 10 == 0:
                invoke(target)
                assert url_answers(target)
        # The account may run a thousand at once: none is turned away.
        assert [status_of(one) for one in writers] == [200] * len(writers)
    finally:
        for one in writers:
            one.close()


def test_who_stops_in_the_middle_leaves_nothing_once_gone(target):
    """Heads, bodies and answers that end halfway, and a pause long enough to be caught in."""
    _, name, host = target.slow
    invoke(target)
    assert url_answers(target)
    before, held = connections(target), []
    path, headers = signed(target, "POST", f"/2015-03-31/functions/{name}/invocations", b"")
    headers["Content-Length"] = "100000"
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    try:
        for _ in range(50):
            held += [connect(target), connect(target), connect(target)]
            held[-1].sendall(f"GET /?5 HTTP/1.1\r\nHost: {host}\r\nX-Half: ".encode())
            held[-2].sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + b'"half')
            held[-3].sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nhalf".encode())
        for _ in range(3):
            held.append(ask(target, MIB))
            assert status_of(held[-1]) == 200
        # Some may still be waiting to be accepted.
        assert connections(target) >= 100
        for _ in range(20):
            invoke(target)
            assert url_answers(target)
            time.sleep(0.05)
    finally:
        for one in held:
            one.close()
    until(30, lambda: connections(target) <= before)
    invoke(target)
