"""Whom functions reach, from inside functions, in a world of namespaces: see `support/networks.py`.

Nothing of the machine's own network is touched: test and server live in a namespace of their own.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest
from botocore.exceptions import ClientError
from support import networks, server as servers
from support.functions import Functions, node_runtime, python, zip_of
from support.networks import (DATABASE, FAR_SIX, METADATA, NEIGHBOUR, NEIGHBOUR_SIX, OWN, OWN_SIX, PUBLIC,
                              PUBLIC_NEIGHBOUR, PUBLIC_NEIGHBOUR_SIX, PUBLIC_OWN, PUBLIC_OWN_SIX, PUBLIC_SIX)

REASON = networks.may_be_made()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no namespaces for networks: {REASON}")

CONFIG = f"""
[network]
connections = 32

[network.policies.orders]
allow = ["{DATABASE}:5432", "{NEIGHBOUR}:6379", "{OWN}:5432"]

[network.policies.names]
allow = ["db.example.com:5432", "*.example.com:443"]

[network.policies.both]
allow = ["internet", "{DATABASE}:5432"]

[network.policies.mail]
allow = ["{PUBLIC[0]}:25"]
"""

# A function that tries what it is told, and says what came of each: what it heard, or an errno.
PROBE = python("""
import errno, os, socket, threading

def attempt(what, host, port=0, source=None):
    if what == "name":
        return sorted({found[4][0] for found in socket.getaddrinfo(host, None)})
    if what == "tcp":
        with socket.create_connection((host, port), 3, source) as one:
            return one.recv(100).decode()
    if what == "udp":
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(1)
            one.connect((host, port))
            one.send(b"x")
            return one.recv(100).decode()

def attempts(all):
    said = []
    for one in all:
        try:
            said.append(attempt(*one))
        except socket.gaierror as error:
            said.append("no name")
        except TimeoutError:
            said.append("ETIMEDOUT")
        except OSError as error:
            said.append(errno.errorcode.get(error.errno, str(error)))
    return said

INIT = attempts([["tcp", os.environ["FIRST"], 80]]) if "FIRST" in os.environ else None

def handler(event, context):
    if event == "init":
        return INIT
    if event == "address":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("1.1.1.1", 9))
            return one.getsockname()[0]
    if event == "hold":
        held = []
        try:
            for _ in range(100):
                held.append(socket.create_connection(("1.1.1.1", 80), 3))
        except OSError as error:
            return [len(held), errno.errorcode[error.errno]]
        return [len(held), None]
    if event == "spoof":
        said = []
        for address in ("1.1.1.1", "10.9.0.1", "240.0.0.9"):
            with socket.socket() as one:
                try:
                    one.bind((address, 0))
                    said.append("bound")
                except OSError as error:
                    said.append(errno.errorcode[error.errno])
        for kind in (socket.SOCK_RAW,):
            try:
                socket.socket(socket.AF_INET, kind, 1).close()
                said.append("raw")
            except OSError as error:
                said.append(errno.errorcode[error.errno])
        return said
    return attempts(event)
