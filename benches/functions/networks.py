"""Connects and names, timed: as a function, and as a program outside.

The same code on both sides of the sandbox's wall, so that what differs is the way alone.
"""
import json
import socket
import struct
import sys
import time

RESET = struct.pack("ii", 1, 0)


def connect(host, port, calls, first):
    """Connects and hangs up, so that no port stays taken; what is timed is the connect."""
    for _ in range(calls):
        with socket.socket() as one:
            # Closed without a farewell: neither side waits for the last of the other's packets.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            begun = time.perf_counter_ns()
            one.connect((host, port))
            yield time.perf_counter_ns() - begun


def name(host, port, calls, first):
    """Asks for one name again and again."""
    for _ in range(calls):
        begun = time.perf_counter_ns()
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        took = time.perf_counter_ns() - begun
        if len(found) != 1:
            raise RuntimeError("%s stands for %r" % (host, found))
        yield took


def names(host, port, calls, first):
    """Asks for as many names as there are calls, none of them asked for before."""
    for at in range(first, first + calls):
        yield from name("n%d.%s" % (at, host), port, 1, 0)


def measure(what, host, port, calls, first):
    """Times of `calls`, and this process's own time for all of them, nanoseconds."""
    spent = time.process_time_ns()
    times = list({"connect": connect, "name": name, "names": names}[what](host, port, calls, first))
    return {"times": times, "spent": time.process_time_ns() - spent}


def handler(event, context):
    query = event["queryStringParameters"]
    return measure(query["what"], query["host"], int(query["port"]), int(query["calls"]), int(query["first"]))


if __name__ == "__main__":
    what, host, *numbers = sys.argv[1:]
    print(json.dumps(measure(what, host, *map(int, numbers))))
