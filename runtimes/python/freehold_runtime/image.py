"""Fitness for a start image: hooks before and after, and what an image cannot carry.

Hook order as in Lambda's own runtime: before a snapshot last registered first, after a restore
first registered first. Source: AWS Lambda developer guide, "Implement code before or after Lambda
function snapshots".
"""
import os
import sys


def before():
    """Runs the function's hooks before a snapshot; they are registered once, and run once."""
    hooks = _registered("get_before_snapshot")
    while hooks:
        function, args, kwargs = hooks.pop()
        function(*args, **kwargs)


def after():
    """Runs the function's hooks after a restore."""
    for function, args, kwargs in _registered("get_after_restore"):
        function(*args, **kwargs)


def _registered(getter):
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, getter)() if hasattr(module, getter) else []


def unfit():
    """What an image cannot carry, or None. The taker looks again; here things have names."""
    tasks = os.listdir("/proc/self/task")
    if len(tasks) > 1:
        return "%d threads (%s)" % (len(tasks), ", ".join(_thread_names()) or "not Python's")
    children = _children(tasks[0])
    if children:
        return "child processes %s" % ", ".join(children)
    for name in os.listdir("/proc/self/fd"):
        if int(name) <= 3:
            continue
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the one that listed them
        if not target.startswith("/") or target.startswith(("/tmp/", "/dev/")):
            return "descriptor %s is %s" % (name, target)
    return None


def _thread_names():
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    main = threading.main_thread()
    return sorted(thread.name for thread in threading.enumerate() if thread is not main)


def _children(task):
    try:
        with open("/proc/self/task/%s/children" % task) as listed:
            return listed.read().split()
    except OSError:
        return []


def settle():
    """Collects what is garbage and takes the rest out of the collector's sight: pages that nobody
    writes to stay shared."""
    import gc

    from . import fresh

    fresh.remember_credentials()
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()


# What fills the holes, never looked at again.
_filling = []
# Python's own allocator serves up to 512 bytes, in steps of 16, from pools of 4 KiB, of 16 from 3.10 on.
_POOL_BYTES = 16384 if sys.version_info >= (3, 10) else 4096
_EMPTY_BYTES = sys.getsizeof(b"")
# Of one size at most.
_FILLING_BYTES = 1 << 18
# Of the C library's holes: those for the variables of an environment, which `begin` sets.
_VARIABLE = "_FREEHOLD_FILLING"
_VARIABLE_BYTES_MAX, _VARIABLES = 256, 64


def fill_holes():
    """Takes what memory is free between objects, once for all who begin with the image. What an
    instance makes then lies side by side in pages of its own, and not in one hole here and one there,
    each of which would make it copy a page. Not for the image of a function's own init: it would
    count against its memory."""
    import gc

    gc.collect()
    _filling[:] = [fill(size) for size in range(48, 513, 16)]
    # A string that was in the environment is never freed before glibc 2.41; later this does nothing.
    for length in range(32, _VARIABLE_BYTES_MAX, 16):
        for number in range(_VARIABLES):
            os.putenv(_VARIABLE, str(number).zfill(length - len(_VARIABLE) - 2))
    os.unsetenv(_VARIABLE)


def fill(size):
    """Objects of `size` bytes until as many as fit into a pool lay side by side: that one was empty, and
    is given back. All are where that never comes."""
    filling = [None] * (_FILLING_BYTES // size)
    last, in_line, wanted = 0, 0, _POOL_BYTES // size - 4
    for number in range(len(filling)):
        filling[number] = piece = bytes(size - _EMPTY_BYTES)
        in_line = in_line + 1 if abs(id(piece) - last) == size else 0
        last = id(piece)
        if in_line >= wanted:
            del piece, filling[number - in_line:]
            return filling
    return None
