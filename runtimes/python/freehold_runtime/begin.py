"""What turns a booted interpreter into one function's, and a thawed one into one instance's.

Booted ahead, the process belongs to nobody: everything of ours is imported, nothing of a function
is known. `begin` gives it the environment, the folder and random state of its own; `resume` does
that again after a thaw, with the function's hooks. Executed for its function, only the paths are
left to do, and nothing is imported ahead: an import costs the start more than it saves.
"""
import os
import sys

# What a function that starts is most likely to import, and what the runtime itself needs with the
# first log line or error.
_AHEAD = ("json", "traceback", "logging", "datetime", "random", "base64", "typing", "urllib.parse")
# More of them, by name, comma-separated: given by whoever boots this for a start image.
_MORE = "_FREEHOLD_PRELOAD"
_preloaded = set()
# The variables as the platform gave them last.
_given = {}


def preload():
    """Imports what would be imported sooner or later, before anybody waits for it."""
    before = set(sys.modules)
    names = list(_AHEAD) + os.environ.pop(_MORE, "").split(",")
    for name in filter(None, names):
        try:
            __import__(name)
        except ImportError:
            pass
    from . import context, faults, fresh, handler  # noqa: F401

    _preloaded.update(name for name in set(sys.modules) - before if "." not in name)


def environment(data, is_first):
    """Applies the variables of a frame; `putenv` too, so that child processes see them.

    Only the first time to all of them: what init has changed or taken away since (a password that
    it decrypted in place, keys of its own) is the function's, and nobody would change it again.
    """
    environ = os.environ
    for entry in os.fsdecode(data[8:]).split("\0"):
        name, equals, value = entry.partition("=")
        if not equals:
            continue
        present = environ.get(name)
        if present != value and (is_first or present == _given.get(name)):
            environ[name] = value
        _given[name] = value


def forget(name):
    """Takes a variable away as if it had never been given."""
    os.environ.pop(name, None)
    _given.pop(name, None)


def paths():
    """The function first, then layers, then what the runtime brings: Lambda's order."""
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = "python%d.%d" % sys.version_info[:2]
    first = [root, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    sys.path[:] = first + [entry for entry in _unique(sys.path) if entry not in first]
    try:
        os.chdir(root)
    except OSError:
        pass
    if _preloaded:
        _unshadow(first)


def _unique(items):
    seen = set()
    return [item for item in items if not (item in seen or seen.add(item))]


def _unshadow(folders):
    """A function that brings a module of a name that was imported ahead gets its own, as it would
    have in a process that was executed for it."""
    for folder in folders:
        try:
            found = os.listdir(folder)
        except OSError:
            continue
        for entry in found:
            name = entry.partition(".")[0]
            if name in _preloaded and name in sys.modules:
                if entry.endswith((".py", ".pyc", ".so")) or "." not in entry:
                    _preloaded.discard(name)
                    for loaded in list(sys.modules):
                        if loaded == name or loaded.startswith(name + "."):
                            del sys.modules[loaded]


def builtins():
    """`exit` and `quit`, which `-S` leaves out and scripts turned handlers do call."""
    import builtins as module

    try:
        from _sitebuiltins import Quitter
    except ImportError:
        return
    module.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")
    module.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")


def is_booted_ahead():
    """Whether this process was executed before it was known for whom."""
    return "_HANDLER" not in os.environ
