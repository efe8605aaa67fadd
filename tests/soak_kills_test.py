"""Mixed load while processes of the platform and of functions are killed at random: all is given back.

Calls of functions of every kind for SOAK_SECONDS (five minutes; 3600 for the hour). Whoever calls
hears of the end of what ran for them; memory, descriptors, processes, cgroups, namespaces, mounts,
loop devices and temporary files are then where they were after the first minute. Run by `make soak`;
SOAK_SEED repeats a run. Before and after the load it rests for up to a quarter of an hour, as long
as it takes the platform to forget how much was asked of it.
"""

import collections
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from support import leaks, resources
from support.functions import Functions
from support.mix import Mix

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 32)))
CALLERS = 6
# Every call has its answer sooner, whatever dies: functions have ten seconds, starts a few more.
HUNG = 90
WRONG_MAX = 20
# On more some would be called so seldom that they begin to keep spares after the count.
CORES = 2
# A package that nothing refers to any more stays for as long as a function may run.
CONFIG = f"""
[server]
cores = {CORES}
[instances]
idle_timeout = "5s"
[limits]
function_timeout = "30s"
"""
# What may be killed, and how often of a hundred: names of processes of the platform, and guests.
VICTIMS = {"guest": 45, "init": 20, "fh-spawner": 15, "fh-volumes": 10, "fh-dumper": 10}
# Where an allocator keeps some of what it had, and log and ledger segments come and go.
MEMORY = (1.3, 16 << 10)
SLACK = {"descriptors": (1, 32), "server, KiB": MEMORY, "platform, KiB": MEMORY, "booked, KiB": MEMORY}


class Standstills:
    """Spans in which this very test stood still: the machine slept, or somebody stopped everything.

    Deadlines go on meanwhile, the platform's among them: a call in such a span proves nothing.
    """

    def __init__(self):
        self.spans = []
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        before = time.monotonic()
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            if now - before > 5:
                self.spans.append((before, now))
            before = now

    def since(self, began):
        """Seconds stood still since then."""
        time.sleep(1)  # One that has just ended may not be noted yet.
        return sum(end - max(start, began) for start, end in self.spans if end > began)


