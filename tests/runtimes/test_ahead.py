"""Modules that were imported ahead are what an executed interpreter would have found, whatever a function does to find its modules."""
import json
import os
import re

import frames
from conftest import RUNTIMES
from test_frames import READY, Booted, write

EXECUTED = {"_HANDLER": "app.handler"}
AHEAD = "json, traceback, logging, datetime, random, base64, typing, urllib.parse"
# All modules, with what is in them.
LOOK = """
import sys
def modules():
    return {name: sorted(vars(m)) if hasattr(m, '__dict__') else None for name, m in list(sys.modules.items())}
"""


def answers(python, app, files=(), event=None, **environ):
    """What an executed interpreter answers, and one that was booted ahead and prepared for an image."""
    both = []
    for is_ahead in (False, True):
        with Booted(python, dict(environ, **{} if is_ahead else EXECUTED)) as b:
            if is_ahead:
                assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
            b.package(app=app)
            write(b.folder.name, dict(files))
            assert b.tell(frames.BEGIN) == READY
            text = json.dumps(b.call(1, event)).replace(os.path.realpath(b.folder.name), "TASK")
            both.append(json.loads(re.sub(r"0x[0-9a-f]+", "0x", text)))
    return both


def agree(python, app, files=(), **environ):
    executed, ahead = answers(python, app, files, **environ)
    assert ahead == executed
    return ahead


def test_a_function_begins_with_the_modules_of_an_executed_one(python):
    seen = agree(python, LOOK + "SEEN = modules()\ndef handler(e, c): return SEEN")
    assert "json" not in seen and "os" in seen
    # Its first log line brings the same along.
    app = LOOK + "import logging\ndef handler(e, c):\n    logging.warning('w')\n    return modules()"
    assert "logging" in agree(python, app)


def test_an_error_brings_the_same_modules_along(python):
    app = LOOK + "def handler(e, c):\n    if e:\n        1 / 0\n    return modules()"
    seen = []
    for environ in (EXECUTED, {}):
        with Booted(python, environ) as b:
            b.package(app=app)
            assert b.tell(frames.BEGIN) == READY
            error = b.answer(1, True)
            assert json.loads(error["body"].decode())["errorType"] == "ZeroDivisionError"
            seen.append(b.call(2))
    assert seen[0] == seen[1] and "traceback" in seen[0]


# Each in a child of its own: what is there once it was imported, what it says of itself, and what its
# package has of it.
EACH = LOOK + """
import marshal, os
def look(name):
    __import__(name)
    seen, module = modules(), sys.modules[name]
    package, _, last = name.rpartition('.')
    return [seen, str(module.__spec__), str(module.__loader__), getattr(module, '__file__', None),
            list(getattr(module, '__path__', [])), not package or getattr(sys.modules[package], last) is module]
def handler(names, c):
    found = {}
    for name in names:
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(read)
            try:
                said = look(name)
            except BaseException as error:
                said = repr(error)
            with os.fdopen(write, 'wb') as out:
                out.write(marshal.dumps(said))
            os._exit(0)
        os.close(write)
        with os.fdopen(read, 'rb') as said:
            found[name] = marshal.loads(said.read())
        os.wait()
    return found
"""


def test_each_of_them_brings_along_what_its_execution_would(python):
    names = agree(python, "import sys\nWAS = set(sys.modules)\nimport %s\ndef handler(e, c): return sorted(set(sys.modules) - WAS)" % AHEAD)
    assert len(names) > 40
    executed, ahead = answers(python, EACH, event=names)
    for name in names:
        assert ahead[name] == executed[name], name


