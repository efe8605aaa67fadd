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
