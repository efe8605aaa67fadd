"""What a stopped server may have left on the machine: nothing.

A snapshot before the start and one after the stop; the difference is the leak. Only what can be
traced to this server counts, since others live on the machine too: the cgroup trees that its
processes lived in, mounts and loop devices on the server's own data, network namespaces held by its
processes, temporary files with its prefix, and every process that it ever started.
"""

import glob
import os
import time

PREFIX = "freehold"


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def process_start(pid):
    """The start time of a process in clock ticks: with the pid, a name that is never reused."""
    stat = _read(f"/proc/{pid}/stat")
    return stat.rsplit(")", 1)[-1].split()[19] if stat else None


def is_running(pid, start):
    """Whether this very process runs; a zombie that waits for its parent does not."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return False
    fields = stat.rsplit(")", 1)[-1].split()
    return fields[19] == start and fields[0] not in "ZX"


def descendants(pid):
    """Every living descendant of a process as {pid: start}, itself included."""
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = _read(path).rsplit(")", 1)[-1].split()
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.split("/")[2]))
    found, todo = {}, [pid]
    while todo:
        at = todo.pop()
        start = process_start(at)
        if start is not None and at not in found:
            found[at] = start
            todo.extend(children.get(at, []))
    return found


def cgroup_roots(pids):
    """The folders of the cgroup trees that these processes live in and that bear our name."""
    found = set()
    for pid in pids:
        for row in _read(f"/proc/{pid}/cgroup").splitlines():
            parts = row.split(":", 2)[2].split("/")
            found.update(part for part in parts if part.startswith(PREFIX))
    return found


def cgroups(roots):
    """Every cgroup of those trees. Another server on the machine has a tree of its own."""
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        inside = any(part in roots for part in folder.split("/"))
        found.update(os.path.join(folder, name) for name in names if inside or name in roots)
    return found


def mounts(data):
    rows = _read("/proc/self/mountinfo").splitlines()
    return {row.split(" ", 3)[3] for row in rows if str(data) in row}


def loop_devices(data):
    found = set()
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        backing = _read(path).strip()
        if str(data) in backing:
            found.add(f"{path.split('/')[3]} on {backing}")
    return found


def named_network_namespaces():
    return {p for p in glob.glob("/run/netns/*") if os.path.basename(p).startswith(PREFIX)}


def temporary_files(own):
    """What lies in the server's own TMPDIR, and under our name where TMPDIR has no say."""
    found = set(glob.glob(f"{own}/*"))
    for folder in ("/dev/shm", "/run"):
        found.update(glob.glob(f"{folder}/{PREFIX}*"))
    # What nodes of the machine share, made by the first; who waits for its lock keeps it from going.
    return found - {"/run/freehold-network"}


class Snapshot:
    """The state of the machine as far as a server with this data folder could change it."""

    def __init__(self, data, temporary, roots=()):
        self.parts = {
            "cgroup": cgroups(roots),
            "mount": mounts(data),
            "loop device": loop_devices(data),
            "network namespace": named_network_namespaces(),
            "temporary file": temporary_files(temporary),
        }

    def leaks_since(self, before):
        return [
            f"{kind} {thing}"
            for kind, things in self.parts.items()
            for thing in sorted(things - before.parts[kind])
        ]


def wait_for_nothing(before, data, temporary, processes, roots, seconds=10):
    """Waits until nothing is left, and returns what still is after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() > end
        left = [f"process {pid}: {_read(f'/proc/{pid}/comm').strip()}"
                for pid, start in processes.items() if is_running(pid, start)]
        left += Snapshot(data, temporary, roots).leaks_since(before)
        if not left or is_last:
            return left
        time.sleep(0.1)
