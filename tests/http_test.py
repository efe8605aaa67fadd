"""HTTP below any client: broken, slow and smuggled requests get an answer or a closed door."""

import socket
import threading
import time
import urllib.parse

import pytest

from support.http import send, signed

LIST = "/2015-03-31/functions/"


def connect(server, timeout=10):
    address = urllib.parse.urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout)


def exchange(server, raw, timeout=10):
    """Sends bytes and reads until the server closes or says nothing more."""
    with connect(server, timeout) as one:
        one.sendall(raw)
        answer = b""
        one.settimeout(2)
        try:
            while part := one.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
        return answer


def check_alive(server):
    path, headers = signed(server, "GET", LIST)
    assert send(server.url, "GET", path, headers).status == 200


@pytest.mark.parametrize("raw", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: nonsense\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n",
    b"\0" * 1000,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
])
def test_broken_requests_are_refused(server, raw):
    answer = exchange(server, raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    check_alive(server)


def test_nothing_is_smuggled_behind_two_lengths(server):
    """With both lengths given, the bytes behind the chunked body must not be read as a request."""
    raw = (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = exchange(server, raw)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer


def test_two_requests_on_one_connection_have_two_answers_in_order(server):
    parts = []
    for query in ("?MaxItems=1", "?MaxItems=2"):
        path, headers = signed(server, "GET", LIST + query)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        parts.append(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = b""
    with connect(server, 20) as one:
        one.sendall(b"".join(parts))
        while answer.count(b"HTTP/1.1 200") < 2 and (part := one.recv(65536)):
            answer += part
    assert answer.count(b"HTTP/1.1 200") == 2, answer[:500]


def test_slow_clients_do_not_hold_up_others(server):
    slow = [connect(server) for _ in range(200)]
    try:
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for n in range(5):
            check_alive(server)
            for one in slow[:20]:
                one.sendall(f"X-{n}: y\r\n".encode())
    finally:
        for one in slow:
            one.close()
    check_alive(server)


def test_a_slow_body_does_not_hold_up_others(server, functions):
    name = functions.create()
    path, headers = signed(server, "POST", f"/2015-03-31/functions/{name}/invocations", b'"' + b"x" * 98 + b'"')
    headers["Content-Length"] = "100"
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    with connect(server, 30) as one:
        one.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode())
        for byte in [b'"'] + [b"x"] * 98:
            one.sendall(byte)
            if byte == b'"':
                check_alive(server)
            time.sleep(0.002)
        one.sendall(b'"')
        assert one.recv(65536).startswith(b"HTTP/1.1 200")


def head(server, target, length):
    """The signed head of a request that announces a body of `length` bytes."""
    path, headers = signed(server, "POST", target, b"")
    headers["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


def test_a_body_that_never_comes_gives_its_place_back(server):
    """Bytes in flight are counted as they come: those of an abandoned body must be given back."""
    for _ in range(300):
        with connect(server) as one:
            one.sendall(head(server, "/2015-03-31/functions/x/invocations", 6 << 20) + b"half")
    check_alive(server)


def test_announced_bodies_keep_nobody_out(server, functions):
    """Twenty announced packages are more than all bodies may hold; a byte of each is not."""
    name = functions.create()
    held = []
    try:
        for _ in range(20):
            held.append(connect(server))
            held[-1].sendall(head(server, LIST.rstrip("/"), 60_000_000) + b"{")
        reply = functions.client.invoke(FunctionName=name, Payload=b'"' + b"x" * 500_000 + b'"')
        assert reply["StatusCode"] == 200
    finally:
        for one in held:
            one.close()


@pytest.mark.parametrize("target, status", [
    (LIST.rstrip("/"), b"403"), ("/2015-03-31/functions/x/invocations", b"403"),
    ("/_freehold/api/GetUsage", b"403"), ("/bucket/key", b"501"),
    (f"/_freehold/url/{'a' * 32}/", b"404")])
def test_what_the_head_decides_is_answered_before_the_body(server, target, status):
    with connect(server) as one:
        one.sendall(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n".encode())
        assert one.recv(65536).split(b" ")[1] == status


def test_who_is_refused_reads_the_answer_behind_its_body(server):
    """A client that sends first and reads then must find the answer, not a reset."""
    raw = f"POST {LIST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n".encode()
    with connect(server) as one:
        one.sendall(raw + b"x" * 20_000_000)
        answer = b""
        while part := one.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 403"), answer[:200]


def test_many_idle_connections_are_held(server):
    idle = []
    try:
        for _ in range(1000):
            idle.append(connect(server))
        check_alive(server)
    finally:
        for one in idle:
            one.close()
    check_alive(server)


def test_expect_continue_is_answered(server, functions):
    name = functions.create()
    body = b'{"a": 1}'
    path, headers = signed(server, "POST", f"/2015-03-31/functions/{name}/invocations", body)
    headers["Content-Length"], headers["Expect"] = str(len(body)), "100-continue"
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    with connect(server) as one:
        one.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode())
        assert one.recv(65536).startswith(b"HTTP/1.1 100")
        one.sendall(body)
        answer = b""
        while b'{"a": 1}' not in answer and b'{"a":1}' not in answer:
            part = one.recv(65536)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 200")


def test_every_answer_has_a_request_id(server):
    ids = set()
    lock = threading.Lock()

    def ask():
        reply = send(server.url, "GET", LIST)
        with lock:
            ids.add(reply.headers["x-amzn-RequestId"])

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 50 and None not in ids
