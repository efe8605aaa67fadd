"""The Runtime API over one kept-alive HTTP/1.1 connection.

Written on `_socket`: `http.client` would import `email` and `ssl`, `socket` imports `selectors` and
`enum`; neither does anything here. Refuses to retry: a Runtime API that is gone means that this
environment is being taken down.
"""
import _socket

_NEXT = "/2018-06-01/runtime/invocation/next"
_RESTORE = "/2018-06-01/runtime/restore/next"
_HEAD_LIMIT_BYTES = 1 << 20


class RuntimeApiError(Exception):
    """The Runtime API closed the connection or answered what HTTP does not allow."""


class RuntimeClient(object):
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._address = (host.strip("[]"), int(port or 80))
        self._host_header = address
        self._socket = None
        self._pending = b""

    def next_event(self):
        """Waits for an event. Returns its parts in the order in which `loop.serve` takes them."""
        status, headers, body = self._exchange("GET", _NEXT, (), None)
        if status != 200:
            raise RuntimeApiError("GET %s answered %d" % (_NEXT, status))
        return (
            headers.get("lambda-runtime-aws-request-id", ""),
            int(headers.get("lambda-runtime-deadline-ms") or 0),
            headers.get("lambda-runtime-invoked-function-arn"),
            headers.get("lambda-runtime-trace-id"),
            headers.get("lambda-runtime-client-context"),
            body,
            headers.get("lambda-runtime-cognito-identity"),
            headers.get("lambda-runtime-aws-tenant-id"),
            headers.get("content-type", "application/json") == "application/json",
        )

    def post_response(self, request_id, body, content_type):
        path = "/2018-06-01/runtime/invocation/%s/response" % request_id
        return self._post(path, body, (("Content-Type", content_type),))

    def post_error(self, request_id, error_type, body, xray_cause):
        path = "/2018-06-01/runtime/invocation/%s/error" % request_id
        headers = [("Lambda-Runtime-Function-Error-Type", header_safe(error_type))]
        if xray_cause and len(xray_cause) < 1024 * 1024:
            headers.append(("Lambda-Runtime-Function-XRay-Error-Cause", header_safe(xray_cause)))
        return self._post(path, body, headers)

    def post_init_error(self, error_type, body):
        headers = (("Lambda-Runtime-Function-Error-Type", header_safe(error_type)),)
        return self._post("/2018-06-01/runtime/init/error", body, headers)

    def restore_next(self):
        """Says that init and the hooks before a snapshot are done, and waits until it goes on."""
        status, _, _ = self._exchange("GET", _RESTORE, (), None)
        if status != 200:
            raise RuntimeApiError("GET %s answered %d" % (_RESTORE, status))

    def post_restore_error(self, error_type, body):
        headers = (("Lambda-Runtime-Function-Error-Type", header_safe(error_type)),)
        return self._post("/2018-06-01/runtime/restore/error", body, headers)

    def _post(self, path, body, headers):
        status, _, answer = self._exchange("POST", path, headers, body)
        if status >= 400:
            # The platform has already decided what the caller hears (for instance 413 for a
            # response over the limit); here it is only worth a line in the function's log.
            import sys

            sys.stderr.write(
                "The Runtime API refused %s with %d: %s\n"
                % (path, status, answer[:300].decode("utf-8", "replace"))
            )
        return status

    def _connect(self):
        host, port = self._address
        if host == "localhost":
            host = "127.0.0.1"
        family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        self._socket = _socket.socket(family, _socket.SOCK_STREAM)
        self._socket.connect((host, port))
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._pending = b""

    def _exchange(self, method, path, headers, body):
        if self._socket is None:
            self._connect()
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + self._host_header]
        lines.extend("%s: %s" % header for header in headers)
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        message = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if body is not None and len(body) <= 65536:
            self._socket.sendall(message + body)
        else:
            self._socket.sendall(message)
            if body is not None:
                self._socket.sendall(body)
        return self._read_answer()

    def _read_answer(self):
        while True:
            head = self._read_until(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            try:
                status = int(lines[0].split(b" ", 2)[1])
            except (IndexError, ValueError):
                raise RuntimeApiError("not an HTTP status line: %r" % lines[0][:80])
            if status >= 200:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("utf-8", "replace")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._read_chunked()
        elif status in (204, 304):
            body = b""
        else:
            body = self._read_exactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self._socket.close()
            self._socket = None
        return status, headers, body

    def _fill(self):
        piece = self._socket.recv(65536)
        if not piece:
            raise RuntimeApiError("the Runtime API closed the connection")
        return piece

    def _read_until(self, mark):
        while mark not in self._pending:
            if len(self._pending) > _HEAD_LIMIT_BYTES:
                raise RuntimeApiError("the head of an answer is over %d bytes" % _HEAD_LIMIT_BYTES)
            self._pending += self._fill()
        found, _, self._pending = self._pending.partition(mark)
        return found

    def _read_exactly(self, size):
        if len(self._pending) >= size:
            body, self._pending = self._pending[:size], self._pending[size:]
            return body
        pieces, have = [self._pending], len(self._pending)
        self._pending = b""
        while have < size:
            piece = self._fill()
            pieces.append(piece)
            have += len(piece)
        whole = b"".join(pieces)
        self._pending = whole[size:]
        return whole[:size]

    def _read_chunked(self):
        pieces = []
        while True:
            size = int(self._read_until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._read_until(b"\r\n"):
                    pass
                return b"".join(pieces)
            pieces.append(self._read_exactly(size))
            self._read_exactly(2)


def header_safe(text):
    """A header value may hold neither line ends nor what latin-1 has not; escape both."""
    return "".join(c if " " <= c < "\x7f" else "?" for c in text)