def test_they_are_given_where_nothing_stands_before_them(python):
    # A folder that is searched twice, one of the function's own behind them, a finder behind theirs.
    app = """
import sys, os
sys.path.append(os.path.dirname(os.path.abspath(__file__)) + '/vendor')
class Behind:
    def find_spec(self, name, path=None, target=None): return None
sys.meta_path.append(Behind())
import %s
from freehold_runtime import begin
given = begin._ahead.is_given
def handler(e, c):
    before = [name for name in %r.split(', ') if not given(name)]
    del sys.modules['base64']
    import base64
    return before, given('base64'), given('struct')
""" % (AHEAD, AHEAD)
    with Booted(python, {"PYTHONPATH": os.path.join(RUNTIMES, "python")}) as b:
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        b.package(app=app)
        write(b.folder.name, {"vendor/other.py": OWN})
        assert b.tell(frames.BEGIN) == READY
        assert b.call(1) == [[], False, True]


OWN = "mine = True\n"


def test_a_folder_that_a_function_adds_stands_before_them(python):
    vendor = {"vendor/%s.py" % name: OWN for name in ("random", "json", "enum", "colorsys")}
    app = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + '/vendor')
import random, json
# Both need one that is the function's now: an enumeration, a generator.
found = [hasattr(random, 'mine'), hasattr(json, 'mine')]
for name in ('re', 'tempfile', 'base64', 'datetime'):
    try:
        found.append([name, str(__import__(name).__spec__.origin)])
    except Exception as error:
        found.append([name, type(error).__name__])
found.append(sorted(sys.modules))
def handler(e, c): return found
"""
    found = agree(python, app, vendor)
    assert found[:2] == [True, True]
    # At the end it is looked at last.
    agree(python, app.replace("insert(0, ", "append("), vendor)


def test_what_is_written_while_it_runs_comes_in_time(python):
    app = """
import os, sys, tempfile
FOLDER = tempfile.mkdtemp()
def handler(e, c):
    sys.path.insert(0, FOLDER)
    import colorsys
    with open(FOLDER + '/base64.py', 'w') as out:
        out.write('mine = True')
    os.utime(FOLDER, (1, 1))
    import base64, datetime
    sys.path.remove(FOLDER)
    return [hasattr(base64, 'mine'), datetime.datetime(2020, 1, 2).isoformat(), 'json' in sys.modules]
"""
    assert agree(python, app)[:2] == [True, "2020-01-02T00:00:00"]


def test_a_package_of_the_functions_own_is_not_mixed_with_theirs(python):
    app = """
import sys, os
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here + '/parts')
import urllib, json
urllib.__path__.insert(0, here + '/more')
import urllib.parse
import json.scanner
def handler(e, c): return [urllib.__file__, urllib.parse.__file__, json.scanner.__file__, sorted(sys.modules)]
"""
    # A folder without `__init__.py` gives way to a package further on.
    agree(python, app, {"parts/json/other.py": "", "more/urllib/x.py": ""})
    agree(python, app, {"more/parse.py": OWN})


def test_what_was_taken_away_is_executed_anew(python):
    app = """
import sys, importlib, importlib.util
import json, random, logging, base64, datetime
def again(name):
    before = sys.modules.pop(name)
    now = importlib.import_module(name)
    return [now is before, now.__spec__.origin, sys.modules[name] is now]
seen = [again(name) for name in ('json', 'random', 'base64', 'datetime', 'json.decoder')]
# One that was never there yet, and what needs it: from now on with the new one.
import enum
enum.mark = 1
del sys.modules['enum']
import http
seen.append([hasattr(sys.modules['enum'], 'mark')])
was = logging.Logger
logging.mark = 1
importlib.reload(logging)
seen.append([logging.Logger is was, logging.mark, len(logging.getLogger().handlers)])
private = importlib.util.module_from_spec(importlib.util.find_spec('traceback'))
private.__spec__.loader.exec_module(private)
seen.append([private is sys.modules.get('traceback'), hasattr(private, 'format_exc')])
import traceback
seen.append([private is traceback, sorted(sys.modules)])
def handler(e, c): return seen
"""
    agree(python, app)


def test_who_asks_without_importing_imports_nothing(python):
    app = """
