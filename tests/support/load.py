"""Calls at a steady rate from many threads, with every outcome kept."""

import collections
import threading
import time
from concurrent.futures import ThreadPoolExecutor


class Load:
    """Runs `call(n)` at `rate` per second until stopped; keeps (n, started, outcome) of each."""

    def __init__(self, call, rate, workers=64):
        self.call, self.rate = call, rate
        self.outcomes, self.lock = [], threading.Lock()
        self.stopping = threading.Event()
        self.pool = ThreadPoolExecutor(workers)
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def _one(self, n):
        started = time.monotonic()
        try:
            outcome = self.call(n)
        except Exception as error:  # The test decides which of them are fine.
            outcome = error
        with self.lock:
            self.outcomes.append((n, started, outcome))

    def _run(self):
        begun, n = time.monotonic(), 0
        while not self.stopping.is_set():
            self.pool.submit(self._one, n)
            n += 1
            wait = begun + n / self.rate - time.monotonic()
            if wait > 0:
                self.stopping.wait(wait)

    def stop(self):
        """Stops sending and waits for what is under way."""
        self.stopping.set()
        self.thread.join()
        self.pool.shutdown(wait=True)
        return self.outcomes

    def wait_for(self, count, seconds=60):
        end = time.monotonic() + seconds
        while len(self.outcomes) < count:
            assert time.monotonic() < end, f"{len(self.outcomes)} of {count} calls in {seconds} s"
            time.sleep(0.01)

    def counts(self):
        return collections.Counter(
            type(o).__name__ if isinstance(o, Exception) else "fine" for _, _, o in self.outcomes)
