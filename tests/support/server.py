"""The built binary as a process: started on free ports with a data folder of its own, and ended.

`Server` drives it as an operator would. It never looks into the data folder but for what is said to
be there: `run/endpoint.json` once the server is ready.
"""

import atexit
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import boto3
from botocore.config import Config

from support import leaks

READY_SECONDS = 120
STOP_SECONDS = 60
# Tests make functions faster than AWS lets an account, unless they are about that.
LIFTED = {"FREEHOLD_LIMITS_MANAGEMENT": "none", "FREEHOLD_LIMITS_GET_FUNCTION": "none"}
if os.geteuid() != 0:
    # One user id for all instances; tests that need more than that say so.
    LIFTED["FREEHOLD_SERVER_SHARED_UID_TENANTS"] = "true"


def binary():
    """The binary under test: FREEHOLD_BIN, or what `cargo build --release` left."""
    named = os.environ.get("FREEHOLD_BIN")
    if named:
        return pathlib.Path(named).resolve()
    target = os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target")
    return pathlib.Path(target).resolve() / "release" / "freehold"


def make_folder(word):
    """A folder of the tests that a server which dropped root can reach."""
    base = os.environ.get("FREEHOLD_TEST_DATA", "/var/tmp")
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"freehold-test-{word}-", dir=base))
    folder.chmod(0o755)
    return folder


class DataFolders:
    """Data folders that keep their assembled runtimes, SDKs and class archives, and nothing else.

    A first start copies every interpreter of the machine: a gigabyte and some seconds where there
    are many. What a folder keeps is what `freehold runtimes install` made there; each server
    compares it with the machine, as at any start. A folder has one user at a time, also among test
    runs side by side. FREEHOLD_TEST_ASSEMBLED names the place where they stay for the next run.
    """

    KEPT = ("runtimes", "sdk", "cache")
    place = None
    installed = set()

    @classmethod
    def take(cls):
        """A folder without data, locked for the caller, as (path, lock)."""
        if cls.place is None:
            kept = os.environ.get("FREEHOLD_TEST_ASSEMBLED")
            cls.place = pathlib.Path(kept) if kept else make_folder("assembled")
            cls.place.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not kept:
                atexit.register(shutil.rmtree, cls.place, ignore_errors=True)
        for number in range(100):
            lock = (cls.place / f"lock-{number}").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            data = cls.place / f"data-{number}"
            data.mkdir(mode=0o755, exist_ok=True)
            if cls.is_served(data):
                lock.close()
                continue
            cls.empty(data)
            if data not in cls.installed:
                cls.installed.add(data)
                cls.install(data, number)
            return data, lock
        raise AssertionError(f"a hundred servers at once below {cls.place}")

    @classmethod
    def install(cls, data, number):
        """Gives a folder what it keeps.

        One that has nothing begins with links to what the first one has, as nobody writes into a file
        that is there: half a minute of a processor and more than a gigabyte less than to make it all.
        """
        first = cls.place / "data-0"
        with (cls.place / "lock-first").open("w") as lock:
            # Nobody links what is being made.
            fcntl.flock(lock, fcntl.LOCK_SH if number else fcntl.LOCK_EX)
            if number and not any((data / name).exists() for name in cls.KEPT):
                for name in cls.KEPT:
                    if (first / name).exists():
                        partial = data / f"{name}.partial"
                        subprocess.run(["cp", "-al", first / name, partial], check=True, timeout=120)
                        partial.rename(data / name)
            # Says so and goes on without network: functions then start without the SDKs.
            subprocess.run([str(binary()), "runtimes", "install", "--data", str(data)],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900)

    @classmethod
    def is_served(cls, data):
        """Whether a server that outlived its tests still has the folder."""
        try:
            with (data / "store" / "lock").open() as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @classmethod
    def empty(cls, data):
        for path in data.iterdir():
            if path.name not in cls.KEPT:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


class NotReady(Exception):
    """The server ended, or was silent for too long, before it was ready."""


