"""Errors as Lambda shows them: to the caller as JSON, to the log as one traceback.

Loaded with the first error only, since `traceback` costs as much as a bare interpreter.
"""
import os
import sys
import time
import traceback

from . import codec, output

_HERE = os.path.dirname(os.path.abspath(__file__))
_ENTRY = os.path.join(os.path.dirname(_HERE), "bootstrap.py")


class Fault(Exception):
    """A failure that Lambda has a `Runtime.*` name for."""

    def __init__(self, error_type, message, trace=None):
        Exception.__init__(self, message)
        self.error_type = error_type
        self.message = message
        self.trace = trace


def describe(exception_info, request_id):
    """(error type, the error as a dict in Lambda's order, the cause as X-Ray wants it)."""
    kind, value, trace = exception_info
    if isinstance(value, Fault):
        error_type, message, lines = value.error_type, value.message, value.trace or []
        frames, label = [], "LambdaValidationError"
    else:
        frames = [
            (frame.filename, frame.lineno, frame.name, frame.line)
            for frame in traceback.extract_tb(trace)
        ]
        # The function's author wants to see the function's frames, not how they were reached.
        for index, frame in enumerate(frames):
            if not _is_ours(frame[0]):
                frames = _imported(frame) + frames[index:]
                break
        error_type, message = kind.__name__, str(value)
        lines, label = traceback.format_list(frames), kind.__name__
    error = {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": lines,
    }
    return error_type, error, _xray_cause(label, message, frames)


def log(error):
    if (os.environ.get("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON":
        record = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        record.update(error)
        text = codec.encode(record)
        output.write_log(text if output.is_framed() else text + "\n", 40, True)
        return
    head = "[ERROR]"
    if error["errorType"]:
        head += " " + error["errorType"] + (":" if error["errorMessage"] else "")
    if error["errorMessage"]:
        head += " " + error["errorMessage"]
    lines = head.splitlines() + ["Traceback (most recent call last):"]
    for element in error["stackTrace"]:
        lines.extend(element.splitlines() or [""])
    output.write_error_lines(lines)


def _is_ours(filename):
    return filename.startswith(_HERE) or filename == _ENTRY


def _imported(first):
    """The frame through which Lambda imports the function's module, where ours begins behind it."""
    if first[2] != "_gcd_import":
        return []
    import importlib
    import linecache

    code = importlib.import_module.__code__
    lines = linecache.getlines(code.co_filename)
    for number in range(code.co_firstlineno, len(lines) + 1):
        if "_gcd_import(" in lines[number - 1]:
            return [(code.co_filename, number, code.co_name, lines[number - 1].strip())]
    return []


def _xray_cause(kind, message, frames):
    stack = [{"label": name, "path": path, "line": line} for path, line, name, _ in frames]
    try:
        return codec.encode(
            {
                "working_directory": os.getcwd(),
                "exceptions": [{"message": message, "type": kind, "stack": stack}],
                "paths": sorted({frame[0] for frame in frames}),
            }
        )
    except (OSError, TypeError, ValueError):
        return None


def current(request_id):
    return describe(sys.exc_info(), request_id)