""")
# By TCP at once; by UDP the kernel says so a few times in a second, and then no more.
REFUSED = {"ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "EPERM"}
UNHEARD = REFUSED | {"ETIMEDOUT"}


def policy(name):
    return {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [f"sg-{name}"]}}


@pytest.fixture(scope="module")
def world():
    folder = servers.make_folder("world")
    # Whose runtimes are installed here: inside there is no internet.
    servers.DataFolders.take()[1].close()
    with networks.World(folder) as made:
        made.names = {
            "public.example.org": [PUBLIC[0]], "db.example.com": [DATABASE],
            "web.example.com": [PUBLIC[1]], "inner.example.com": [DATABASE],
            "rebound.example.org": [DATABASE, PUBLIC[0]], "meta.example.com": [METADATA],
            "own.example.com": [PUBLIC_OWN], "near.example.com": [PUBLIC_NEIGHBOUR],
            "six.example.org": ["2606:4700::1", "::ffff:10.66.0.5", "fd00::1", "64:ff9b::a42:5"],
        }
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def shared():
    """What nodes of this network namespace share."""
    return pathlib.Path("/run/freehold-network", str(os.stat("/proc/thread-self/ns/net").st_ino))


@pytest.fixture(scope="module")
def server(world):
    one = servers.Server(CONFIG)
    try:
        one.start()
        yield one
    finally:
        one.close()
        assert not networks.forwards("up0") and not networks.forwards("lan0"), "left forwarding"
        assert not shared().exists(), "the last node leaves nothing"
        if shutil.which("nft"):
            tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
            assert "freehold" not in tables, tables


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def made(functions):
    """A probe of each policy, by name."""
    names = ("none", "orders", "names", "both", "mail", "internet")
    made = {name: functions.create(PROBE, Timeout=60, **policy(name)) for name in names}
    return {**made, "default": functions.create(PROBE, Timeout=60)}


@pytest.fixture(scope="module")
def tried(functions, made):
    return lambda name, *attempts: functions.call(made[name], [list(one) for one in attempts])


@pytest.mark.parametrize("name", ["default", "internet", "both"])
def test_the_public_internet_is_reached_from_the_address_of_the_node(tried, name):
    assert tried(name, ("tcp", PUBLIC[0], 80), ("udp", PUBLIC[1], 443)) == ["hello 100.64.9.2\n"] * 2


NEAR = [NEIGHBOUR, PUBLIC_NEIGHBOUR, OWN, PUBLIC_OWN, "100.64.9.1", "100.64.9.2", DATABASE, METADATA,
        "192.168.0.1", "172.16.0.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "255.255.255.255",
        "240.0.0.2", "0.0.0.0"]


@pytest.mark.parametrize("name", ["default", "internet"])
def test_nothing_near_is_reached_and_the_refusal_comes_at_once(tried, name):
    began = time.monotonic()
    for host, one in zip(NEAR, tried(name, *[("tcp", host, 80) for host in NEAR])):
        assert one in REFUSED, (host, one)
    assert time.monotonic() - began < 5
    for host, one in zip(NEAR, tried(name, *[("udp", host, 80) for host in NEAR])):
        assert one in UNHEARD, (host, one)


def test_ipv6_leads_nowhere(tried):
    said = tried("default", *[("tcp", host, 80) for host in (
        "2606:4700::1", "fd00::1", "fe80::1", "ff02::1", "64:ff9b::a42:5", "2002:a42:5::1")],
        ("tcp", "::ffff:10.66.0.5", 80), ("tcp", "::1", 80))
    assert all(one in REFUSED | {"EINVAL", "ECONNREFUSED", "EADDRNOTAVAIL"} for one in said), said


def namespace_of(server, address):
    """The network namespace of the instance that has this address."""
    own = os.stat("/proc/thread-self/ns/net").st_ino
    for pid in server.note_processes():
        with contextlib.suppress(OSError):
            there = f"/proc/{pid}/ns/net"
            routes = pathlib.Path(f"/proc/{pid}/net/fib_trie").read_text()
            if os.stat(there).st_ino != own and f" {address}\n" in routes:
                return there
    raise AssertionError(f"no process has {address}")


def device_of(address):
    """The machine's end of an instance's link."""
    listed = subprocess.run(["ip", "route", "show", address], check=True, capture_output=True, text=True, timeout=30)
    return listed.stdout.split(" dev ")[1].split()[0]


@contextlib.contextmanager
def routing(world):
    """A machine that keeps nothing back of itself, and a twin of an instance on it that the node's rules are
    not about."""
    try:
        with networks.routing(), world.add_beside() as beside:
            yield beside
    finally:
        end = time.monotonic() + 60
        while not networks.forwards("up0"):
            assert time.monotonic() < end, "nobody takes answers to instances in"
            time.sleep(0.05)


def arrives(world, beside, targets, enough, **fields):
    """From the twin; a node gets to it that the machine forwards for others too."""
    end = time.monotonic() + 60
    while (heard := networks.reach(world, beside.name, targets, b"beside", 5, enough, **fields)) != enough:
        assert time.monotonic() < end, (enough - heard, heard - enough)


def test_ipv6_that_an_instance_was_given_leads_nowhere(functions, server, world):
    """An address, routes and a machine that forwards: what is missing inside is not what holds it."""
    name = functions.create(PROBE, Timeout=60)
    address = functions.call(name, "address")
    inside = namespace_of(server, address)
    # IPv4 in the clothes of IPv6 is IPv4 on the link: what `internet` allows would be let through.
    mapped = [f"::ffff:{host}" for host in (OWN, PUBLIC_OWN, NEIGHBOUR, PUBLIC_NEIGHBOUR, DATABASE, METADATA)]
    hosts = [OWN_SIX, PUBLIC_OWN_SIX, NEIGHBOUR_SIX, PUBLIC_NEIGHBOUR_SIX, *FAR_SIX, *mapped]
    with routing(world) as beside:
        twin, its_end = networks.lead_six(world, beside.name, beside.device, 6)
        own, end = networks.lead_six(world, inside, device_of(address), 5)
        every = {(kind, host) for kind in ("tcp", "udp") for host in (*hosts, *its_end)} | {("udp", "ff02::1")}
        of_twin = [(host, 80) for host in (*hosts, *its_end, "ff02::1")]
        arrives(world, beside, of_twin, every)
        before = len(world.heard)
        tries = [(host, 80) for host in (*hosts, *end, *its_end, *twin, "ff02::1")]
        assert networks.reach(world, inside, tries, b"instance", 3) == set()
        # Whatever was on its way was so before this.
        arrives(world, beside, of_twin, every)
        heard = [(who.split("%")[0], said) for _, who, said in world.heard[before:]]
        assert set(twin) & {who for who, _ in heard}
        assert not [one for one in heard if one[0] in own or one[1] == b"instance"], heard
    # It was this instance, and its link is a good one.
    assert functions.call(name, "address") == address
    assert functions.call(name, [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]


@pytest.mark.parametrize("name, targets", [
    ("internet", [(PUBLIC[0], 80)]),
    ("orders", [(DATABASE, 5432), (NEIGHBOUR, 6379), (OWN, 5432)]),
])
def test_another_s_address_that_an_instance_was_given_leads_nowhere(functions, server, world, name, targets):
    """Not where it may go by its own."""
    forger, other = (functions.create(PROBE, Timeout=60, **policy(name)) for _ in range(2))
    address, others = (functions.call(one, "address") for one in (forger, other))
    inside, port = namespace_of(server, address), 5353
    # Whose addresses they are, and where answers would go.
    homes = {others: namespace_of(server, others), PUBLIC_OWN: "/proc/thread-self/ns/net", PUBLIC[1]: world.far}
    own = {(kind, host) for kind in ("tcp", "udp") for host, _ in targets}
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(routing(world))
        listening = []
        for source, home in homes.items():
            with world.inside(home):
                one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((source, port))
            one.setblocking(False)
            listening.append(one)
        for source in homes:
            before = len(world.heard)
            assert networks.reach(world, inside, targets, b"own", 60, own) == own
            with networks.holding(world, inside, source):
                assert networks.reach(world, inside, targets, b"forged", 2, source=(source, port)) == set()
            # From the twin it does arrive, by packets: answers are not for it. And it does so later.
            end = time.monotonic() + 60
            with networks.holding(world, beside.name, source):
                while {to for to, _, said in world.heard[before:] if said == b"twin"} != set(targets):
                    assert time.monotonic() < end, (source, world.heard[before:])
                    networks.reach(world, beside.name, targets, b"twin", 0.5, source=(source, port + 1))
            heard = world.heard[before:]
            assert b"forged" not in {said for _, _, said in heard}, (source, heard)
            # Connections are those that were made by its own address.
            assert {who for _, who, said in heard if said is None} <= {"100.64.9.2", OWN, address}, (source, heard)
        for one in listening:
            with pytest.raises(BlockingIOError):
                one.recv(100)
    assert functions.call(forger, "address") == address and functions.call(other, "address") == others


def test_the_machine_s_ipv6_is_left_alone(functions, world):
    """Of what it forwards by devices that a node has forward IPv4."""
    setting = pathlib.Path("/proc/sys/net/ipv6/conf/all/forwarding")
    targets, both = [(PUBLIC_SIX, 80)], {("tcp", PUBLIC_SIX), ("udp", PUBLIC_SIX)}
    assert networks.forwards("up0") and networks.forwards("lan0")
    try:
        setting.write_text("1")
        assert networks.reach(world, world.near, targets, b"neighbour", 30, both) == both
    finally:
        setting.write_text("0")


def test_mail_goes_out_only_where_a_policy_says_so(tried):
    assert tried("default", ("tcp", PUBLIC[0], 25))[0] in REFUSED
    assert tried("mail", ("tcp", PUBLIC[0], 25)) == ["hello 100.64.9.2\n"]


def test_without_a_network_nothing_is_reached_and_no_name_is_known(tried, world):
    before = list(world.asked)
    said = tried("none", ("tcp", PUBLIC[0], 80), ("udp", PUBLIC[0], 80), ("tcp", DATABASE, 5432),
                 ("name", "public.example.org"))
    assert all(one in UNHEARD for one in said[:3]) and said[3] == "no name", said
    assert world.asked == before, "a name was asked for all the same"


def test_a_policy_allows_what_it_lists_and_nothing_else(tried):
    said = tried("orders", ("tcp", DATABASE, 5432), ("udp", DATABASE, 5432), ("tcp", NEIGHBOUR, 6379),
                 ("tcp", OWN, 5432))
    assert said[:2] == ["hello 100.64.9.2\n"] * 2 and said[2] == f"hello {OWN}\n", said
    # A service of this very machine sees the instance itself.
    assert said[3].startswith("hello 24"), said
    said = tried("orders", ("tcp", DATABASE, 5433), ("tcp", DATABASE, 80), ("tcp", NEIGHBOUR, 5432),
                 ("tcp", PUBLIC[0], 80), ("tcp", OWN, 80), ("tcp", METADATA, 80))
    assert all(one in REFUSED for one in said), said
    said = tried("both", ("tcp", DATABASE, 5432), ("tcp", DATABASE, 80), ("tcp", NEIGHBOUR, 6379))
    assert said[0] == "hello 100.64.9.2\n" and set(said[1:]) <= REFUSED, said


def test_names_are_answered_without_near_addresses(tried):
    said = tried("default", ("name", "public.example.org"), ("name", "rebound.example.org"),
                 ("name", "db.example.com"), ("name", "meta.example.com"), ("name", "nobody.example"))
    assert said == [[PUBLIC[0]], [PUBLIC[0]], "no name", "no name", "no name"]
    assert tried("default", ("tcp", "public.example.org", 80)) == ["hello 100.64.9.2\n"]
    # The C library may leave out what it has no address for; what is near is never among them.
    six = tried("default", ("name", "six.example.org"))[0]
    assert six in ("no name", ["2606:4700::1"])


def test_a_policy_s_names_lead_where_they_stand_for(tried, world):
    # Nobody has asked for the name yet: its address is one like any other.
    assert tried("names", ("tcp", DATABASE, 5432))[0] in REFUSED
    said = tried("names", ("tcp", "db.example.com", 5432), ("tcp", "DB.Example.COM", 5432),
                 ("tcp", "web.example.com", 443))
    assert said == ["hello 100.64.9.2\n"] * 3
    # Other ports of the same host, and other names, which are not even asked for.
    before = len(world.asked)
    said = tried("names", ("tcp", "db.example.com", 80), ("tcp", PUBLIC[1], 80),
                 ("name", "public.example.org"), ("name", "example.com"))
    assert said[0] in REFUSED and said[1] in REFUSED and said[2:] == ["no name"] * 2, said
    assert "public.example.org" not in world.asked[before:]
    # Below a wildcard may be anybody's: private and special addresses are not let through, nor public
    # ones that are the machine's own or a neighbour's.
    near = ("inner", "meta", "own", "near")
    assert tried("names", *[("name", f"{one}.example.com") for one in near]) == ["no name"] * 4
    assert set(tried("names", ("tcp", PUBLIC_OWN, 443), ("tcp", PUBLIC_NEIGHBOUR, 443))) <= REFUSED
    # And another policy has nothing of it.
    assert tried("orders", ("tcp", PUBLIC[1], 443), ("name", "db.example.com"))[0] in REFUSED


def test_no_other_address_and_no_packet_of_its_own_making(functions, made):
    *bound, raw = functions.call(made["default"], "spoof")
    assert set(bound) == {"EADDRNOTAVAIL"} and raw == "EPERM"


def test_connections_at_once_are_bounded(functions, made):
    count, why = functions.call(made["internet"], "hold")
    assert 28 <= count <= 33 and why in REFUSED, (count, why)


def test_new_connections_in_a_second_are_bounded(functions, world):
    one = servers.Server("[network]\nconnections = 10000\nnew_connections = 400\n")
    try:
        one.start()
        hurry(Functions(one))
    finally:
        one.close()
    # What nobody answers is one connection, however many packets it has.
    sends = functions.create(python("""