import importlib.util, pkgutil, sys, runpy
before = sorted(sys.modules)
specs = [importlib.util.find_spec(name) for name in ('json', 'random', 'typing', 'math', '_random', 'absent')]
seen = [[s.name, s.origin, s.has_location, s.cached, s.parent, str(s.submodule_search_locations)] for s in specs if s]
after = sorted(sys.modules)
seen.append([specs[0].loader.get_source('json')[:40], specs[1].loader.get_filename('random'), specs[0].loader.is_package('json'), specs[-1] is None])
listed = sorted(m.name for m in pkgutil.iter_modules() if m.name in ('json', 'random', 'urllib'))
ran = sorted(name for name in runpy.run_module('base64') if not name.startswith('_'))
lazy = importlib.util.find_spec('json')
lazy.loader = importlib.util.LazyLoader(lazy.loader)
module = importlib.util.module_from_spec(lazy)
sys.modules['json'] = module
lazy.loader.exec_module(module)
dumped = module.dumps([1])
from json import decoder
def handler(e, c): return [before == after, seen, listed, ran, dumped, module is sys.modules['json'], module.decoder is decoder, sorted(sys.modules)]
"""
    found = agree(python, app)
    assert found[0] is True and len(found[1]) >= 6


# A hook as agents for tracing have them: it sees each import, and wraps the loader of some.
HOOK = """
import sys, importlib.util
SEEN, WRAPPED = [], []
class Loader:
    def __init__(self, real): self.real = real
    def create_module(self, spec): return self.real.create_module(spec)
    def exec_module(self, module):
        self.real.exec_module(module)
        WRAPPED.append(module.__name__)
class Hook:
    busy = set()
    def find_spec(self, name, path=None, target=None):
        if name in self.busy: return None
        SEEN.append(name)
        if name not in WANTED: return None
        self.busy.add(name)
        try: spec = importlib.util.find_spec(name)
        finally: self.busy.discard(name)
        if spec: spec.loader = Loader(spec.loader)
        return spec
"""


def test_a_hook_sees_the_imports_that_it_waits_for(python):
    for place in ("0", "len(sys.meta_path) - 1"):
        app = HOOK + "WANTED = {'json', 'json.decoder', 'random', 'logging'}\nsys.meta_path.insert(%s, Hook())\n" % place + """
import logging, json, random, base64
def handler(e, c):
    return [WRAPPED, [json.__name__, json.dumps([json.decoder.JSONDecodeError.__name__])], len(logging.getLogger().handlers),
            str(json.__spec__), str(json.__loader__), str(base64.__spec__), sorted(sys.modules), sorted(set(SEEN)), SEEN if PLACE == "0" else 0]
""".replace("PLACE", repr(place))
        executed, ahead = answers(python, app)
        assert ahead == executed
        assert set(ahead[0]) == {"json", "json.decoder", "random", "logging"}


def test_one_that_finds_something_else_is_believed(python):
    app = """
import sys, importlib.util, importlib.machinery
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module): module.mine = True
class Other:
    def find_spec(self, name, path=None, target=None):
        if name == 'random': return importlib.machinery.ModuleSpec(name, Loader())
sys.meta_path.insert(0, Other())
import random, json
try:
    import tempfile
    said = tempfile.__name__
except ImportError as error:
    said = str(error)
kept, sys.meta_path[:] = list(sys.meta_path), [importlib.machinery.PathFinder]
import base64
def handler(e, c): return [random.mine, said, base64.b64encode(b'x').decode(), sorted(sys.modules)]
"""
    agree(python, app)


def test_archives_and_hooks_of_the_search_path_are_asked(python):
    app = """
import os, sys, zipfile, tempfile
folder = tempfile.mkdtemp()
with zipfile.ZipFile(folder + '/a.zip', 'w') as archive:
    archive.writestr('base64.py', 'mine = True')
sys.path.insert(0, folder + '/a.zip')
import base64, json, random
class Finder:
    def __init__(self, path):
        if path != 'mine:': raise ImportError
    def find_spec(self, name, target=None):
        import importlib.machinery
        if name == 'datetime': return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec): return None
    def exec_module(self, module): module.mine = True
