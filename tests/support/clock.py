"""A server whose wall clock is stepped while it runs.

`clock.c` lies between the server and its C library and adds to the time of day what a file says, which
the server has mapped. What is executed in a sandbox, or with another environment, does not have it:
functions see the machine's clock.
"""

import contextlib
import datetime
import os
import pathlib
import shutil
import struct
import subprocess
import time

import botocore.auth
import pytest

from support.server import Server, binary

SOURCE = pathlib.Path(__file__).with_name("clock.c")


class SteppedServer(Server):
    """A server, and clients beside it, by a clock that `step` sets."""

    def __init__(self, config=None, arguments=()):
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no cc to build tests/support/clock.c with: no clock was stepped")
        if "libc.so" not in subprocess.run(["ldd", binary()], capture_output=True, text=True).stdout:
            pytest.skip("the binary brings its own C library: its clock cannot be stepped from outside")
        super().__init__(config, arguments)
        library, self.file = self.folder / "clock.so", self.folder / "clock"
        self.ahead_s = 0
        try:
            subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library,
                            SOURCE, "-ldl"], check=True, timeout=60)
            self.file.write_bytes(struct.pack("=q", 0))
        except BaseException:
            self.close()
            raise
        self.clock = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(self.file)}
        self.wrapped_in = ["env", *(f"{name}={value}" for name, value in self.clock.items())]

    def step(self, **span):
        """Sets the clock of the server and of its clients forward by a `timedelta`, or back."""
        self.ahead_s += int(datetime.timedelta(**span).total_seconds())
        with self.file.open("r+b") as file:
            os.pwrite(file.fileno(), struct.pack("=q", self.ahead_s), 0)

    def time(self):
        """What the server takes for the time."""
        return time.time() + self.ahead_s

    def environment(self):
        return {**super().environment(), **self.clock}

    @contextlib.contextmanager
    def signing(self):
        """Signatures of these tests are of the server's time."""
        before = botocore.auth.get_current_datetime

        def now(*_, **__):
            return datetime.datetime.fromtimestamp(self.time(), datetime.timezone.utc).replace(tzinfo=None)
        botocore.auth.get_current_datetime = now
        try:
            yield self
        finally:
            botocore.auth.get_current_datetime = before