import socket

def handler(event, context):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("1.1.1.1", 9))
        for number in range(3000):
            one.send(b"x")
    return number + 1
"""), MemorySize=1769)
    with world.inside(world.far):
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        silent.bind((PUBLIC[0], 9))
    with silent:
        assert functions.call(sends) == 3000
        silent.settimeout(5)
        assert silent.recv(9) == b"x"


def hurry(functions):
    """A function that begins connections and ends them as fast as it can."""
    hurries = functions.create(python("""
import socket, struct, time

def handler(event, context):
    made = refused = 0
    begun = time.monotonic()
    while refused < 100 and made < 20000:
        try:
            with socket.create_connection(("1.1.1.1", 80), 30) as one:
                # Ends at once, on this side and on the other: those at once are few.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made += 1
        except ConnectionRefusedError:
            refused += 1
    took = time.monotonic() - begun
    time.sleep(1)
    with socket.create_connection(("1.1.1.1", 80), 30) as one:
        return [made, refused, took, one.recv(100).decode()]
"""), Timeout=120, MemorySize=1769)
    count, refused, took, heard = functions.call(hurries)
    assert refused == 100 and heard == "hello 100.64.9.2\n", (refused, heard)
    # As many in one go, and as the time gives more; by the kernel's clock and not the function's.
    assert 400 <= count <= 400 + 400 * took + 40, (count, took)


# Sends and receives so much by so many connections at once, and says what came of each and how long all took.
EXCHANGES = python("""
import socket, threading, time

def exchange(sent, wanted):
    with socket.socket() as one:
        one.settimeout(240)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        one.connect(("8.8.8.8", 7777))
        one.sendall(b"%d\\n" % wanted + b"a" * sent)
        one.shutdown(socket.SHUT_WR)
        got = b""
        while piece := one.recv(1 << 16):
            got += piece
    said, rest = got.split(b"\\n", 1)
    return [int(said), len(rest)]

def handler(event, context):
    count, sent, wanted = event
    done = []
    threads = [threading.Thread(target=lambda: done.append(exchange(sent, wanted))) for _ in range(count)]
    begun = time.monotonic()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return [done, time.monotonic() - begun]
""")
MIB = 1 << 20


def keeps_a_rate(functions, world, ahead):
    """With a bandwidth of 1 MiB, of which `ahead` seconds may come in one go."""
    one, other = (functions.create(EXCHANGES, Timeout=300, MemorySize=512) for _ in range(2))
    with world.exchanging():
        for count, sent, wanted in ((1, 3, 0), (1, 0, 3), (2, 3, 0), (2, 0, 3)):
            each = [sent * MIB // count, wanted * MIB // count]
            done, took = functions.call(one, [count, *each])
            assert done == [each] * count
            assert took >= 3 - ahead - 0.1, (count, sent, wanted, took)
        # Together that is more than one rate for both would let through in the time, on any machine.
        size = 9 * MIB // 8
        for each in ([size, 0], [0, size]):
            end = time.monotonic() + 240
            while at_once(functions, (one, other), [1, *each]) >= 2 * size / MIB - ahead - 0.1:
                assert time.monotonic() < end, "another instance's rate is this one's"
                # By then as much may come in one go again.
                time.sleep(2)


def at_once(functions, names, event):
    """How long the calls of all of them took together."""
    begun = time.monotonic()
    with futures.ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: functions.call(name, event), names))
    return time.monotonic() - begun


def test_bandwidth_is_bounded_each_way_for_each_instance(world):
    one = servers.Server('[network]\nbandwidth = "1MiB"\n')
    try:
        one.start()
        # The kernel lets a quarter of a second's come in one go on top of a second's.
        keeps_a_rate(Functions(one), world, 1.25)
    finally:
        one.close()


def test_one_function_does_not_reach_another(functions, made):
    listens = functions.create(python("""
import socket, threading
one = socket.create_server(("0.0.0.0", 8080))
threading.Thread(target=lambda: [c[0].sendall(b"inside") for c in iter(one.accept, 0)], daemon=True).start()

def handler(event, context):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("1.1.1.1", 9))
        return out.getsockname()[0]
"""))
    address = functions.call(listens)
    assert address.startswith("24")
    assert functions.call(made["default"], [["tcp", address, 8080]])[0] in REFUSED


def test_init_has_the_network_of_its_function(functions):
    fields = {"Environment": {"Variables": {"FIRST": PUBLIC[0]}}}
    assert functions.call(functions.create(PROBE, **fields), "init") == ["hello 100.64.9.2\n"]
    none = functions.create(PROBE, **fields, **policy("none"))
    assert functions.call(none, "init")[0] in REFUSED


@pytest.mark.skipif(node_runtime() is None, reason="no Node on this machine")
def test_what_was_booted_ahead_gets_the_network_of_its_function(functions):
    code = zip_of({"index.mjs": """
import net from "node:net";
export const handler = (event) => new Promise((resolve) => {
  const one = net.connect(event.port, event.host);
  one.on("data", (data) => { one.destroy(); resolve(data.toString()); });
  one.on("error", (error) => resolve(error.code));
});
"""})
    fields = {"Runtime": node_runtime(), "Timeout": 30, "MemorySize": 256}
    default = functions.create(code, **fields)
    orders = functions.create(code, **fields, **policy("orders"))
    host = {"host": "public.example.org", "port": 80}
    assert functions.call(default, host) == "hello 100.64.9.2\n"
    assert functions.call(default, {"host": DATABASE, "port": 5432}) in REFUSED
    assert functions.call(orders, {"host": DATABASE, "port": 5432}) == "hello 100.64.9.2\n"
    assert functions.call(orders, {"host": PUBLIC[0], "port": 80}) in REFUSED


def test_a_changed_policy_holds_for_the_next_call(functions):
    name = functions.create(PROBE)
    ask = [["tcp", DATABASE, 5432]]
    assert functions.call(name, ask)[0] in REFUSED
    functions.client.update_function_configuration(FunctionName=name, **policy("orders"))
    functions.wait_updated(name)
    assert functions.call(name, ask) == ["hello 100.64.9.2\n"]
    shown = functions.client.get_function_configuration(FunctionName=name)["VpcConfig"]
    assert shown["SecurityGroupIds"] == ["sg-orders"] and shown["SubnetIds"] == []
    # Other settings leave it; empty lists take it away.
    functions.client.update_function_configuration(FunctionName=name, Description="x")
    functions.wait_updated(name)
    assert functions.call(name, ask) == ["hello 100.64.9.2\n"]
    functions.client.update_function_configuration(
        FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    functions.wait_updated(name)
    assert functions.call(name, ask)[0] in REFUSED


def test_a_tag_names_a_policy(functions):
    name = functions.create(PROBE, Tags={"freehold:network": "orders", "team": "a"})
    ask = [["tcp", DATABASE, 5432], ["tcp", PUBLIC[0], 80]]
    said = functions.call(name, ask)
    assert said[0] == "hello 100.64.9.2\n" and said[1] in REFUSED, said
    arn = functions.client.get_function_configuration(FunctionName=name)["FunctionArn"]
    functions.client.tag_resource(Resource=arn, Tags={"freehold:network": "none"})
    functions.wait_updated(name)
    assert set(functions.call(name, ask)) <= REFUSED
    with pytest.raises(ClientError) as caught:
        functions.client.tag_resource(Resource=arn, Tags={"freehold:network": "order"})
    assert "names no network policy" in str(caught.value)
    functions.client.untag_resource(Resource=arn, TagKeys=["freehold:network"])
    functions.wait_updated(name)
    said = functions.call(name, ask)
    assert said[0] in REFUSED and said[1] == "hello 100.64.9.2\n", said


@pytest.mark.parametrize("config, text", [
    ({"SubnetIds": ["subnet-order"], "SecurityGroupIds": []}, "names no network policy"),
    ({"SubnetIds": ["subnet-orders"], "SecurityGroupIds": ["sg-names"]}, "another network policy"),
])
def test_an_unknown_policy_is_refused(functions, config, text):
    with pytest.raises(ClientError) as caught:
        functions.create_response(PROBE, VpcConfig=config)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException" and text in error["Message"]
    assert "VpcConfig" in error["Message"]


def test_a_policy_of_some_tenants_is_no_others(world):
    config = """
[server]
account = "111111111111"
[network.policies.mine]
allow = ["{database}:5432"]
tenants = ["{mine}", "333333333333"]
[network.policies.theirs]
allow = ["{database}:5432"]
tenants = ["222222222222"]
"""
    one = servers.Server(config.format(database=DATABASE, mine="111111111111"))
    ask = [["tcp", DATABASE, 5432]]
    try:
        one.start()
        functions = Functions(one)
        name = functions.create(PROBE, Timeout=60, **policy("mine"))
        assert functions.call(name, ask) == ["hello 100.64.9.2\n"]
        # What others have is not named, and answers like what is not there.
        said = []
        for other in ("theirs", "nobodys"):
            for fields in (policy(other), {"Tags": {"freehold:network": other}}):
                with pytest.raises(ClientError) as caught:
                    functions.create_response(PROBE, **fields)
                said.append(caught.value.response["Error"]["Message"].replace(other, "*"))
        assert said[:2] == said[2:] and all(text.endswith("it has internet, none, mine") for text in said)
        # One that had it before reaches nobody by it.
        one.stop()
        (one.folder / "freehold.toml").write_text(config.format(database=DATABASE, mine="444444444444"))
        one.start()
        assert Functions(one).call(name, ask)[0] in REFUSED
    finally:
        one.close()


def test_deploy_names_a_policy(server, functions, open_folder):
    folder = open_folder / "reaching"
    folder.mkdir()
    (folder / "index.py").write_text("def handler(event, context):\n    return event\n")
    deploy = ("deploy", folder, "--no-url", "--handler", "index.handler", "--runtime",
              f"python{sys.version_info.major}.{sys.version_info.minor}")
    server.cli(*deploy, "--network", "orders")
    shown = functions.client.get_function_configuration(FunctionName="reaching")["VpcConfig"]
    assert shown["SecurityGroupIds"] == ["sg-orders"]
    assert "unchanged" in server.cli(*deploy, "--network", "orders").stdout
    assert "unchanged" in server.cli(*deploy).stdout
    failed = server.cli(*deploy, "--network", "order", check=False)
    assert failed.returncode != 0 and "names no network policy" in failed.stderr


def test_the_machine_is_as_it_was_after_an_end_and_after_a_kill(world):
    """The module's own server may live meanwhile: whoever goes last puts things back."""
    before = networks.devices()
    one = servers.Server()
    try:
        one.start()
        assert networks.forwards("up0")
        functions = Functions(one)
        assert functions.call(functions.create(PROBE), [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
        # The module's own makes some too, in its own slot.
        mine = {device for device in networks.devices() - before if not slots(before) & slots({device})}
        assert mine
        supervisor = next(
            pid for pid in one.note_processes()
            if pathlib.Path(f"/proc/{pid}").exists()
            and "supervisor" in pathlib.Path(f"/proc/{pid}/comm").read_text())
        # Nobody is left to clear up; the next start does.
        os.kill(supervisor, 9)
        one.wait()
        one.start()
        functions = Functions(one)
        assert functions.call(functions.create(PROBE), [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
    finally:
        one.close()
    end = time.monotonic() + 10
    while mine & networks.devices():
        assert time.monotonic() < end, mine & networks.devices()
        time.sleep(0.05)


def test_a_machine_that_is_made_to_forward_does_so_beside_a_node(functions, world, server):
    """Say by Docker or a VPN that starts later."""
    setting = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
    subprocess.run(["ip", "-n", world.far, "route", "add", "10.9.0.0/24", "via", "100.64.9.2"], check=True)
    name = functions.create(PROBE)

    def passes():
        with world.inside(world.near):
            try:
                with socket.create_connection((PUBLIC[0], 80), 1) as one:
                    return one.recv(100) == f"hello {NEIGHBOUR}\n".encode()
            except OSError:
                return False

    def until(expected):
        end = time.monotonic() + 20
        while passes() != expected:
            assert time.monotonic() < end, expected
            time.sleep(0.05)

    assert networks.forwards("up0") and not passes()
    try:
        setting.write_text("1")
        until(True)
        assert functions.call(name, [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
    finally:
        setting.write_text("0")
    until(False)
    end = time.monotonic() + 20
    while not networks.forwards("up0"):
        assert time.monotonic() < end, "nobody takes answers to instances in"
        time.sleep(0.05)
    assert functions.call(name, [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
    assert not passes()


def test_a_route_alone_makes_a_neighbour(functions, world):
    """A range that the machine reaches by a device without a gateway is near, whoever adds it and when."""
    name = functions.create(PROBE, Timeout=60)
    host = "9.9.8.2"
    subprocess.run(["ip", "-n", world.near, "address", "add", f"{host}/32", "dev", "lo"], check=True)
    with world.inside(world.near):
        listens = socket.create_server((host, 80))
    world.sockets.append(listens)
    threading.Thread(target=world._accept, args=(listens,), daemon=True).start()
    try:
        subprocess.run(["ip", "route", "add", "9.9.8.0/24", "via", NEIGHBOUR], check=True)
        assert functions.call(name, [["tcp", host, 80]]) == [f"hello {OWN}\n"]
        subprocess.run(["ip", "route", "change", "9.9.8.0/24", "dev", "lan0"], check=True)
        end = time.monotonic() + 20
        while functions.call(name, [["tcp", host, 80]])[0] not in REFUSED:
            assert time.monotonic() < end, "not a neighbour"
    finally:
        subprocess.run(["ip", "route", "del", "9.9.8.0/24"], check=False)


def slots(devices):
    """The nodes that devices are of."""
    return {device[:4] for device in devices}


def test_a_node_without_networks_touches_nothing(world):
    one = servers.Server("[network]\nenabled = false\n")
    try:
        before = networks.devices()
        one.start()
        functions = Functions(one)
        name = functions.create(PROBE)
        assert functions.call(name, [["tcp", PUBLIC[0], 80]])[0] in REFUSED
        assert slots(networks.devices()) == slots(before)
        with pytest.raises(ClientError) as caught:
            functions.create_response(PROBE, **policy("internet"))
        assert "have no network" in str(caught.value)
    finally:
        one.close()


def test_the_unit_s_walls_leave_room_for_links(world):
    """Of /run a service may write its own folder alone."""
    unit = (pathlib.Path(__file__).parents[1] / "packaging" / "systemd" / "freehold.service").read_text()
    own = "/run/" + re.search("^RuntimeDirectory=(.+)$", unit, re.M)[1]
    one = servers.Server()
    one.wrapped_in = ["unshare", "--mount", "sh", "-c",
                      f'mount -t tmpfs none /run && mkdir -p {own} && mount -t tmpfs -o mode=755 none {own} && '
                      'mount -o remount,ro /run && exec "$@"', "sh"]
    before = networks.devices()
    try:
        one.start()
        functions = Functions(one)
        assert functions.call(functions.create(PROBE), [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
        assert "functions have no links here" not in one.log.read_text()
        assert networks.devices() - before
    finally:
        one.close()


@pytest.mark.parametrize("wrong", ["chmod 0777 /run/freehold-network", "chown 1000 /run/freehold-network",
                                   "rmdir /run/freehold-network && ln -s /var/tmp /run/freehold-network"])
def test_what_nodes_share_is_in_a_folder_of_root_s_alone(world, wrong):
    """Root would write what another user's folder leads it to: the server carries connections instead."""
    one = servers.Server()
    one.wrapped_in = ["unshare", "--mount", "sh", "-c",
                      f'mount -t tmpfs none /run && mkdir /run/freehold-network && {wrong} && exec "$@"', "sh"]
    try:
        one.start()
        there = pathlib.Path(f"/proc/{one.process.pid}/root/run/freehold-network")
        assert os.path.islink(there) or list(there.iterdir()) == []
        assert not pathlib.Path("/var/tmp", shared().name).exists()
        functions = Functions(one)
        assert functions.call(functions.create(PROBE), [["tcp", PUBLIC[0], 80]]) == ["hello 100.64.9.2\n"]
        assert "functions have no links here" in one.log.read_text()
    finally:
        one.close()
