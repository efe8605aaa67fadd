"""Direct frames over the socket that this process was executed with: one read and one write per event.

Every frame begins with eight bytes, little-endian: length of the rest (u32), kind (u8), flags (u8),
length of a text (u16). The host speaks, we answer; `docs/decisions/0009-direct-frames.md` has the
table. No `socket`: descriptor, `read` and `write` are all that a blocking line needs.
"""
import os
from _struct import Struct

VERSION = 1

GREET, BEGIN, EVENT, REHEARSE, PREPARE, RESUME, TRY = 1, 2, 3, 4, 5, 6, 7
_HELLO, _READY, _INIT_ERROR, _ANSWER, _ERROR = 1, 2, 3, 4, 5
_REHEARSED, _PREPARED, _UNFIT = 8, 9, 10
# Of a ready: init has imported the libraries that the runtime brings; a try is answered.
_LIBRARIES, _TRIES = 1, 2

_HEAD = Struct("<IBBH")
_EVENT = Struct("<36sQHHI")
_ANSWERED = Struct("<IBBH36s")
_EVENT_AT = 8 + _EVENT.size
_READ_BYTES = 65536
# Above this a copy into one buffer costs more than a second entry of `writev`.
_JOIN_BYTES = 32768
_TEXT_BYTES_MAX = 256

_read, _write = os.read, os.write


class LineGone(Exception):
    """The host closed the line: this environment is being taken down."""


class Line(object):
    """The guest's end."""

    def __init__(self, descriptor):
        self._fd = descriptor
        self._id = b""
        self._rest = b""
        # Neither a program that the function executes nor a fork of it speaks for the function.
        os.set_inheritable(descriptor, False)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close)

    def _close(self):
        try:
            os.close(self._fd)
        except OSError:
            pass

    def next(self):
        """Waits for a frame. Returns its kind, and all its bytes with the head before them."""
        data = self._rest or _read(self._fd, _READ_BYTES)
        have = len(data)
        while have < 8:
            piece = _read(self._fd, _READ_BYTES)
            if not piece:
                raise LineGone("the host closed the line")
            data += piece
            have = len(data)
        length, kind, _, _ = _HEAD.unpack_from(data)
        length += 8
        if have == length:
            self._rest = b""
            return kind, data
        if have > length:
            self._rest = data[length:]
            return kind, data[:length]
        return kind, self._read_on(data, length)

    def _read_on(self, data, length):
        pieces, have = [data], len(data)
        while have < length:
            # Never beyond this frame: what follows then starts a read of its own.
            piece = _read(self._fd, min(length - have, 1 << 20))
            if not piece:
                raise LineGone("the host closed the line")
            pieces.append(piece)
            have += len(piece)
        self._rest = b""
        return b"".join(pieces)

    def event(self, data):
        """The parts of an event: id, deadline, ARN, trace, client context, body."""
        self._id, deadline, arn, trace, context = _EVENT.unpack_from(data, 8)
        arn += _EVENT_AT
        trace += arn
        context += trace
        return (
            self._id.decode("ascii"),
            deadline,
            data[_EVENT_AT:arn].decode("utf-8", "replace"),
            data[arn:trace].decode("ascii", "replace"),
            data[trace:context].decode("utf-8", "replace") if context > trace else None,
            data[context:],
        )

    def post_response(self, _request_id, body, content_type):
        kind = content_type.encode("ascii")
        head = _ANSWERED.pack(36 + len(kind) + len(body), _ANSWER, 0, len(kind), self._id)
        if len(body) <= _JOIN_BYTES:
            self._send(head + kind + body)
        else:
            self._send_both(head + kind, body)

    def post_error(self, _request_id, error_type, body, _xray_cause):
        text = _short(error_type)
        head = _ANSWERED.pack(36 + len(text) + len(body), _ERROR, 0, len(text), self._id)
        self._send(head + text + body)

    def post_init_error(self, error_type, body):
        text = _short(error_type)
        self._send(_HEAD.pack(len(text) + len(body), _INIT_ERROR, 0, len(text)) + text + body)

    def hello(self):
        self._send(_HEAD.pack(0, _HELLO, 0, VERSION))

    def ready(self, uses_libraries=False):
        flags = _TRIES | _LIBRARIES if uses_libraries else _TRIES
        self._send(_HEAD.pack(0, _READY, flags, VERSION))

    def rehearsed(self):
        self._send(_HEAD.pack(0, _REHEARSED, 0, 0))

    def prepared(self):
        self._send(_HEAD.pack(0, _PREPARED, 0, 0))

    def unfit(self, reason):
        text = reason.encode("utf-8", "replace")[:4096]
        self._send(_HEAD.pack(len(text), _UNFIT, 0, 0) + text)

    def _send(self, data):
        sent = _write(self._fd, data)
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_both(self, head, body):
        sent = os.writev(self._fd, (head, body)) - len(head)
        if sent < 0:
            self._send_rest(memoryview(head)[sent:])
            sent = 0
        self._send_rest(memoryview(body)[sent:])

    def _send_rest(self, view):
        while view:
            view = view[_write(self._fd, view):]


def _short(text):
    return text.encode("utf-8", "replace")[:_TEXT_BYTES_MAX]
