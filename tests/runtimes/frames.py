"""The host's end of a frames socket, and a record of what comes back over it, in the words of `runtime_api.Api`.

So one suite runs on both transports. It judges nothing: the assertions are in the tests.
"""
import base64
import os
import queue
import socket
import struct
import threading

GREET, BEGIN, EVENT, REHEARSE, PREPARE, RESUME, TRY = range(1, 8)
HELLO, READY, INIT_ERROR, ANSWER, ERROR, PIECE, END, REHEARSED, PREPARED, UNFIT = range(1, 11)
LAST, MORE = 1, 2
# Of a ready.
LIBRARIES, TRIES = 1, 2


class Frames(object):
    """Feeds one process, one event at a time."""

    carries_identity = False

    def __init__(self):
        self.events, self.answers, self.init_errors, self.others = (queue.Queue() for _ in range(4))
        self.chunked = False
        self.response_limit = 6 * 1024 * 1024
        self.address = "127.0.0.1:9"
        self.host, self.guest = socket.socketpair()
        self.threads = []
        self.answered = threading.Event()
        self.answered.set()

    def dress(self, environ):
        """What a process needs to find its end: arguments of `Popen`."""
        environ["_FREEHOLD_FRAMES"] = "3"
        number = self.guest.fileno()

        def place():
            os.dup2(number, 3)
            os.set_inheritable(3, True)
            # As in a sandbox: nothing else is inherited, whatever the tests were started with.
            for name in os.listdir("/proc/self/fd"):
                if int(name) > 3 and os.path.islink("/proc/self/fd/" + name):
                    os.set_inheritable(int(name), False)

        return {"close_fds": False, "preexec_fn": place}

    def begin(self, environ):
        """The process runs; it is told what it is, and then its events."""
        self.guest.close()
        self.answered.clear()
        self.open(BEGIN, environ)
        self.serve()

    def open(self, kind, environ):
        self.say(kind, "\0".join("%s=%s" % item for item in environ.items()).encode())

    def serve(self):
        self.threads = [threading.Thread(target=loop, daemon=True) for loop in (self._read, self._feed)]
        for thread in self.threads:
            thread.start()

    def say(self, kind, rest=b"", flags=0):
        self.host.sendall(struct.pack("<IBBH", len(rest), kind, flags, 0) + rest)

    def read(self):
        """The next frame: kind, flags, text's length, the rest."""
        length, kind, flags, text = struct.unpack("<IBBH", self._exactly(8))
        return kind, flags, text, self._exactly(length)

    def _exactly(self, size):
        pieces = []
        while size:
            piece = self.host.recv(min(size, 1 << 20))
            if not piece:
                raise EOFError
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _feed(self):
        while True:
            item = self.events.get()
            if item is None:
                return self._hang_up()
            headers, body = item
            self.answered.wait()
            self.answered.clear()
            try:
                self.say(EVENT, event(headers, body))
            except OSError:
                return

    def _read(self):
        streamed = None
        while True:
            try:
                kind, flags, text, rest = self.read()
            except (EOFError, OSError):
                self.answered.set()
                return
            if kind == INIT_ERROR:
                self.init_errors.put(error_answer("init/error", rest[:text], rest[text:]))
            elif kind in (ANSWER, ERROR):
                request_id, label, body = rest[:36].decode(), rest[36 : 36 + text], rest[36 + text :]
                if kind == ERROR and streamed is not None:
                    streamed["trailers"] = {
                        "Lambda-Runtime-Function-Error-Type": label.decode(),
                        "Lambda-Runtime-Function-Error-Body": base64.b64encode(body),
                    }
                    self._done(streamed)
                    streamed = None
                elif kind == ERROR:
                    self._done(error_answer("%s/error" % request_id, label, body))
                else:
                    headers = {"Content-Type": label.decode()}
                    answer = {"path": "%s/response" % request_id, "headers": headers, "body": body, "trailers": {}}
                    if flags & MORE:
                        headers["Lambda-Runtime-Function-Response-Mode"] = "streaming"
                        streamed = answer
                    else:
                        self._done(answer)
            elif kind == PIECE:
                streamed["body"] += rest
            elif kind == END:
                self._done(streamed)
                streamed = None
            elif kind == READY:
                self.answered.set()
            else:
                self.others.put((kind, rest))

    def _done(self, answer):
        if len(answer["body"]) > self.response_limit:
            answer = {"path": answer["path"], "too_large": True, "headers": {}, "body": b"null"}
        self.answered.set()
        self.answers.put(answer)

    def _hang_up(self):
        try:
            self.host.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the process has gone before

    def hear_out(self, seconds):
        """The process has ended: what it said last may still be on its way here."""
        for thread in self.threads[:1]:
            thread.join(seconds)

    def close(self):
        self._hang_up()
        self.answered.set()
        self.events.put(None)
        for thread in self.threads:
            thread.join()
        self.host.close()


def error_answer(path, error_type, body):
    headers = {"Lambda-Runtime-Function-Error-Type": error_type.decode()}
    return {"path": path, "headers": headers, "body": body, "trailers": {}}


def event(headers, body):
    """What follows the head of an event."""
    arn = headers["Lambda-Runtime-Invoked-Function-Arn"].encode()
    trace = headers["Lambda-Runtime-Trace-Id"].encode()
    context = headers.get("Lambda-Runtime-Client-Context", "").encode()
    fixed = struct.pack(
        "<36sQHHI",
        headers["Lambda-Runtime-Aws-Request-Id"].encode(),
        int(headers["Lambda-Runtime-Deadline-Ms"]),
        len(arn),
        len(trace),
        len(context),
    )
    return fixed + arn + trace + context + body
