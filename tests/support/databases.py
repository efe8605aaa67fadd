"""Real databases of the tests' own: started in folders of theirs, as users of theirs, at an address of
the machine that functions reach by a policy and nobody has but this run."""

import contextlib
import glob
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time

import pytest

from support import doctor

ROOT = pathlib.Path(__file__).parents[2]
START_SECONDS = 60


def programs_of_postgresql():
    """The folder of the newest one's programs, None without any; Debian has them out of the path."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    one = found[-1] if found else shutil.which("initdb")
    return one and pathlib.Path(one).parent


def program(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def missing():
    """Programs that are not on this machine, as a text; empty if none is missing."""
    absent = [one for one in ("mariadbd", "mariadb", "mariadb-install-db", "setpriv") if program(one) is None]
    return ", ".join([*absent, *([] if programs_of_postgresql() else ["initdb"])])


def needs_links():
    """Skips the test where functions have no link of their own: only there these addresses are seen."""
    doctor.needs("networks of functions")
    if not has_links():
        pytest.skip(f"doctor says: {doctor.findings()['networks of functions']['detail']}")


def has_links():
    finding = doctor.findings()["networks of functions"]
    return os.geteuid() == 0 and finding["enforced"] and "links and rules" in finding["detail"]


def own_address(number):
    """An address of this run: of a range that stands for nothing anywhere (RFC 5737)."""
    return f"198.51.100.{1 + (os.getpid() + number * 97) % 254}"


@contextlib.contextmanager
def address(number):
    """The machine has it meanwhile."""
    one = own_address(number)
    subprocess.run(["ip", "address", "replace", f"{one}/32", "dev", "lo", "scope", "host"], check=True)
    try:
        yield one
    finally:
        subprocess.run(["ip", "address", "del", f"{one}/32", "dev", "lo"], capture_output=True)


class Redis:
    """The Redis of the example, by its own script, for the server with this data folder."""

    def __init__(self, data):
        self.data = pathlib.Path(data)
        self.listen = self.address()
        self.environment = {"FREEHOLD_DATA": str(data), "REDIS_LISTEN": self.listen}

    def script(self, word):
        done = subprocess.run([ROOT / "scripts" / "redis.sh", word], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        self.script("start")
        return self

    def stop(self):
        self.script("stop")

    @staticmethod
    def address():
        """Where it listens."""
        return f"{own_address(1)}:7379"

    @classmethod
    def policy(cls):
        """What the server's configuration says of it."""
        return f'[network.policies.bookings]\nallow = ["{cls.address()}"]\n'

    @property
    def url(self):
        """What the function connects to."""
        return self.script("url")

    @property
    def pid(self):
        return int((self.data / "example" / "redis.pid").read_text())

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while self.script("url"):
            assert time.monotonic() < end, "outlives a kill"
            time.sleep(0.02)

    def session(self, user="operator"):
        password = self.data / "example" / {"operator": "redis.operator", "bookings": "redis.password"}[user]
        return RedisSession(self.listen, user, password.read_text().strip())


class RedisSession:
    """A connection: `ask("GET", "key")`. An error is a text that begins with `-`."""

    def __init__(self, listen, user=None, password=None):
        host, port = listen.split(":")
        self.file = socket.create_connection((host, int(port)), 10).makefile("rwb")
        if user is not None:
            assert self.ask("AUTH", user, password) == "OK"

    def ask(self, *words):
        parts = [str(word).encode() for word in words]
        self.file.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in parts))
        self.file.flush()
        return self._answer()

    def _answer(self):
        line = self.file.readline().decode().rstrip("\r\n")
        kind, rest = line[:1], line[1:]
        if kind == "$":
            if rest == "-1":
                return None
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self._answer() for _ in range(int(rest))]
        return int(rest) if kind == ":" else line if kind == "-" else rest


class Database:
    """A database that functions reach at `listen`, with the tables of examples/orders."""

    kind = port = account = None

    def __init__(self, folder, address):
        self.folder = pathlib.Path(folder) / self.kind
        self.folder.mkdir()
        self.data = self.folder / "data"
        self.address, self.listen = address, f"{address}:{self.port}"
        self.password = secrets.token_hex(16)
        self.url = f"{self.kind}://orders:{self.password}@{self.listen}/orders"
        self.process = None

    def as_user(self, *command):
        return ["setpriv", *self.account, "--clear-groups", *map(str, command)]

    def run(self, *command):
        done = subprocess.run(self.as_user(*command), cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]

    def make(self):
        """Makes it, and its tables."""
        shutil.chown(self.folder, *self.owner)
        self.initialise()
        self.start()
        with self.session(database=None) as session:
            for statement in self.prepare():
                session.run(statement)
        subprocess.run(self.client("orders"), stdin=(ROOT / "examples" / "orders" / "schema" / f"{self.kind}.sql").open(),
                       check=True, capture_output=True, timeout=60)
        return self

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.as_user(*self.command()), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.05)

    def answers(self):
        done = subprocess.run(self.client(None), input="SELECT 1;", capture_output=True, text=True, timeout=30)
        return done.returncode == 0

    def crash(self):
        self.process.send_signal(self.crashes_by)
        self.process.wait(30)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.ends_by)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def session(self, database="orders"):
        return Session(self.client(database))

    def connections(self):
        """Those of functions, by their numbers."""
        return {row[0] for row in self.ask(self.mine)}

    def ask(self, query):
        """Rows of a query, each a list of texts."""
        with self.session() as session:
            return session.run(query)


