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
# Or this word for the AWS SDK that the runtime brings, with what its clients import late.
_LIBRARIES = "libraries"
_OF_LIBRARIES = (
    "boto3", "boto3.s3.inject", "boto3.s3.transfer", "boto3.dynamodb.transform",
    "boto3.dynamodb.types", "botocore.handlers", "botocore.httpsession", "s3transfer.subscribers",
)
# The modules that it consists of.
_LIBRARY_NAMES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
# Top-level modules that were imported ahead; every module that came with the libraries; and names
# that the libraries asked for in vain, which is what they would have got on the way of a function
# that brings them.
_preloaded, _with_libraries, _missed = set(), set(), set()
# That the libraries had to be forgotten again, for something that the function brings.
_forgotten = []
# Where the runtime's own modules lie, where a function's do, and the search path of its start.
_own_path, _function_path, _given_path = list(sys.path), [], []
# Entries of a function's folders that are looked through for the names of libraries.
_LOOKED_AT_MAX = 20000
# Where layers put modules.
_LAYERS = ["/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2], "/opt/python"]
# The variables as the platform gave them last: the frame.
_given = [bytes(8)]


class _MissedFinder(object):
    """Stands last, finds nothing, and remembers for what it was asked."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        _missed.add(name.partition(".")[0])


def preload():
    """Imports what would be imported sooner or later, before anybody waits for it."""
    more = os.environ.pop(_MORE, "")
    before = set(sys.modules)
    _import(_AHEAD)
    if more == _LIBRARIES:
        bare = set(sys.modules)
        sys.meta_path.append(_MissedFinder)
        _import(_OF_LIBRARIES)
        sys.meta_path.remove(_MissedFinder)
        _with_libraries.update(set(sys.modules) - bare)
    else:
        _import(more.split(","))
    from . import context, faults, fresh, handler, logs  # noqa: F401

    logs.prepare()
    _preloaded.update(name for name in set(sys.modules) - before if "." not in name)


def _import(names):
    for name in filter(None, names):
        try:
            __import__(name)
        except ImportError:
            pass


def uses_libraries():
    """Whether init has imported the SDK that the runtime brings, and nothing of the function's
    stands before any part of it, now or with a later event: whether a start image that holds the
    SDK is as good as this."""
    modules = sys.modules
    if "botocore" not in modules or _forgotten:
        return False
    # Who searches elsewhere finds other modules there than those that came with an image.
    if sys.path != _given_path:
        return False
    own = set(_own_path)
    for name in _LIBRARY_NAMES:
        origin = getattr(modules.get(name), "__file__", None)
        # `<path>/six.py` or `<path>/boto3/__init__.py`
        folder = os.path.dirname(origin or "")
        if origin and folder not in own and os.path.dirname(folder) not in own:
            return False
    return not _may_bring(_LIBRARY_NAMES)


def _may_bring(names):
    """Whether a function has a module of one of these names at any depth: it may come to search there
    later. An archive may hold one, and so may what is too much to look through."""
    looked_at = 0
    for root in _function_path:
        for _, folders, files in os.walk(root):
            looked_at += len(folders) + len(files)
            if looked_at > _LOOKED_AT_MAX:
                return True
            for entry in folders + files:
                if entry.partition(".")[0] in names or entry.endswith((".zip", ".whl", ".egg")):
                    return True
    return False


def environment(data, is_first):
    """Applies the variables of a frame; `putenv` too, so that child processes see them.

    Only the first time to all of them: what init has changed or taken away since (a password that
    it decrypted in place, keys of its own) is the function's, and nobody would change it again.

    The mapping's own bytes are written where it has some: a start that goes through its methods
    writes to eighty pages of its image, for counts of references alone.
    """
    stored = getattr(os.environ, "_data", None)
    if is_first and type(stored) is dict:
        put = os.putenv
        for entry in data[8:].split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals and stored.get(name) != value:
                put(name, value)
                stored[name] = value
    else:
        environ, before = os.environ, _variables(_given[0])
        for name, value in _variables(data).items():
            present = environ.get(name)
            if present != value and (is_first or present == before.get(name)):
                environ[name] = value
    _given[0] = data


def _variables(data):
    entries = (entry.partition("=") for entry in os.fsdecode(data[8:]).split("\0"))
    return {name: value for name, equals, value in entries if equals}


def forget(name):
    """Takes a variable away as if it had never been given."""
    os.environ.pop(name, None)
    _given[0] = bytes(8)


def paths():
    """The function first, then layers, then what the runtime brings: Lambda's order."""
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    first = [root] + _LAYERS
    sys.path[:] = first + [entry for entry in _unique(sys.path) if entry not in first]
    try:
        os.chdir(root)
    except OSError:
        pass
    _function_path[:], _given_path[:] = first, sys.path
    if _preloaded:
        _unshadow(_names_in(first))


def _unique(items):
    seen = set()
    return [item for item in items if not (item in seen or seen.add(item))]


def _names_in(folders):
    """What can be imported from there, by its first name."""
    names = set()
    for folder in folders:
        # Most have no layers, and an error is made of objects on twenty pages.
        if not os.access(folder, os.F_OK):
            continue
        try:
            found = os.listdir(folder)
        except OSError:
            continue
        for entry in found:
            if entry.endswith((".py", ".pyc", ".so")) or "." not in entry:
                names.add(entry.partition(".")[0])
    return names


def _unshadow(names):
    """A function that brings a module of a name that was imported ahead gets its own, as it would
    have in a process that was executed for it. Libraries that were given another one at that name
    are forgotten as a whole: they are imported anew, with the function's."""
    shadowed = names & _preloaded
    if _with_libraries and (shadowed or names & _missed):
        for loaded in _with_libraries:
            sys.modules.pop(loaded, None)
        _with_libraries.clear()
        _forgotten.append(True)
    for name in shadowed:
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