class Load:
    """Callers, a killer and a publisher side by side, and what came of it."""

    def __init__(self, server, mix):
        self.server, self.mix = server, mix
        self.outcomes, self.kills, self.wrong = collections.Counter(), collections.Counter(), []
        self.lock, self.editions, self.standstills = threading.Lock(), itertools.count(), Standstills()

    def run(self, seconds, seed, callers):
        end = time.monotonic() + seconds
        work = [(self.call, f"{seed}-{number}") for number in range(callers)]
        work += [(self.kill, f"{seed}-kills"), (self.publish, seed), (self.watch, seed)]
        threads = [threading.Thread(target=target, args=(end, random.Random(seed)), daemon=True)
                   for target, seed in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def note(self, outcome):
        with self.lock:
            self.outcomes[outcome] += 1

    def note_failure(self, began, text):
        """Kept for the end: one wrong answer stops nobody."""
        if self.standstills.since(began) > 0:
            self.note("in a standstill")
            return
        with self.lock:
            self.wrong.append(text[:500])
        print("WRONG", text[:500], flush=True)

    def call(self, end, chosen):
        while time.monotonic() < end and len(self.wrong) < WRONG_MAX:
            began = time.monotonic()
            try:
                outcome = self.mix.call(chosen)
                took = time.monotonic() - began
                assert took < HUNG, f"{outcome} after {took:.0f} s"
                self.note(outcome)
            except Exception as error:
                self.note_failure(began, repr(error))

    def publish(self, end, _chosen):
        while time.monotonic() < end:
            time.sleep(7)
            began = time.monotonic()
            try:
                went_well = self.mix.republish(next(self.editions))
                self.kills["a version with its image" if went_well else "a version's init"] += 1
            except Exception as error:
                self.note_failure(began, f"publish: {error!r}")

    def kill(self, end, chosen):
        words, shares = list(VICTIMS), list(VICTIMS.values())
        while time.monotonic() < end:
            time.sleep(chosen.uniform(0.2, 3))
            word, began = chosen.choices(words, shares)[0], time.monotonic()
            try:
                if word == "fh-dumper":
                    killed = kill_next(self.server, word, 10)
                else:
                    found = victims(self.server, word)
                    killed = found and kill(self.server, chosen.choice(found))
            except Exception as error:
                # The kills go on, and the run is red all the same.
                self.note_failure(began, f"kill {word}: {error!r}")
                continue
            if killed:
                self.kills[word] += 1

    def watch(self, end, _chosen):
        """A line now and then, by which a slow leak is seen early."""
        began = time.monotonic()
        while time.monotonic() < end:
            held, now = resources.held(self.server), resources.gauges(self.server)
            print(f"{time.monotonic() - began:6.0f} s", sum(self.outcomes.values()), "calls",
                  sum(self.kills.values()), "kills", f"{now['freehold_instances']:.0f} instances",
                  f"{now['freehold_booted']:.0f} booted", held, flush=True)
            time.sleep(max(5, SECONDS / 60))

    def tell(self):
        spans = self.standstills.spans
        print(f"stood still for {sum(end - start for start, end in spans):.0f} s")
        print("killed:", dict(self.kills))
        for outcome, count in sorted(self.outcomes.items()):
            print(f"  {outcome:<44} {count:>7}")


def victims(server, word):
    """The processes of a kind."""
    if word in ("guest", "init"):
        return [pid for pid in resources.guests(server)
                if (resources.name_of(pid) == "init") == (word == "init")]
    return [pid for pid in resources.platform(server) if resources.name_of(pid).startswith(word)]


def kill_next(server, word, seconds):
    """Kills the next process of a kind that lives too briefly to be found; whether there was one."""
    done = subprocess.run(
        [sys.executable, "-m", "support.newborn", str(server.process.pid), word, str(seconds)],
        cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout != ""


def kill(server, pid):
    """Kills a process of the server's, and none that has taken its number since; whether it did."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if pid not in leaks.descendants(server.process.pid):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(process)


def rest(server, floor):
    """Until nothing is left but what the platform keeps when nobody calls.

    Instances go after their idle time. Of what is booted ahead each core keeps as many as were
    lately asked for at once, a number that halves in five minutes, and one for half an hour:
    `floor`, by name. Where boots were killed ten minutes may pass before the next.
    """
    began = time.monotonic()
    busy = ("freehold_instances", "freehold_starts_in_flight", "freehold_invocations_in_flight",
            "freehold_concurrency", "freehold_waiting")
    while any((now := resources.gauges(server))[name] for name in busy):
        assert time.monotonic() - began < 300, {name: now[name] for name in busy if now[name]}
        time.sleep(1)
    while (booted := resources.runtimes(server)) != floor:
        assert time.monotonic() - began < 1200, f"{booted} are booted, not {floor}"
        time.sleep(2)
    # Of what is parked there is one for each runtime, twenty seconds after the last start.
    resources.wait_until_steady(server, 25, 300)
    print(f"at rest after {time.monotonic() - began:.0f} s", flush=True)


@pytest.mark.soak
def test_everything_is_given_back_after_mixed_load_with_kills(start_server):
    if os.geteuid() != 0:
        pytest.skip("not root: what is killed here runs only as root")
    print(f"SOAK_SEED={SEED} SOAK_SECONDS={SECONDS:.0f}")
    server = start_server(CONFIG)
    mix = Mix(Functions(server))
    print("missed, for want of a compiler or an interpreter:", mix.missed or "nothing")
    # Python, Node and the JVM boot ahead, one on each core.
    floor = sorted(CORES * [kind for kind in ("python", "node", "java") if kind in mix.kinds])
    load = Load(server, mix)
    # Caches fill and processes of the platform are replaced before anything is counted. With two
    # callers, since what more of them ask for at once is kept ahead for so much longer.
    load.run(min(60, SECONDS / 2), f"{SEED}-early", callers=2)
    rest(server, floor)
    before = resources.held(server)
    load.run(SECONDS, f"{SEED}-late", CALLERS)
    rest(server, floor)
    left = resources.wait_until_given_back(server, before, SLACK, 120)
    load.tell()
    print("held before and after:")
    for kind, count in resources.held(server).items():
        print(f"  {kind:<24} {before[kind]:>9} {count:>9}")
    assert load.wrong == []
    # What is killed here is what the platform consists of, and most calls go well all the same.
    if SECONDS >= 300:
        unkilled = [word for word in VICTIMS if word != "fh-dumper" and not load.kills[word]]
        assert unkilled == []
    for kind in mix.kinds:
        of_kind = {outcome: count for outcome, count in load.outcomes.items()
                   if outcome.startswith(f"{kind}: ")}
        assert of_kind.get(f"{kind}: fine", 0) > sum(of_kind.values()) / 2, of_kind
    assert left == {}, "beyond what there was before, (before, after)"
    for kind, (name, answer, fields) in mix.kinds.items():
        assert mix.functions.call(name, "fine", **fields) == (answer or "fine"), kind
    server.note_processes()
    assert server.stop() == 0
    assert server.left_behind() == []
