"""The trace header of an event, where functions look for it: `os.environ["_X_AMZN_TRACE_ID"]`.

`os.environ[name] = value` calls setenv(3), and glibc before 2.41 never frees a value that it was
given: 150 bytes an event, which fill an instance of 128 MB in some 800,000. So the mapping alone is
written with every event, and the environment of the process only before a program or a child takes
it along.
"""
import os
import sys

NAME = "_X_AMZN_TRACE_ID"
# Before each of these the C library reads the environment. What is given one takes `os.environ`, which
# is always right; `multiprocessing` without a fork does neither, and its children have no header.
_READ_BY = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
)

# Whether the process's own environment has this event's.
_is_told = True


def _audited(event, _arguments):
    if event in _READ_BY:
        _tell()


def _tell():
    global _is_told
    if _is_told:
        return
    _is_told = True
    shown = os.environ.get(NAME)
    if shown is None:
        os.unsetenv(NAME)
    else:
        os.putenv(NAME, shown)


def _set_in_both(header):
    if header:
        os.environ[NAME] = header
    else:
        os.environ.pop(NAME, None)


def _set_in_mapping(header):
    global _is_told
    _is_told = False
    try:
        data = os.environ._data
    except AttributeError:
        # A function has put a mapping of its own there.
        _set_in_both(header)
        return
    if header:
        data[_KEY] = header.encode("ascii", "replace")
    else:
        data.pop(_KEY, None)


# Older interpreters put strings of their own there, and free them.
if sys.version_info >= (3, 9):
    _KEY = os.environ.encodekey(NAME)
    sys.addaudithook(_audited)
    set_header = _set_in_mapping
else:
    set_header = _set_in_both
