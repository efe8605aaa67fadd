"""Modules that were imported ahead, out of sight until the function imports them.

    imported ahead ──hide──▶ hidden ──taken──▶ the function's, with all that it needs
                               └─ one of them would be another now ─▶ executed, as ever

Before anything of a function runs they are taken out of `sys.modules` and out of their packages. A
finder that stands first gives a module out when it is imported and the interpreter would find that
same file; and with it all modules that its execution would have imported, each by the same question.
If for one of them there is another by now, in `sys.modules` or on the way to it, or if it would bring
others along and somebody listens to imports, the interpreter executes the module. So there are never
two of one module where there would be one: whatever refers to a hidden module is not given out once
there is another in its place.

Refuses to look into modules that the function has by then: what it has replaced within them is seen
for a few names (`_WATCHED`) alone.
"""
import os
import sys

from . import logs
from .recorder import SIZES, Recorder

_importlib = sys.modules["_frozen_importlib"]
_external = sys.modules["_frozen_importlib_external"]
_ABSENT = object()
_MODULES_AT_MOST = 700
# What is replaced in them is meant for whoever imports them later, too: once one of these is another
# one, nothing is given out any more.
_WATCHED = {
    "builtins": ("__import__", "open"),
    "_thread": ("allocate_lock", "start_new_thread"),
    "time": ("time", "sleep", "monotonic"),
    "os": ("fork", "environ"),
    "threading": ("Thread", "Lock", "RLock"),
    "socket": ("socket", "getaddrinfo"),
    "ssl": ("SSLContext",),
}

# The same of the interpreter's own ways: replaced, they hear of every import.
_FINDS_AND_LOADS = (
    (_external.PathFinder, ("find_spec",)),
    (_external.FileFinder, ("find_spec",)),
    (_external.SourceLoader, ("get_code", "exec_module")),
    (_external.SourceFileLoader, ("get_code", "exec_module")),
)

_recorder = _fresh = _fill = None
# What an interpreter has in `sys.modules` that was executed for its function, as that begins.
_visible = set()
# All modules as they were: hidden ones, and those that they refer to.
_world = {}
# Of a hidden module: its spec; what there is after its execution; what it looked for in vain.
_specs, _reached, _missed = {}, {}, {}
# Of a package: where it looks for its modules.
_paths = {}
# Of a package: hidden modules that it may be there without, with their names in there; and back.
_parts, _part_of = {}, {}
# What its execution left in others.
_left = {}
# The names whose taking has a part in it beyond `sys.modules`.
_special = set()
_pinned = []
# Given out already, or spoiled: whoever looks for them again wants others.
_spent = set()
# Finders, hooks and search path as they were, and all first names that play a part.
_finders, _hooks, _own_path, _first_names = [], [], [], frozenset()
# The last search path that was looked at, and the entries of it that are not ours.
_seen_path, _other_entries, _is_in_order = [None], [], [True]
# By entry: what its finder knew, and which of our first names are among it.
_names_of = {}


def record(visible):
    """From here on imports are noted. `visible` are the names that stay."""
    global _recorder, _fresh, _fill
    _visible.update(visible)
    _finders[:], _hooks[:] = sys.meta_path, sys.path_hooks
    _own_path[:] = sorted(set(sys.path), key=sys.path.index)
    _recorder = Recorder()
    _recorder.start()
    from . import fresh, image

    _fresh, _fill = fresh, image.fill
    _recorder.make_blank(_MODULES_AT_MOST, _fill)


