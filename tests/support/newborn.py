"""Kills the next process of a name that comes to a server: `python -m support.newborn PID NAME SECONDS`.

A process of its own, since what lives for some milliseconds is not seen by one of ten threads.
Prints what it killed, or nothing.
"""

import os
import signal
import sys
import time

from support import leaks, resources


def main(first, name, seconds):
    """Looks only at what has just been born: a name comes a moment after the birth."""
    known, end = {}, time.monotonic() + seconds
    ours = set(leaks.descendants(first))
    while (now := time.monotonic()) < end:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if now - known.setdefault(pid, now) > 0.05 or resources.name_of(pid) != name:
                continue
            if resources.parent_of(pid) in ours:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue  # It was done. The next one, then.
                print(pid)
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