class PostgreSQL(Database):
    kind, port, account = "postgresql", 5432, ["--reuid=postgres", "--regid=postgres"]
    owner = ("postgres", "postgres")
    # Every connection at once and nothing written, as after a crash; fast, with what is needed written.
    crashes_by, ends_by = signal.SIGQUIT, signal.SIGINT
    mine = "SELECT pid FROM pg_stat_activity WHERE usename = 'orders' ORDER BY pid"
    end_mine = "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'orders'"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders' AND wait_event_type = 'Lock'"
    # Who looks last for a deadlock is not the one who is ended for it.
    goes_on_in_deadlock = "SET deadlock_timeout = '30s'"
    reads_committed = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"

    def initialise(self):
        self.run(programs_of_postgresql() / "initdb", "--pgdata", self.data, "--username=postgres", "--auth-local=trust",
                 "--auth-host=scram-sha-256", "--no-locale", "--encoding=UTF8", "--no-sync")
        # What is this machine's own comes from instances, each with an address of that range.
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host orders orders 240.0.0.0/4 scram-sha-256\n")

    def command(self):
        return [programs_of_postgresql() / "postgres", "-D", self.data, "-c", f"listen_addresses={self.address}",
                "-c", f"port={self.port}", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off",
                "-c", "max_connections=100", "-c", "shared_buffers=32MB"]

    def client(self, database):
        return [str(programs_of_postgresql() / "psql"), "--host", str(self.folder), "--username=postgres", "--no-psqlrc",
                "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
                "--set=ON_ERROR_STOP=1", "--dbname", database or "postgres"]

    def prepare(self):
        return [f"CREATE USER orders PASSWORD '{self.password}'", "CREATE DATABASE orders"]


class MariaDB(Database):
    # A number without an account.
    kind, port, account = "mariadb", 3306, ["--reuid=2145990001", "--regid=2145990001"]
    owner = (2145990001, 2145990001)
    crashes_by, ends_by = signal.SIGKILL, signal.SIGTERM
    mine = "SELECT id FROM information_schema.processlist WHERE user = 'orders' ORDER BY id"
    end_mine = "KILL HARD USER orders"
    # What it shows may be a tenth of a second old, and its own statistics wait for locks too: the text tells.
    waiting = ("SELECT count(*) FROM information_schema.innodb_trx"
               " WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%''{}''%'")
    # Who has changed more goes on; rows of a table that nobody else reads, so that no plan locks others.
    goes_on_in_deadlock = "UPDATE scale.weights SET changed = changed + 1"
    reads_committed = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

    def initialise(self):
        self.run("mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
                 "--auth-root-authentication-method=normal", "--innodb-log-file-size=16M")

    def command(self):
        return [program("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--socket={self.folder}/socket",
                f"--pid-file={self.folder}/pid", f"--bind-address={self.address}", f"--port={self.port}",
                "--skip-name-resolve", "--skip-log-bin", "--innodb-log-file-size=16M",
                "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2"]

    def client(self, database):
        return ["mariadb", "--no-defaults", f"--socket={self.folder}/socket", "--user=root", "--batch",
                "--skip-column-names", "--unbuffered", *([database] if database else [])]

    def prepare(self):
        return ["CREATE DATABASE orders", f"CREATE USER orders IDENTIFIED BY '{self.password}'", "CREATE DATABASE scale",
                "CREATE TABLE scale.weights (n integer PRIMARY KEY, changed integer NOT NULL) ENGINE = InnoDB",
                f"INSERT INTO scale.weights VALUES {', '.join(f'({n}, 0)' for n in range(100))}"]


class Session:
    """A connection of the database's own client: statements one after the other."""

    MARK = "that was all"

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def send(self, statement):
        self.process.stdin.write(f"{statement};\nSELECT '{self.MARK}';\n")
        self.process.stdin.flush()

    def answer(self):
        rows = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == self.MARK:
                return rows
            rows.append(line.split("\t"))
        raise AssertionError(f"the client ended: {rows}")

    def run(self, statement):
        self.send(statement)
        return self.answer()
