"""Where log messages go: standard output, or the framed log descriptor when the platform gives one.

On standard output a line is a log event, so the line ends inside of one message become carriage
returns, as Lambda's own runtime does. Behind `_LAMBDA_TELEMETRY_LOG_FD` a message is a frame (type,
length, microseconds, text; big-endian) and keeps its line ends.
"""
import os
import sys
import time

_TEXT_FRAME = 0xA55A0003
_JSON_FRAME = 0xA55A0002
# Bits that carry the level in the type of a frame, by logging level.
_LEVEL_BITS = {10: 0x08, 20: 0x0C, 30: 0x10, 40: 0x14, 50: 0x18}

_frame_fd = None


def open_sink():
    """Takes the framed descriptor, if there is one, out of the environment."""
    global _frame_fd
    number = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    if number is not None:
        _frame_fd = int(number)


def unbuffer():
    """What was printed survives a kill: `-u` does it from Python 3.7 on, 3.6 buffers its text layer."""
    if sys.version_info < (3, 7):
        import io

        for name in ("stdout", "stderr"):
            raw = getattr(sys, name).detach()
            setattr(sys, name, io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))


def is_framed():
    return _frame_fd is not None


def write_log(text, level=0, is_json=False):
    """Writes one log message as it is."""
    if _frame_fd is None:
        sys.stdout.write(text)
        return
    body = text.encode("utf-8", "backslashreplace")
    kind = (_JSON_FRAME if is_json else _TEXT_FRAME) | _LEVEL_BITS.get(level, 0)
    head = kind.to_bytes(4, "big") + len(body).to_bytes(4, "big")
    data = head + int(time.time() * 1e6).to_bytes(8, "big") + body
    while data:
        data = data[os.write(_frame_fd, data):]


def write_error_lines(lines):
    """Writes the lines of one error as one message."""
    if _frame_fd is None:
        # A line break inside would make several log events of one error; indentation would be
        # trimmed by viewers, hence the no-break spaces.
        kept = []
        for line in lines:
            bare = line.lstrip(" ")
            kept.append(u"\u00a0" * (len(line) - len(bare)) + bare)
        text = "\r".join(kept) + "\n"
        # One write: a stack trace is not torn apart by what threads print meanwhile.
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:
            sys.stdout.write(text)
        else:
            sys.stdout.flush()
            stream.write(text.encode("utf-8", "backslashreplace"))
            stream.flush()
    else:
        write_log("\n".join(lines), 40)
