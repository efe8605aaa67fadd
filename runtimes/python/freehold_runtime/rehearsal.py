"""What a booted interpreter goes through once for nobody, so that what the first event touches is
touched by then: becoming a function's, an import from source, events, an error, a log line.

A page that is written for the first time costs a start up to 8 us, and a start writes to hundreds
of them. Only ever run before a function is known; it leaves nothing behind that a function could
see, and refuses to know anything of a function: the module that it imports is its own.
"""
import os
import sys

from . import begin, codec, context, faults, handler, logs, trace

_BODY = b'{"text": "\\u00e9", "numbers": [1, 2.5, -3e8], "nothing": null, "nested": {"is": [true]}}'
_EVENT = ("00000000-0000-0000-0000-000000000000", 0, "arn", "Root=1", None, _BODY)
_VARIABLE = "_FREEHOLD_REHEARSAL"
# More than an interpreter takes until its shortcuts are written: 3.11 looks for them from the eighth
# call on, and counts for each again where one did not fit.
_PASSES = 24
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
    logs.disarm()
    logs.set_request(None, None)
    trace.set_header(None)


def run_for_image(serve):
    """As often as it takes until nothing is made anew by it: the interpreter writes its shortcuts into
    code that has run a dozen times, and what has none looks names up, which writes to tables of the
    interpreter's and to counts of references all over its memory."""
    for _ in range(_PASSES):
        run(serve)
        begin.hide()


def _become():
    begin.environment(bytes(8) + _VARIABLE.encode() + b"=1", True)
    begin.forget(_VARIABLE)
    path, folder = list(sys.path), os.getcwd()
    begin.paths()
    sys.path[:] = path
    os.chdir(folder)
    logs.arm()
    context.refresh()


def _import():
    """The way of a module from its source, by the interpreter's own importers."""
    handler.load("freehold_runtime.rehearsed.handler")
    del sys.modules["freehold_runtime.rehearsed"], sys.modules["freehold_runtime"].rehearsed
    importers = sys.modules.get("_frozen_importlib_external")
    if importers is None:
        return
    folder = os.path.dirname(os.path.abspath(__file__))
    importers.PathFinder.find_spec("rehearsed_elsewhere", ["/var/task", folder])
    # `/var/task` is another folder once there is a function.
    finder = sys.path_importer_cache.get("/var/task")
    if finder is not None and hasattr(finder, "invalidate_caches"):
        finder.invalidate_caches()
    else:
        sys.path_importer_cache.pop("/var/task", None)
    name = __name__ + "_source"
    # Never cached as bytecode: the way is that of a function's own file.
    loader = importers.SourceFileLoader(name, os.path.join(os.path.dirname(folder), "bootstrap.py"))
    loader.get_code(name)
    code = loader.source_to_code(_SOURCE, "rehearsal_source.py")
    function = {"__name__": name}
    exec(code, function)
    try:
        function["handler"]({}, None)
    except RuntimeError:
        pass