def hide():
    """Out of sight with what was imported, and with what rehearsals have left."""
    modules = sys.modules
    if not _world:
        _recorder.stop()
        _learn()
    for name in [name for name in modules if name not in _visible]:
        package, _, last = name.rpartition(".")
        # Of what is not kept: the runtime's own.
        if name not in _world and package in _visible and hasattr(modules[package], last):
            delattr(modules[package], last)
        del modules[name]
    for package, parts in _parts.items():
        for name, last in parts:
            if package not in _visible:
                # Left there, it costs nothing where both are given at once, as they mostly are.
                setattr(_world[package], last, _world[name])
            elif vars(_world[package]).get(last) is _world[name]:
                _recorder.restore(_world[package], last, name)
    for name, lefts in _left.items():
        for other, attribute, _ in lefts:
            vars(_world[other]).pop(attribute, None)
    brought = [finder for finders in _recorder.finders.values() for finder in finders]
    sys.meta_path[:] = [f for f in sys.meta_path if f not in brought and f is not Finder]
    sys.meta_path.insert(0, Finder)
    _spent.clear()


def _learn():
    """Makes what is asked at every start from what was noted."""
    global _first_names
    noted, modules = _recorder, sys.modules
    made = set().union(*noted.needs.values()) if noted.needs else set()
    # The names as the modules: side by side.
    filling = [_fill(size) for size in SIZES]
    kept = [name for name in modules if name in _visible or name in noted.found or name in made]
    _world.update(zip(["".join(list(name)) for name in kept], map(modules.get, kept)))
    del filling
    reached = noted.reach(_world)
    for name, module in _world.items():
        if name in _visible or name not in noted.found:
            continue
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name or spec.origin is None:
            continue  # it put something else in its place
        _specs[name], _reached[name] = spec, reached[name]
        missed = noted.missed_by(name, _world)
        if missed:
            _missed[name] = missed
        # What it left in others that would not bring it along themselves.
        left = [item for item in noted.left.get(name, ()) if item[0] in _world]
        left = [item for item in left if item[0] in _visible or name not in reached[item[0]]]
        if left:
            _left[name] = left
    for name, module in _world.items():
        package, _, last = name.rpartition(".")
        if isinstance(getattr(module, "__path__", None), list):
            _paths[name] = list(module.__path__)
        if name in _visible or package not in _world or name in reached[package]:
            continue
        if vars(_world[package]).get(last) is module:
            _parts.setdefault(package, []).append((name, last))
            _part_of[name] = package
    _special.update(_parts, _part_of, _left, noted.finders, _fresh.MADE_ON_IMPORT)
    _first_names = frozenset(name.partition(".")[0] for name in _world).union(*_missed.values())
    for name, attributes in _WATCHED.items():
        if name in _world:
            inside = vars(_world[name])
            _pinned.extend((name, inside, a, inside[a]) for a in attributes if a in inside)
    for owner, attributes in _FINDS_AND_LOADS:
        # Of a class that only inherits it, too: nothing there yet.
        inside = vars(owner)
        _pinned.extend(("sys", inside, a, inside.get(a)) for a in attributes)


def reseed():
    """What a C library keeps is the process's, whichever of its modules the function comes by: also
    one that it executes, since somebody listens to imports."""
    if "_ssl" in _world:
        _fresh.MADE_ON_IMPORT["_ssl"](_world["_ssl"])


def is_given(name):
    """Whether this is loaded, and the one that was imported ahead."""
    return name in _world and sys.modules.get(name) is _world[name]


