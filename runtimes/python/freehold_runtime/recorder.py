"""Notes, while modules are imported ahead, what an execution of each brings along.

By that it can be told later which modules a function finds once it has imported one of them, and on
what the outcome hangs. Only ever runs before a function is known, in one thread; refuses to judge:
`ahead` does.
"""
import builtins
import sys

_importlib = sys.modules["_frozen_importlib"]
_ABSENT = object()
# Of modules, and of the strings that are their names, in bytes.
SIZES = range(64, 145, 16)


class Recorder(object):
    """Stands first among the finders, and in the place of `__import__`, from `start` to `stop`."""

    def __init__(self):
        # By a module's name: modules that it needs, whoever had them imported before; first names that
        # it looked for in vain; finders that it appended.
        self.needs, self.missed, self.finders = {}, {}, {}
        # Modules that the interpreter's own finders found. What else turns up in `sys.modules` was put
        # there by the module that was executed then.
        self.found = set()
        # What packages had where a module of theirs stands now.
        self.covered = {}
        # What a module's execution put into others that were done, as (the other, name, value): what
        # an other makes when it is first asked for it, mostly.
        self.left = {}
        self._names = {name: set(vars(m)) for name, m in sys.modules.items() if hasattr(m, "__dict__")}
        self._executing = []
        self._blank = []
        self._import = builtins.__import__

    def start(self):
        sys.meta_path.insert(0, self)
        builtins.__import__ = self._noted_import

    def make_blank(self, count, fill):
        """Modules for what is imported from here on. Made in a row once the holes of memory are full,
        they lie side by side: an instance counts references to each that it is given, and has to copy
        the page for that."""
        filling = [fill(size) for size in SIZES]
        self._blank = [type(sys)("") for _ in range(count)]
        del filling

    def stop(self):
        builtins.__import__ = self._import
        sys.meta_path.remove(self)
        del self._blank[:]

    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                break
        else:
            if "." not in name:
                self._note(self.missed, name)
            return None
        self._note(self.needs, name)
        if isinstance(finder, type) and hasattr(spec.loader, "exec_module"):
            self.found.add(name)
            spec.loader = _Loader(self, spec.loader)
        return spec

    def blank(self, name):
        if not self._blank:
            return None
        module = self._blank.pop(0)
        module.__init__(name)
        return module

    def execute(self, module, execute):
        name = module.__spec__.name
        package, _, last = name.rpartition(".")
        if package in sys.modules:
            self.covered[name] = vars(sys.modules[package]).get(last, _ABSENT)
        finders, modules = list(sys.meta_path), set(sys.modules)
        self._executing.append(name)
        try:
            execute(module)
        finally:
            self._executing.pop()
        others = [known for them in self.finders.values() for known in them]
        added = [f for f in sys.meta_path if f not in finders and f not in others]
        if added:
            self.finders[name] = added
        made = set(sys.modules) - modules - self.found
        self.needs.setdefault(name, set()).update(made - set().union(*self.needs.values()))
        self._names[name] = set(vars(module))
        for other, names in self._names.items():
            inside = getattr(sys.modules.get(other), "__dict__", names)
            if len(inside) != len(names):
                for new in set(inside) - names:
                    if "%s.%s" % (other, new) not in sys.modules:
                        self.left.setdefault(name, []).append((other, new, inside[new]))
                self._names[other] = set(inside)

    def restore(self, package, last, name):
        """Gives a package back what it had before a module of it was imported."""
        before = self.covered.get(name, _ABSENT)
        if before is _ABSENT:
            delattr(package, last)
        else:
            setattr(package, last, before)

    def _note(self, notes, name):
        if self._executing:
            notes.setdefault(self._executing[-1], set()).add(name)

    def _noted_import(self, name, globals=None, locals=None, fromlist=(), level=0):
        module = self._import(name, globals, locals, fromlist, level)
        if self._executing:
            if level:
                name = _importlib._resolve_name(name, _importlib._calc___package__(globals), level)
            self._note(self.needs, name)
            wanted = getattr(module, "__all__", ()) if fromlist and "*" in fromlist else fromlist
            for item in wanted or ():
                part = sys.modules.get("%s.%s" % (name, item))
                if part is not None and getattr(module, item, None) is part:
                    self._note(self.needs, "%s.%s" % (name, item))
        return module

    def reach(self, world):
        """For each module of `world` the names of those of it that are there once it was executed, in
        the order of `world`; those that come to the same share a tuple."""
        names = list(world)
        names += sorted(set().union(self.needs, *self.needs.values()).difference(world))
        bits = {name: 1 << number for number, name in enumerate(names)}
        direct = {}
        for name in names:
            needed = self.needs.get(name, set()) | {name.rpartition(".")[0]}
            direct[name] = [other for other in needed if other in bits]
        reached, changed = dict(bits), True
        while changed:
            changed = False
            for name in names:
                now = reached[name]
                for other in direct[name]:
                    now |= reached[other]
                changed |= now != reached[name]
                reached[name] = now
        told = {}
        for mask in set(reached.values()):
            told[mask] = tuple(name for name in world if bits[name] & mask)
        return {name: told[reached[name]] for name in world}

    def missed_by(self, name, world):
        """What it looked for in vain, or a module that it tried and that failed."""
        found, todo, seen = set(), [name], set()
        while todo:
            one = todo.pop()
            seen.add(one)
            found |= self.missed.get(one, set())
            todo += [n for n in self.needs.get(one, ()) if n not in world and n not in seen]
        return found


class _Loader(object):
    """Executes a module as its own loader does, which has its place back by then."""

    def __init__(self, recorder, real):
        self._recorder, self._real = recorder, real

    def create_module(self, spec):
        module = self._real.create_module(spec)
        if module is None and spec.origin is not None:
            module = self._recorder.blank(spec.name)
        return module

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._real
        self._recorder.execute(module, self._real.exec_module)
