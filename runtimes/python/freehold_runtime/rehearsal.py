"""What a booted interpreter goes through once for nobody, so that what the first event touches is
touched by then: becoming a function's, an import from source, events, an error, a log line.

A page that is written for the first time costs a start up to 8 us, and a start writes to hundreds
of them. Only ever run before a function is known; it leaves nothing behind that a function could
see, and refuses to know anything of a function: the module that it imports is its own.
"""
import os
import sys

from . import begin, codec, context, faults, fresh, logs, trace

_BODY = b'{"text": "\\u00e9", "numbers": [1, 2.5, -3e8], "nothing": null, "nested": {"is": [true]}}'
_EVENT = ("00000000-0000-0000-0000-000000000000", 0, "arn", "Root=1", None, _BODY)
_VARIABLE = "_FREEHOLD_REHEARSAL"
# As long as some functions are, with a bit of everything.
_SOURCE = b'''"""A function."""
import json
import os as operating_system
from sys import path

TABLE = {"a": 1, "b": [2.5, None], **{"c": (True, "text")}}


class Item(object):
    kind = "item"

    def __init__(self, name, *rest, size=0, **more):
        self.name, self.size = name, size

    @property
    def shown(self):
        return "%s: {}".format(self.size) % self.name if self.name else None


def items(event, least=1):
    """Some."""
    global TABLE
    for number in range(3):
        if number < least or not number % 2:
            continue
        yield Item("n%d" % number, size=number)
    while least > 3:
        least -= 1


def handler(event, context):
    try:
        found = [item.shown for item in items(event) if item.size >= 0]
        with open(event["path"]) as file:
            return {"found": sorted(found, key=lambda text: text[0]), "read": file.read()}
    except (KeyError, OSError) as error:
        raise RuntimeError(str(error))
    finally:
        assert path is not None
'''


class _NoLine(object):
    """A line that leads nowhere."""

    def post_response(self, *_):
        pass

    post_error = post_response


def run(serve):
    """All of it; `serve` is the loop's."""
    _become()
    _import()
    for _ in range(3):
        serve(_NoLine(), lambda event, _: [event, "text"], *_EVENT)
    try:
        raise ValueError("rehearsal")
    except ValueError:
        codec.encode(faults.current("")[1])
    logs.rehearse()
    logs.set_request(None, None)
    trace.set_header(None)


def _become():
    begin.environment(bytes(8) + _VARIABLE.encode() + b"=1", True)
    begin.forget(_VARIABLE)
    fresh.reseed()
    context.refresh()
    logging = sys.modules.get("logging")
    if logging is not None:
        root, converter = logging.getLogger(), logging.Formatter.converter
        handlers, level = list(root.handlers), root.level
        logs.configure(logging)
        root.handlers[:], logging.Formatter.converter = handlers, converter
        root.setLevel(level)


def _import():
    """The way of a module from its source, by the interpreter's own importers."""
    importers = sys.modules.get("_frozen_importlib_external")
    if importers is None:
        return
    folder = os.path.dirname(os.path.abspath(__file__))
    importers.PathFinder.find_spec("rehearsed", ["/var/task", folder])
    # `/var/task` is another folder once there is a function.
    sys.path_importer_cache.pop("/var/task", None)
    name = __name__ + "_source"
    loader = importers.SourceFileLoader(name, os.path.join(folder, "rehearsal.py"))
    loader.get_data(loader.path)
    code = loader.source_to_code(_SOURCE, "rehearsal_source.py")
    function = {"__name__": name}
    exec(code, function)
    try:
        function["handler"]({}, None)
    except RuntimeError:
        pass
