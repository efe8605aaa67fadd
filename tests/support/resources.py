"""What a running platform holds of the machine, by kind, and whether it has given it back."""

import json
import os
import re
import subprocess
import time

from support import leaks
from support.http import send

NAMESPACES = ("mnt", "net", "pid", "ipc", "uts")


def _namespace(pid, kind):
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None


def name_of(pid):
    """What a process calls itself."""
    return leaks._read(f"/proc/{pid}/comm").strip()


def parent_of(pid):
    """The pid of a process's parent, None without it."""
    fields = leaks._read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
    return int(fields[1]) if fields else None


def _resident_kib(pid):
    for line in leaks._read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def _descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def platform(server):
    """The pids of the platform itself: server, supervisor, spawners and their helpers."""
    first = server.process.pid
    own = _namespace(first, "pid")
    return [pid for pid in leaks.descendants(first) if _namespace(pid, "pid") == own]


def guests(server):
    """The pids inside sandboxes."""
    first = server.process.pid
    own = _namespace(first, "pid")
    return [pid for pid in leaks.descendants(first) if _namespace(pid, "pid") not in (own, None)]


def runtimes(server):
    """The interpreters that run inside sandboxes, by name without version, sorted."""
    names = (name_of(pid).rstrip("0123456789.") for pid in guests(server))
    # What is parked has executed nothing yet; a process that has just ended has no name.
    return sorted(name for name in names if name not in ("init", ""))


def gauges(server):
    """What the platform counts of itself, {name: value}."""
    lines = send(server.admin, "GET", "/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def _slot(tree):
    """The node's number on the machine, two digits; None for a node without links."""
    for pid in tree:
        for name in _names_of_descriptors(pid):
            if found := re.fullmatch(r"/run/freehold-network/\d+/([0-9a-f]{2})", name):
                return found[1]
    return None


def _names_of_descriptors(pid):
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    for number in numbers:
        try:
            yield os.readlink(f"{folder}/{number}")
        except OSError:
            pass  # Closed meanwhile.


def _links(slot):
    """Devices of a node's instances, and what its sets and maps in the kernel say of them."""
    lines = leaks._read("/proc/net/dev").splitlines()
    devices = sum(line.strip().startswith(f"fh{slot}") for line in lines)
    done = subprocess.run(["nft", "-j", "list", "table", "inet", f"freehold_{slot}"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    sets = (entry.get("set") or entry.get("map") or {} for entry in json.loads(done.stdout)["nftables"])
    return {"network devices": devices, "elements": sum(len(held.get("elem", ())) for held in sets)}


def held(server):
    """Everything that is held now, {kind: count}."""
    tree = list(leaks.descendants(server.process.pid))
    found = {
        "processes": len(tree),
        "descriptors": sum(_descriptors(pid) for pid in tree),
        "cgroups": len(leaks.cgroups(leaks.cgroup_roots(tree))),
        "loop devices": len(leaks.loop_devices(server.data)),
        "temporary files": len(leaks.temporary_files(server.temporary)),
        "server, KiB": _resident_kib(server.process.pid),
        "platform, KiB": sum(_resident_kib(pid) for pid in platform(server)),
    }
    if slot := _slot(tree):
        found |= _links(slot)
    found["booked, KiB"] = int(gauges(server)["freehold_memory_booked_bytes"]) >> 10
    seen = {kind: {} for kind in NAMESPACES}
    for pid in tree:
        for kind in NAMESPACES:
            name = _namespace(pid, kind)
            if name:
                seen[kind].setdefault(name, pid)
    for kind in NAMESPACES:
        found[f"{kind} namespaces"] = len(seen[kind])
    # Each mount namespace is counted once, by one of the processes in it.
    found["mounts"] = sum(len(leaks._read(f"/proc/{pid}/mountinfo").splitlines())
                          for pid in seen["mnt"].values())
    return found


def more_than(before, now, slack):
    """What is held beyond `before` and its slack, {kind: (before, now)}."""
    def most(kind):
        factor, more = slack.get(kind, (1, 0))
        return before[kind] * factor + more
    return {kind: (before[kind], count) for kind, count in now.items() if count > most(kind)}


def wait_until_given_back(server, before, slack, seconds):
    """Waits until nothing is held beyond `before`; what still is after `seconds`."""
    end = time.monotonic() + seconds
    while (left := more_than(before, held(server), slack)) and time.monotonic() < end:
        time.sleep(2)
    return left


def wait_until_steady(server, quiet, seconds):
    """Waits until the processes have been the same for `quiet` seconds, which must come."""
    end, since = time.monotonic() + seconds, time.monotonic()
    before = leaks.descendants(server.process.pid)
    while time.monotonic() - since < quiet:
        assert time.monotonic() < end, f"processes come and go after {seconds} s"
        time.sleep(1)
        now = leaks.descendants(server.process.pid)
        if now != before:
            before, since = now, time.monotonic()