class Server:
    def __init__(self, config=None, arguments=(), lifted=LIFTED):
        self.folder = make_folder("data")
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        self.data, self.lock = DataFolders.take()
        self.log = self.folder / "server.log"
        self.arguments, self.lifted = list(arguments), lifted
        if config is not None:
            path = self.folder / "freehold.toml"
            path.write_text(config)
            self.arguments += ["--config", str(path)]
        # Before the command, say `unshare --net`; where it listens; what its clients trust.
        self.wrapped_in, self.listen, self.trusted = [], "127.0.0.1:0", None
        self.process = None
        self.processes, self.roots = {}, set()
        self.before = leaks.Snapshot(self.data, self.temporary)
        self._keys = None

    # Life

    def start(self):
        endpoint = self.data / "run" / "endpoint.json"
        endpoint.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapped_in, str(binary()), "serve", "--data", str(self.data), "--listen", self.listen,
                 "--admin-listen", "127.0.0.1:0", *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**self.lifted, **os.environ, "TMPDIR": str(self.temporary)})
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.endpoint = json.loads(endpoint.read_text())
                break
            except (OSError, ValueError):
                pass
            if self.process.poll() is not None:
                raise NotReady(f"ended with {self.process.returncode}: {self.output()[-2000:]}")
            if time.monotonic() > end:
                self.process.kill()
                raise NotReady(f"not ready in {READY_SECONDS} s: {self.output()[-2000:]}")
            time.sleep(0.02)
        self.url = self.endpoint["listen"]
        self.admin = self.endpoint["admin"]
        self.note_processes()
        return self

    def note_processes(self):
        """Remembers every process of the platform, so that none outlives it unseen."""
        if self.process is not None:
            now = leaks.descendants(self.process.pid)
            self.processes.update(now)
            self.roots |= leaks.cgroup_roots(now)
        return self.processes

    def stop(self):
        """SIGTERM, and the exit code."""
        self.note_processes()
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop in {STOP_SECONDS} s: {self.output()[-2000:]}")

    def kill(self):
        """kill -9 of the first process, which started all others."""
        self.note_processes()
        self.process.kill()
        self.process.wait()

    def restart(self):
        if self.process.poll() is None:
            self.stop()
        return self.start()

    def left_behind(self, seconds=10):
        return leaks.wait_for_nothing(
            self.before, self.data, self.temporary, self.processes, self.roots, seconds)

    def close(self):
        """Stops what still runs, checks that nothing is left, removes the folder."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        left = self.left_behind()
        shutil.rmtree(self.folder, ignore_errors=True)
        DataFolders.empty(self.data)
        self.lock.close()
        assert left == [], f"left behind: {left}"

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # Use

    def cli(self, *arguments, check=True, env=None, input=None):
        """Runs a command of the binary with the keys of this server's root."""
        done = subprocess.run(
            [str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=120,
            env={**self.environment(), **(env or {})}, input=input)
        if check:
            assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
        return done

    def keys(self):
        """What `freehold env` exports, as a dictionary."""
        if self._keys is None:
            text = subprocess.run(
                [str(binary()), "env", "--data", str(self.data)], capture_output=True, text=True,
                timeout=30, check=True).stdout
            pairs = (line.removeprefix("export ").split("=", 1)
                     for line in text.splitlines() if line.startswith("export "))
            self._keys = {name: value.strip("'\"") for name, value in pairs}
        return {**self._keys, "AWS_ENDPOINT_URL": self.url}

    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {**clean, **self.keys(), "AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self, service, **config):
        keys = self.keys()
        # One attempt: a retry would hide the answer that the test is about.
        settings = {"retries": {"total_max_attempts": 1}, "read_timeout": 330,
                    "max_pool_connections": 256, **config}
        return boto3.client(
            service, endpoint_url=self.url, region_name=keys["AWS_REGION"], verify=self.trusted,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"], config=Config(**settings))

    @property
    def account(self):
        return self.client("sts").get_caller_identity()["Account"]