sys.path_hooks.append(Finder)
sys.path.insert(0, 'mine:')
import datetime, urllib.parse
def handler(e, c): return [base64.mine, datetime.mine, urllib.parse.quote('/ '), sorted(sys.modules)]
"""
    assert agree(python, app)[:3] == [True, True, "/%20"]


def test_threads_that_import_at_once_find_one_of_each(python):
    app = """
import sys, _thread, time
count = COUNT
names = ['json', 'random', 'logging', 'datetime', 'traceback', 'base64', 'typing', 'urllib.parse', 'enum', 're', 'functools', 'copyreg']
seen, errors, started = {}, [], []
def load(turn):
    started.append(turn)
    while len(started) < count: time.sleep(0.0001)
    for name in names[turn:] + names[:turn]:
        try:
            __import__(name)
            seen.setdefault(name, set()).add(id(sys.modules[name]))
        except BaseException as error:
            errors.append(repr(error))
    started.append(-1)
for turn in range(count): _thread.start_new_thread(load, (turn,))
while len(started) < 2 * count: time.sleep(0.001)
import json, re, enum, logging, random
same = [json.decoder.JSONDecoder is json.JSONDecoder, isinstance(re.I, enum.Enum), logging.threading is sys.modules['threading'],
        len(logging.getLogger().handlers)]
def handler(e, c): return [errors, {name: len(ids) for name, ids in seen.items()}, same, sorted(sys.modules)]
"""
    # An executed interpreter's threads at times see one of them in vain, and tell or make do without it: one
    # alone says what there is in the end.
    alone, ahead_alone = answers(python, app.replace("COUNT", "1"))
    _, ahead = answers(python, app.replace("COUNT", "8"))
    assert alone[0] == [] and set(alone[1].values()) == {1}
    assert ahead == ahead_alone == alone


def test_what_is_replaced_for_all_is_found_by_who_comes_later(python):
    app = """
import time, sys
def mine(): return 1.0
time.monotonic = mine
import threading
import _thread
def lock(): return 'mine'
def handler(e, c): return [threading._time is mine, sorted(sys.modules)]
"""
    assert agree(python, app)[0] is True


def test_nothing_is_given_to_one_that_put_something_else_in_the_place_of_what_it_needs(python):
    app = """
import sys, types
import random
class Mine(random.Random): pass
other = types.ModuleType('random')
other.Random, other.mine = Mine, True
sys.modules['random'] = other
import tempfile
sys.modules['json'] = None
try:
    import json
except ImportError as error:
    said = type(error).__name__
def handler(e, c): return [tempfile._Random is Mine, said, sorted(sys.modules)]
"""
    assert agree(python, app, _FREEHOLD_PRELOAD="tempfile")[:2] == [True, "ModuleNotFoundError"]


def test_the_interpreters_own_finder_and_loader_hear_of_all_once_they_are_replaced(python):
    app = LOOK + """
import importlib.machinery as m
heard = []
def listening(owner, name):
    real = getattr(owner, name)
    def listens(self, module):
        heard.append(module.__name__)
        return real(self, module)
    setattr(owner, name, listens)
listening(m.SourceFileLoader, 'exec_module')
import json
def handler(e, c): return sorted(heard), sorted(modules())
"""
    heard, _ = agree(python, app)
    assert "json.decoder" in heard


def test_its_loader_is_of_its_real_ones_kind(python):
    app = """
import sys, importlib.util
from importlib.machinery import SourceFileLoader
specs = [importlib.util.find_spec(name) for name in ('json', 'base64', 'random')]
SEEN = [[isinstance(spec.loader, SourceFileLoader), spec.loader.__class__.__name__, spec.name in sys.modules]
        for spec in specs]
def handler(e, c): return SEEN
"""
    assert agree(python, app) == [[True, "SourceFileLoader", False]] * 3


def test_its_loader_can_be_copied(python):
    app = """
import copy, importlib.util
spec = importlib.util.find_spec('json')
def handler(e, c): return copy.copy(spec.loader).path, copy.copy(spec).origin
"""
    assert agree(python, app)[0].endswith("__init__.py")
