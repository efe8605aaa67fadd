"""Hooks around a start image, under the name and with the functions of AWS's own library.

Source: AWS Lambda developer guide, "Python runtime hooks for Lambda SnapStart".
"""
from collections import deque

_before_snapshot = deque()
_after_restore = deque()


def register_before_snapshot(func, *args, **kwargs):
    """Has `func` called before a start image is taken; the last one registered runs first."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has `func` called in every instance of a start image; the first one registered runs first."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore
