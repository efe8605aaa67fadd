"""Whom functions of an ordinary user's node reach: the server carries their connections itself.

The same world and the same policies as `network_test.py`.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from network_test import CONFIG, NEAR, PROBE, keeps_a_rate, policy
from support import leaks, networks, server as servers
from support.functions import Functions, python
from support.networks import DATABASE, METADATA, NEIGHBOUR, OWN, PUBLIC, PUBLIC_NEIGHBOUR, PUBLIC_OWN, PUBLIC_SIX

USER = 64997


def may_be_made():
    """Why there is no such node here; nothing where there is."""
    if reason := networks.may_be_made():
        return reason
    done = subprocess.run(
        ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "unshare", "--user", "--net", "true"],
        capture_output=True, text=True, timeout=30)
    return done.stderr.strip() if done.returncode else None


REASON = may_be_made()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no ordinary user's node: {REASON}")
# Accepted by the kernel before anybody could judge it, and then reset.
REFUSED = {"ECONNRESET"}


class Ordinary(servers.Server):
    """A server of a user without an account, over copies of assembled runtimes that are that user's."""

    def __init__(self, config):
        super().__init__(config)
        kept, self.data = self.data, servers.make_folder("ordinary")
        for name in servers.DataFolders.KEPT:
            if (kept / name).exists():
                subprocess.run(["cp", "-al", kept / name, self.data], check=True, timeout=120)
        # A hard link is the other folder's file too: that one stays root's.
        table = self.data / "runtimes" / "table.json"
        text = table.read_bytes()
        table.unlink()
        table.write_bytes(text)
        for path in (table, self.folder, self.temporary, self.data, *self.folders()):
            os.chown(path, USER, USER)
        worlds = pathlib.Path(__file__).parents[1] / "scripts" / "worlds"
        needed = self.folder / "needed"
        needed.write_text("".join(f"{one}\n" for one in {
            str(servers.binary().parent), str(self.data), str(self.folder), sys.base_prefix, str(worlds)}))
        needed.chmod(0o644)
        self.wrapped_in = [str(worlds / "as_user.sh"), str(USER), str(needed)]
        self.before = leaks.Snapshot(self.data, self.temporary)

    def folders(self):
        for top, names, _ in os.walk(self.data):
            for name in names:
                yield pathlib.Path(top, name)

    def close(self):
        try:
            super().close()
        finally:
            shutil.rmtree(self.data, ignore_errors=True)


@pytest.fixture(scope="module")
def world():
    folder = servers.make_folder("world")
    # Whose runtimes are installed here: inside there is no internet.
    servers.DataFolders.take()[1].close()
    with networks.World(folder) as made:
        made.names = {"public.example.org": [PUBLIC[0]], "db.example.com": [DATABASE],
                      "meta.example.com": [METADATA], "web.example.com": [PUBLIC[1]],
                      "own.example.com": [PUBLIC_OWN], "near.example.com": [PUBLIC_NEIGHBOUR]}
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(world):
    one = Ordinary(CONFIG)
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def tried(functions):
    made = {name: functions.create(PROBE, Timeout=60, **policy(name))
            for name in ("none", "orders", "names", "both", "mail", "internet")}
    made["default"] = functions.create(PROBE, Timeout=60)
    return lambda name, *attempts: functions.call(made[name], [list(one) for one in attempts])


def test_nothing_of_the_machine_is_changed(tried):
    assert not networks.devices() and not networks.forwards("up0")


@pytest.mark.parametrize("name", ["default", "internet", "both"])
def test_the_internet_is_reached_and_nothing_near(tried, name):
    assert tried(name, ("tcp", PUBLIC[0], 80), ("tcp", "public.example.org", 443)) == ["hello 100.64.9.2\n"] * 2
    began = time.monotonic()
    near = [host for host in NEAR if host != "0.0.0.0"]
    for host, one in zip(near, tried(name, *[("tcp", host, 80) for host in near])):
        # To many at once no stream leads, which the guest's own kernel says.
        many = {"224.0.0.1": {"ENETUNREACH", "EINVAL"}, "255.255.255.255": {"ENETUNREACH", "EINVAL"}}
        assert one in many.get(host, REFUSED), (host, one)
    # The address of nobody is loopback's, where nobody listens.
    assert tried(name, ("tcp", "0.0.0.0", 80), ("tcp", "127.0.0.1", 80)) == ["ECONNREFUSED"] * 2
    mail, six = tried(name, ("tcp", PUBLIC[0], 25), ("tcp", PUBLIC_SIX, 80))
    # To IPv6 no route leads, which the guest's own kernel says.
    assert mail in REFUSED and six in {"ENETUNREACH", "EADDRNOTAVAIL"}, (mail, six)
    assert tried(name, ("udp", PUBLIC[0], 443))[0] in {"ECONNREFUSED", "ETIMEDOUT"}
    assert time.monotonic() - began < 10


def test_a_policy_allows_what_it_lists_and_nothing_else(tried):
    said = tried("orders", ("tcp", DATABASE, 5432), ("tcp", NEIGHBOUR, 6379), ("tcp", OWN, 5432))
    assert said == ["hello 100.64.9.2\n", f"hello {OWN}\n", f"hello {OWN}\n"]
    said = tried("orders", ("tcp", DATABASE, 5433), ("tcp", NEIGHBOUR, 5432), ("tcp", PUBLIC[0], 80),
                 ("tcp", OWN, 80), ("tcp", METADATA, 80))
    assert set(said) <= REFUSED, said
    said = tried("both", ("tcp", DATABASE, 5432), ("tcp", DATABASE, 80))
    assert said[0] == "hello 100.64.9.2\n" and said[1] in REFUSED, said
    assert tried("mail", ("tcp", PUBLIC[0], 25)) == ["hello 100.64.9.2\n"]