class Finder(object):
    """Finds hidden modules, where the finders after it would find the same."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in _specs:
            return None
        if target is not None:
            # Executed once more in its place: who refers to what it held would refer to something old.
            _spent.add(name)
            _world[name] = _ABSENT
        if name in _spent or name in sys.modules or not _is_found(name):
            return None
        real = _specs[name]
        spec = type(real)(name, _Loader(name, real.loader), origin=real.origin)
        if name in _paths:
            spec.submodule_search_locations = list(_paths[name])
        spec.has_location, spec.cached = real.has_location, real.cached
        return spec


class _Loader(object):
    """Loads one hidden module. Whatever else it is asked, its real loader answers."""

    def __init__(self, name, real):
        self._name, self._real, self._given, self._other = name, real, None, None

    @property
    def __class__(self):
        # Of its real one's kind, for whoever asks `isinstance`: resources, data files and inspectors do. What is
        # being copied has no real one yet.
        return type(self.__dict__.get("_real", self))

    def __getattr__(self, name):
        if name.startswith("__"):
            # Who copies this asks before there is anything to ask.
            raise AttributeError(name)
        return getattr(self._real, name)

    def create_module(self, spec):
        self._given = _take(self._name)
        if self._given is not None:
            return self._given
        # What it needs is another by now.
        self._other = _find(self._name, _finders) or _specs[self._name]
        return self._other.loader.create_module(self._other)

    def exec_module(self, module):
        # Not through the module's own ways: `LazyLoader` asks in the middle of them.
        inside = object.__getattribute__(module, "__dict__")
        # A hook that has put its own loader before this one has its reasons.
        is_mine = getattr(inside.get("__spec__"), "loader", None) is self
        if module is self._given:
            # From here on nobody can tell that another loader was in between.
            self._given = None
            if is_mine:
                inside["__spec__"] = _specs[self._name]
            if inside.get("__loader__") is not inside["__spec__"].loader:
                inside["__loader__"] = inside["__spec__"].loader
        elif self._other is None:
            self._real.exec_module(module)
        else:
            if is_mine:
                _importlib._init_module_attrs(self._other, module, override=True)
            self._other.loader.exec_module(module)


def _is_found(name):
    """Whether the others would find the same. What it needs is looked at as it is taken: here it would
    be once more, and only foreign finders care what this one says."""
    package = name.rpartition(".")[0]
    if package:
        there = sys.modules.get(package)
        if there is not _world[package] or there.__path__ != _paths.get(package):
            return False
    if _is_listened_to():
        # Those before this one have found nothing, or wrap what it finds.
        place = sys.meta_path.index(Finder) + 1 if Finder in sys.meta_path else 0
        return _is_same(_find(name, sys.meta_path[place:]), _specs[name])
    doubtful = _doubtful()
    if doubtful is None or name.partition(".")[0] in doubtful:
        return _is_same(_find(name, _finders), _specs[name])
    return True


def _take(name):
    """The hidden module, with all that it needs in its place, or None where it does not fit."""
    if len(sys._current_frames()) < 2:
        return None if name in _spent else _take_now(name)
    # Another thread may be about to import one of them.
    skipped = set()
    while True:
        held, busy = [], None
        try:
            for needed in _reached[name]:
                if needed in sys.modules or needed in skipped:
                    continue
                if _importlib._get_module_lock(needed).owner not in (None, _importlib._thread.get_ident()):
                    busy = needed
                    break
                lock = _importlib._ModuleLockManager(needed)
                try:
                    lock.__enter__()
                except _importlib._DeadlockError:
                    # Whoever imports it waits for one that this thread imports, has not begun with its
                    # own, and looks again when that is there.
                    continue
                held.append(lock)
            if busy is None:
                return _world[name] if is_given(name) else None if name in _spent else _take_now(name)
        finally:
            for lock in reversed(held):
                lock.__exit__(None, None, None)
        # Waits as an executed one would, with nothing held but what this thread imports: whoever is busy
        # may need one of the others, and would be told of a deadlock in its own import.
        try:
            with _importlib._ModuleLockManager(busy):
                pass
        except _importlib._DeadlockError:
            skipped.add(busy)


def _take_now(name):
    missing = _missing(name)
    if missing is None:
        return None
    _spent.update(missing)
    given, modules, together = _world[name], sys.modules, set(missing)
    for needed in missing:
        # Its own place, there and in its package, it is given by whoever imports it.
        if needed != name:
            modules[needed] = _world[needed]
    for needed in missing:
        if needed in _special:
            package = _part_of.get(needed, needed)
            if package not in together and needed != name:
                setattr(_world[package], needed.rpartition(".")[2], _world[needed])
            for part, last in _parts.get(needed, ()):
                if part not in together:
                    _recorder.restore(_world[needed], last, part)
            for other, attribute, value in _left.get(needed, ()):
                vars(_world[other]).setdefault(attribute, value)
            sys.meta_path.extend(_recorder.finders.get(needed, ()))
            if needed in _fresh.MADE_ON_IMPORT:
                _fresh.MADE_ON_IMPORT[needed](_world[needed])
            if needed == "logging":
                logs.imported_ahead()
    return given


def _missing(name):
    """The modules that are to be put in place with `name`, or None where one does not fit."""
    modules, missing, missed = sys.modules, [], set()
    for needed in _reached[name]:
        there = modules.get(needed, _ABSENT)
        if there is _ABSENT:
            if needed in _spent:
                return None
            missing.append(needed)
            if needed in _missed:
                missed |= _missed[needed]
        elif there is not _world[needed]:
            return None
        elif needed in _paths and there.__path__ != _paths[needed]:
            return None
    for watched, inside, attribute, value in _pinned:
        if watched in modules and inside.get(attribute) is not value:
            return None
    for other in missed:
        if other in modules:
            return None
    if len(missing) > 1 and _is_listened_to():
        return None
    doubtful = _doubtful()
    if doubtful is None or doubtful:
        for needed in missing:
            first = needed.partition(".")[0]
            if (doubtful is None or first in doubtful) and needed in _specs and needed != name:
                if not _is_same(_find(needed, _finders), _specs[needed]):
                    return None
    if missed and (doubtful is None or len(sys.meta_path) > len(_finders) + 1 or missed & doubtful):
        for other in missed:
            if _find(other, sys.meta_path) is not None:
                return None
    return missing


def _is_listened_to():
    """Whether somebody else has a say in imports: asked for a module that nobody imports yet, it might
    import others, and it waits to see each import."""
    finders = [f for f in sys.meta_path if f is not Finder and f is not logs.Finder]
    return finders[:len(_finders)] != _finders


def _doubtful():
    """First names that the function may have put a module of its own to; None for all."""
    if sys.path_hooks != _hooks:
        return None
    if sys.path != _seen_path:
        _other_entries[:] = [entry for entry in sys.path if entry not in _own_path]
        _seen_path[:] = sys.path
        own = [entry for entry in sys.path if entry in _own_path]
        _is_in_order[0] = own == _own_path
    if not _is_in_order[0]:
        return None
    doubtful = set()
    for entry in _other_entries:
        finder = sys.path_importer_cache.get(entry, _ABSENT)
        if finder is _ABSENT:
            if not isinstance(entry, str) or not entry:
                return None
            finder = _external.PathFinder._path_importer_cache(entry)
        if finder is None:
            continue
        if type(finder) is not _external.FileFinder:
            return None
        doubtful |= _names_in(entry, finder)
    return doubtful


def _names_in(entry, finder):
    """Which of our first names are in a folder of the function's, as its finder sees that now."""
    try:
        modified = os.stat(finder.path).st_mtime
    except OSError:
        modified = -1
    if modified != finder._path_mtime:
        finder._fill_cache()
        finder._path_mtime = modified
    known = _names_of.get(entry)
    if known is None or known[0] is not finder._path_cache:
        files = finder._path_cache
        names = {file.partition(".")[0] for file in files} & _first_names
        known = _names_of[entry] = files, names
    return known[1]


def _find(name, finders):
    """What others of these find, None for nothing and for an error."""
    package = name.rpartition(".")[0]
    path = getattr(_world.get(package), "__path__", None) if package else None
    for finder in list(finders):
        if finder is Finder or finder is logs.Finder:
            continue
        try:
            spec = finder.find_spec(name, path, None)
        except Exception:
            return None
        if spec is not None:
            return spec
    return None


def _is_same(spec, real):
    return spec is not None and spec.origin == real.origin and spec.loader == real.loader
