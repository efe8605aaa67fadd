"""A small Runtime API server, and a function process that talks to it: what the bootstraps are tested against.

It serves one process, hands out one event at a time and records what comes back. It judges nothing:
the assertions are in the tests.
"""
import http.server
import json
import os
import queue
import socketserver
import subprocess
import tempfile
import threading
import time

from frames import Frames

WAIT_S = 30


class Api(object):
    carries_identity = True

    def dress(self, _environ):
        return {}

    def begin(self, _environ):
        pass

    def __init__(self):
        self.events = queue.Queue()
        self.answers = queue.Queue()
        self.init_errors = queue.Queue()
        # What is put here tells a runtime of a restore.
        self.restores = queue.Queue()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except ConnectionError:
                    pass  # the process was killed while it waited for an event

            def do_GET(self):
                if self.path.endswith("/restore/next"):
                    api.restores.get()
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                item = api.events.get()
                if item is None:
                    self.close_connection = True
                    return
                headers, body = item
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name, value)
                if api.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    half = len(body) // 2
                    for piece in (body[:half], body[half:]):
                        if piece:
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body, trailers = self.read_body()
                answer = {"path": self.path, "headers": dict(self.headers), "body": body, "trailers": trailers}
                status = 202
                if self.path.endswith(("/init/error", "/restore/error")):
                    api.init_errors.put(answer)
                elif len(body) > api.response_limit:
                    status = 413
                    api.answers.put({"path": self.path, "too_large": True, "headers": {}, "body": b"null"})
                else:
                    api.answers.put(answer)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def read_body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"])), {}
                body, trailers = b"", {}
                while True:
                    size = int(self.rfile.readline(), 16)
                    if size == 0:
                        break
                    body += self.rfile.read(size)
                    self.rfile.read(2)
                for line in iter(self.rfile.readline, b"\r\n"):
                    name, _, value = line.decode().partition(":")
                    trailers[name] = value.strip()
                return body, trailers

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.chunked = False
        self.response_limit = 6 * 1024 * 1024
        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def hear_out(self, _seconds):
        """A request is kept before it is answered."""

    def close(self):
        self.events.put(None)
        self.server.shutdown()
        self.server.server_close()


class Function(object):
    """One function in a folder of its own, running in a process of its own."""

    def __init__(self, runtime, files, handler, env=None):
        self.api = Frames() if runtime.transport == "frames" else Api()
        self.folder = tempfile.TemporaryDirectory()
        for name, text in files.items():
            path = os.path.join(self.folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(text if isinstance(text, bytes) else text.encode())
        self.count = 0
        environ = {
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "LAMBDA_TASK_ROOT": self.folder.name,
            "_HANDLER": handler,
            "AWS_LAMBDA_FUNCTION_NAME": "fn",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fn",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]abc",
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
        }
        environ.update(runtime.env)
        environ.update(env or {})
        told, how = dict(environ), self.api.dress(environ)
        if "AWS_LAMBDA_EXEC_WRAPPER" in environ and runtime.transport == "frames":
            # As the platform does: behind a wrapper the public API is spoken.
            self.unused, self.api = self.api, Api()
            environ["AWS_LAMBDA_RUNTIME_API"] = self.api.address
        self.process = subprocess.Popen(
            runtime.argv(self.folder.name),
            env=environ,
            cwd=self.folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **how
        )
        self.api.begin(told)
        self.output = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for piece in iter(lambda: self.process.stdout.read1(65536), b""):
            self.output += piece

    def send(self, event, raw=None, headers=None):
        self.count += 1
        request_id = "00000000-0000-4000-8000-%012d" % self.count
        sent = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:111111111111:function:fn",
            "Lambda-Runtime-Trace-Id": "Root=1-%d" % self.count,
        }
        sent.update(headers or {})
        body = raw if raw is not None else json.dumps(event).encode()
        self.api.events.put((sent, body))
        return request_id

    def answer(self):
        return self._take(self.api.answers)

    def init_error(self):
        answer = self._take(self.api.init_errors)
        error = json.loads(answer["body"].decode())
        error["_header"] = answer["headers"]["Lambda-Runtime-Function-Error-Type"]
        return error

    def _take(self, source):
        deadline = time.time() + WAIT_S
        while True:
            try:
                return source.get(timeout=0.1)
            except queue.Empty:
                if self.process.poll() is not None:
                    self.api.hear_out(WAIT_S)
                    if not source.empty():
                        continue
                    self.reader.join()
                    raise AssertionError("the process ended with %s:\n%s" % (self.process.returncode, self.output.decode("utf-8", "replace")))
                if time.time() > deadline:
                    raise AssertionError("no answer within %d s:\n%s" % (WAIT_S, self.output.decode("utf-8", "replace")))

    def call(self, event=None, **how):
        """The value that the function answers one event with."""
        self.send(event, **how)
        answer = self.answer()
        assert answer["path"].endswith("/response"), (answer["path"], answer["body"])
        return json.loads(answer["body"].decode())

    def failure(self, event=None, **how):
        """The error that the function answers one event with."""
        self.send(event, **how)
        answer = self.answer()
        assert answer["path"].endswith("/error"), (answer["path"], answer["body"])
        error = json.loads(answer["body"].decode())
        error["_header"] = answer["headers"]["Lambda-Runtime-Function-Error-Type"]
        return error

    def exit_code(self):
        code = self.process.wait(WAIT_S)
        self.reader.join(WAIT_S)
        return code

    def log(self, until=None):
        """What was printed so far; waits until it holds `until`."""
        deadline = time.time() + WAIT_S
        while until is not None and until.encode() not in self.output and time.time() < deadline:
            time.sleep(0.01)
        return self.output.decode("utf-8", "replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(WAIT_S)
        self.process.stdout.close()
        self.api.close()
        self.folder.cleanup()