def test_without_a_network_nothing_is_reached_and_no_name_is_known(tried, world):
    before = list(world.asked)
    said = tried("none", ("tcp", PUBLIC[0], 80), ("tcp", DATABASE, 5432), ("name", "public.example.org"))
    assert set(said[:2]) <= REFUSED and said[2] == "no name", said
    assert world.asked == before


def test_a_policy_s_names_lead_where_they_stand_for(tried):
    assert tried("names", ("tcp", DATABASE, 5432))[0] in REFUSED
    said = tried("names", ("tcp", "db.example.com", 5432), ("tcp", "web.example.com", 443))
    assert said == ["hello 100.64.9.2\n"] * 2
    said = tried("names", ("tcp", "db.example.com", 80), ("name", "public.example.org"), ("name", "meta.example.com"))
    assert said[0] in REFUSED and said[1:] == ["no name"] * 2, said
    # Public addresses that are the machine's own or a neighbour's are not let through below a wildcard.
    assert tried("names", ("name", "own.example.com"), ("name", "near.example.com")) == ["no name"] * 2
    assert set(tried("names", ("tcp", PUBLIC_OWN, 443), ("tcp", PUBLIC_NEIGHBOUR, 443))) <= REFUSED
    assert tried("orders", ("tcp", PUBLIC[1], 443))[0] in REFUSED


def test_who_speaks_to_the_relay_itself_gets_nowhere(tried):
    assert tried("internet", ("tcp", "127.0.0.1", 9003))[0] in REFUSED


def test_connections_at_once_are_bounded_and_given_back(functions):
    holds = functions.create(python("""
import socket, time

def handler(event, context):
    held = []
    for _ in range(60):
        try:
            held.append(socket.create_connection(("1.1.1.1", 80), 5))
        except ConnectionResetError:
            pass
    time.sleep(0.5)
    heard = 0
    for one in held:
        try:
            heard += one.recv(100) == b"hello 100.64.9.2\\n"
        except ConnectionResetError:
            pass
        one.close()
    return heard
"""), Timeout=60)
    assert functions.call(holds) == 32
    # A place is free once both have ended the connection, the host when it gets to it.
    end = time.monotonic() + 20
    while carried():
        assert time.monotonic() < end, carried()
        time.sleep(0.05)
    assert functions.call(holds) == 32


def carried():
    """Connections of the server to the host, as the kernel lists them, that are not over on both sides."""
    rows = pathlib.Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return [row for row in rows if row.split()[2] == "01010101:0050" and row.split()[3] != "06"]


def test_what_is_sent_arrives_whole_and_ends_are_told_apart(functions, world):
    sends = functions.create(python("""
import socket

def handler(event, context):
    with socket.create_connection(("8.8.8.8", 7777), 10) as one:
        one.sendall(b"%d\\n" % event + b"a" * event)
        one.shutdown(socket.SHUT_WR)
        got = b""
        while piece := one.recv(1 << 16):
            got += piece
    said, rest = got.split(b"\\n", 1)
    return [int(said), len(rest), set(rest) <= set(b"x")]
"""), Timeout=60)
    with world.exchanging():
        for size in (0, 1, 5_000_000):
            assert functions.call(sends, size) == [size, size, True]
    # Nobody listens there any more.
    with pytest.raises(AssertionError, match="ConnectionResetError"):
        functions.call(sends, 1)


def test_bandwidth_is_bounded_each_way_for_each_instance(world):
    one = Ordinary('[network]\nbandwidth = "1MiB"\n')
    try:
        one.start()
        keeps_a_rate(Functions(one), world, 0.25)
    finally:
        one.close()


def test_connections_of_all_instances_are_bounded_by_the_server_s_descriptors(world):
    """With 1,024 of them, 128, however many each instance may have."""
    keeps = python("""
import socket

held = []

def handler(event, context):
    while len(held) > event:
        held.pop().close()
    for _ in range(event - len(held)):
        try:
            one = socket.create_connection(("1.1.1.1", 80), 60)
            if one.recv(100) == b"hello 100.64.9.2\\n":
                held.append(one)
        except ConnectionResetError:
            pass
    return len(held)
""")
    one = Ordinary("[network]\nnew_connections = 10000\n")
    one.wrapped_in = ["prlimit", "--nofile=1024:1024", *one.wrapped_in]
    try:
        one.start()
        functions = Functions(one)
        first, second = (functions.create(keeps, Timeout=120) for _ in range(2))
        echo = functions.create()
        assert functions.call(first, 100) == 100
        assert functions.call(second, 100) == 28
        # Those who call are not kept from it.
        for number in range(20):
            assert functions.call(echo, number) == number
            assert functions.client.get_function(FunctionName=echo)["Configuration"]["State"] == "Active"
        # Nor has the second more for asking again, before the first gives some back.
        assert functions.call(second, 100) == 28
        assert functions.call(first, 10) == 10
        # A place is free once both have ended the connection, the host when it gets to it.
        for name, count in ((second, 100), (first, 28)):
            end = time.monotonic() + 60
            while (now := functions.call(name, 100)) < count:
                assert time.monotonic() < end, ("places do not come back", now)
            assert now == count
    finally:
        one.close()
