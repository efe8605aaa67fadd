"""What Lambda does to the `logging` module: one handler on the root logger, times in UTC, the request
id on every record, text or JSON lines.

`arm()` puts this in place when the function first imports `logging`, not before: a function that
does not log does not pay for it. Where `logging` was imported ahead, `prepare()` has done it too,
once for all instances of a start image: what is made there is shared, what is made in an instance
is its own memory. `imported_ahead()` is left with what the function's settings say otherwise.
"""
import os
import sys
import time

from . import output

_current_request = {"id": None, "tenant": None}
# The module that was configured before it was known for whom, and the handler that it got.
_prepared = None


def set_request(request_id, tenant_id):
    _current_request["id"] = request_id
    _current_request["tenant"] = tenant_id


class Finder(object):
    """Finds `logging` the usual way, once, and has it configured as soon as it is executed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "logging":
            return None
        disarm()
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _ConfiguringLoader(spec.loader)
                return spec
        return None


class _ConfiguringLoader(object):
    def __init__(self, real):
        self._real = real

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        # From here on nobody can tell that another loader was in between.
        module.__spec__.loader = module.__loader__ = self._real
        self._real.exec_module(module)
        if _prepared is not None and module is _prepared[0]:
            return
        # A function may bring a module of its own under this name; that one is left alone.
        if hasattr(module, "getLogger") and hasattr(module, "Formatter"):
            configure(module)


def prepare():
    """Configures what was imported ahead as most functions have it."""
    global _prepared
    logging = sys.modules.get("logging")
    if logging is not None:
        _prepared = logging, configure(logging)


def imported_ahead():
    """The function has imported the module that was prepared."""
    disarm()
    if _settings() != (False, ""):
        logging, handler = _prepared
        logging.getLogger().removeHandler(handler)
        configure(logging)


def arm():
    logging = sys.modules.get("logging")
    if logging is not None:
        configure(logging)
    else:
        sys.meta_path.insert(0, Finder)


def disarm():
    if Finder in sys.meta_path:
        sys.meta_path.remove(Finder)


def _settings():
    """Whether lines are JSON, and the level, empty where none was said."""
    is_json = (os.environ.get("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON"
    level = (os.environ.get("AWS_LAMBDA_LOG_LEVEL") or "").upper()
    return is_json, {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)


def configure(logging):
    """Puts Lambda's handler on the root logger of the module `logging`, and returns it."""
    is_json, level = _settings()

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            try:
                text = self.format(record)
                if not is_json and not output.is_framed():
                    # One record is one event: line ends within it as the runtime's own errors
                    # have them.
                    text = text.rstrip("\n").replace("\n", "\r") + "\n"
                shown_level = min(50, max(0, record.levelno)) // 10 * 10
                output.write_log(text, shown_level if is_json or level else 0, is_json)
            except Exception:
                self.handleError(record)

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = _current_request["id"] or ""
            record.tenant_id = _current_request["tenant"]
            return True

    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    if is_json:
        handler.setFormatter(_json_formatter(logging))
    else:
        handler.setFormatter(
            logging.Formatter(
                "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n",
                "%Y-%m-%dT%H:%M:%S",
            )
        )
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    if level and isinstance(logging.getLevelName(level), int):
        root.setLevel(level)
    root.addHandler(handler)
    return handler


def rehearse():
    """Formats one record and shows it to nobody."""
    import logging

    record = logging.LogRecord("rehearsal", 20, "", 0, "%s", ("text",), None)
    logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s").format(record)


def _json_formatter(logging):
    standard = set(vars(logging.LogRecord("", 0, "", 0, "", (), None)))
    standard.update(("message", "asctime", "aws_request_id", "tenant_id", "taskName"))

    class JsonFormatter(logging.Formatter):
        def format(self, record):
            from json import JSONEncoder

            is_error = bool(record.exc_info and record.exc_info[0])
            plain = isinstance(record.msg, dict) and not record.args
            fields = {
                "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
                "level": logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10),
                "message": record.msg if plain else record.getMessage(),
                "logger": record.name,
                "stackTrace": _trace(record.exc_info) if is_error else None,
                "errorType": record.exc_info[0].__name__ if is_error else None,
                "errorMessage": str(record.exc_info[1]) if is_error else None,
                "requestId": record.aws_request_id,
                "location": "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
                if is_error
                else None,
                "tenantId": record.tenant_id,
            }
            for name, value in vars(record).items():
                if name not in standard and name not in fields:
                    fields[name] = value
            kept = {name: value for name, value in fields.items() if value is not None}
            return JSONEncoder(ensure_ascii=False, default=str).encode(kept) + "\n"

    return JsonFormatter()


def _trace(exception_info):
    import traceback

    return traceback.format_tb(exception_info[2])
