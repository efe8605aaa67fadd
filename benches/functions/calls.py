"""Signed Invoke calls on one kept connection, timed: as a function, and as a program outside.

The same code on both sides of the sandbox's wall, so that what differs is the way alone. Signing is
not timed: it is the caller's own work, whichever way the call takes.
"""
import datetime
import hashlib
import hmac
import json
import os
import socket
import sys
import time


def sign(path, host, body, region):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = "%s/%s/lambda/aws4_request" % (now[:8], region)
    headers = {"host": host, "x-amz-date": now}
    token = os.environ.get("AWS_SESSION_TOKEN")
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join("%s:%s\n" % (name, headers[name]) for name in sorted(headers))
    canonical = "\n".join(["POST", path, "", lines, names, hashlib.sha256(body).hexdigest()])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (now[:8], region, "lambda", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, digest])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        os.environ["AWS_ACCESS_KEY_ID"], scope, names, signature)
    return headers


def exchange(line, request):
    """One request; the answer's status and body."""
    line.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        got += line.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                  if line.startswith(b"content-length"))
    while len(body) < length:
        body += line.recv(65536)
    return int(head.split(b" ", 2)[1]), body


# What each kind is sent, where an echo hears it, and whether an answer is what was asked for.
KINDS = {
    "hello": (b"{}", "/", lambda body: json.loads(body) == {"hello": "world"}),
    "work": (json.dumps({"text": "x" * 2037}).encode(), "/work", lambda body: len(body) >= 20000),
}


def measure(endpoint, function, kind, calls):
    """The times of `calls` calls of a function, or of an echo where it has no name, microseconds."""
    host = endpoint.split("//")[1].rstrip("/")
    address, port = host.rsplit(":", 1)
    (body, echo, is_right), region = KINDS[kind], os.environ["AWS_REGION"]
    path = "/2015-03-31/functions/%s/invocations" % function if function else echo
    line = socket.create_connection((address, int(port)))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(calls):
        headers = sign(path, host, body, region)
        headers["content-length"] = str(len(body))
        head = "".join("%s: %s\r\n" % header for header in headers.items())
        request = ("POST %s HTTP/1.1\r\n%s\r\n" % (path, head)).encode() + body
        begun = time.perf_counter_ns()
        status, answer = exchange(line, request)
        times.append((time.perf_counter_ns() - begun) / 1000)
        if status != 200 or not (answer == body if path == "/" else is_right(answer)):
            raise RuntimeError("%d: %r" % (status, answer[:200]))
    line.close()
    return times


def handler(event, context):
    query = event["queryStringParameters"]
    return measure(os.environ["AWS_ENDPOINT_URL"], query["function"], query["kind"], int(query["calls"]))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
