"""What turns a booted interpreter into one function's, and a thawed one into one instance's.

Booted ahead, the process belongs to nobody: everything of ours is imported, nothing of a function
is known. `begin` gives it the environment and the folder; `resume` does that again after a thaw, with
random state of its own and the function's hooks. What was imported ahead is hidden until then, and has
a state of its own from the moment on that the function imports it (`ahead`). Executed for its
function, only the paths are left to do, and nothing is imported ahead: an import costs the start more
than it saves.
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
# The module `ahead`, once there is something to hide, and whether that holds the libraries.
_ahead, _has_libraries = None, False
# Where the runtime's own modules lie.
_own_path = list(sys.path)
# Where layers put modules.
_LAYERS = ["/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2], "/opt/python"]
# The variables as the platform gave them last: the frame.
_given = [bytes(8)]


def preload():
    """Imports what would be imported sooner or later, before anybody waits for it, and hides it until
    the function does."""
    global _ahead, _has_libraries
    more = os.environ.pop(_MORE, "")
    # An executed interpreter has it too, when its function begins.
    from . import handler  # noqa: F401

    visible = set(sys.modules)
    from . import ahead

    ahead.record(visible)
    _import(_AHEAD)
    _has_libraries = more == _LIBRARIES
    _import(_OF_LIBRARIES if _has_libraries else more.split(","))
    from . import faults, image, logs, rehearsal  # noqa: F401

    logs.prepare()
    _ahead = ahead
    hide()


def hide():
    """What was imported ahead, or in a rehearsal, is out of sight."""
    if _ahead is not None:
        _ahead.hide()


def reseed():
    """What was seeded ahead and stays, whether the function imports it or not."""
    if _ahead is not None:
        _ahead.reseed()


def _import(names):
    for name in filter(None, names):
        try:
            __import__(name)
        except ImportError:
            pass


def uses_libraries():
    """Whether a start image that holds the SDK which the runtime brings is worth its memory: init has
    imported that one, or has not said otherwise where it was at hand."""
    modules = sys.modules
    if _has_libraries:
        return "botocore" not in modules or _ahead.is_given("botocore")
    if "botocore" not in modules:
        return False
    own = set(_own_path)
    for name in _LIBRARY_NAMES:
        origin = getattr(modules.get(name), "__file__", None)
        # `<path>/six.py` or `<path>/boto3/__init__.py`
        folder = os.path.dirname(origin or "")
        if origin and folder not in own and os.path.dirname(folder) not in own:
            return False
    return True


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


def _unique(items):
    seen = set()
    return [item for item in items if not (item in seen or seen.add(item))]


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
