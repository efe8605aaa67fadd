"""A small internet for tests: the node, its neighbours and everybody else, each in a namespace.

```
 neighbour ns                 the test and its server              elsewhere ns
 10.9.0.2, 9.9.9.2 ───lan0─── 10.9.0.1, 9.9.9.1   100.64.9.2 ───up0─── 100.64.9.1, the gateway
                                                                       1.1.1.1, 8.8.8.8: the internet
                                                                       10.66.0.5: a database
                                                                       169.254.169.254: metadata
                                                                       10.66.0.53: the node's resolver
```

All of them have IPv6 too, and answer to it. A `Beside` is what an instance is, a namespace on a link of
the machine's, but of the test's own making: the rules of a node are not about it.

The thread that enters is in a network namespace and a mount namespace of its own until it leaves, so
that a server which it starts sees this world, asks this resolver, and touches nothing of the
machine's own.
"""

import contextlib
import ctypes
import os
import pathlib
import select
import socket
import struct
import subprocess
import threading
import time

CLONE_FS, CLONE_NEWNS, CLONE_NEWNET = 0x200, 0x20000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)
PUBLIC = ("1.1.1.1", "8.8.8.8")
DATABASE, METADATA, RESOLVER = "10.66.0.5", "169.254.169.254", "10.66.0.53"
NEIGHBOUR, PUBLIC_NEIGHBOUR = "10.9.0.2", "9.9.9.2"
OWN, PUBLIC_OWN = "10.9.0.1", "9.9.9.1"
OWN_SIX, PUBLIC_OWN_SIX = "fd00:9::1", "2606:9::1"
NEIGHBOUR_SIX, PUBLIC_NEIGHBOUR_SIX = "fd00:9::2", "2606:9::2"
# The internet, a database, and what stands for that one: documents, NAT64, 6to4.
PUBLIC_SIX = "2606:4700::1"
FAR_SIX = (PUBLIC_SIX, "fd00:66::5", "2001:db8::5", "64:ff9b::a42:5", "2002:a42:5::1")
# What answers on every address of the others.
PORTS = (25, 80, 443, 5432, 6379)


def _call(name, *arguments):
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


def may_be_made():
    """Why there can be none here; nothing where there can."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        done = subprocess.run(["unshare", "-n", "ip", "link", "add", "probe0", "type", "veth"],
                              capture_output=True, text=True, timeout=30)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else None


class World:
    """See the module."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        mark = f"fhtest{os.getpid()}"
        self.near, self.far = f"{mark}n", f"{mark}f"
        self.names = {}
        self.asked = []
        # Where something came to the others and to the machine, from whom, and what the packet said;
        # `None` is a connection.
        self.heard = []
        self.sockets = []
        self.home = None

    def __enter__(self):
        try:
            return self.enter()
        except BaseException:
            self.leave()
            raise

    def __exit__(self, *_):
        self.leave()

    def enter(self):
        for name in (self.near, self.far):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        self.home = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
        _call("unshare", CLONE_NEWNET | CLONE_NEWNS)
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        file = self.folder / "resolv.conf"
        file.write_text(f"nameserver {RESOLVER}\n")
        file.chmod(0o644)
        _call("mount", str(file).encode(), b"/etc/resolv.conf", None, MS_BIND, None)
        _ip("link", "set", "lo", "up")
        self._link("lan0", self.near, [f"{OWN}/24", f"{PUBLIC_OWN}/24", f"{OWN_SIX}/64", f"{PUBLIC_OWN_SIX}/64"],
                   [f"{NEIGHBOUR}/24", f"{PUBLIC_NEIGHBOUR}/24", f"{NEIGHBOUR_SIX}/64",
                    f"{PUBLIC_NEIGHBOUR_SIX}/64"])
        self._link("up0", self.far, ["100.64.9.2/24", "fd00:64::2/64"], ["100.64.9.1/24", "fd00:64::1/64"])
        _ip("route", "add", "default", "via", "100.64.9.1")
        _ip("route", "add", "default", "via", "fd00:64::1")
        _ip("-n", self.near, "route", "add", "default", "via", OWN)
        _ip("-n", self.near, "route", "add", "default", "via", OWN_SIX)
        _ip("-n", self.far, "route", "add", "default", "via", "fd00:64::2")
        for address in (*PUBLIC, DATABASE, METADATA, RESOLVER):
            _ip("-n", self.far, "address", "add", f"{address}/32", "dev", "lo")
        for address in FAR_SIX:
            _ip("-n", self.far, "address", "add", f"{address}/128", "dev", "lo")
        with self.inside(self.far):
            # Where many live, one may speak to another.
            pathlib.Path("/proc/sys/net/ipv4/conf/all/accept_local").write_text("1")
        for name, addresses in ((self.near, (NEIGHBOUR, PUBLIC_NEIGHBOUR, "::")),
                                (self.far, (*PUBLIC, DATABASE, METADATA, "::"))):
            with self.inside(name):
                for port in PORTS:
                    self._listen(port, addresses)
        # Services of the node itself.
        for port in PORTS:
            self._listen(port, (OWN, PUBLIC_OWN, "127.0.0.1", "::"))
        with self.inside(self.far):
            asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            asked.bind((RESOLVER, 53))
        self.sockets.append(asked)
        threading.Thread(target=self._resolve, args=(asked,), daemon=True).start()
        return self

    def _link(self, device, other, own, theirs):
        _ip("link", "add", device, "type", "veth", "peer", "name", device, "netns", other)
        for where, addresses in (((), own), (("-n", other), theirs)):
            for address in addresses:
                _ip(*where, "address", "add", address, "dev", device, *at_once(address))
            _ip(*where, "link", "set", device, "up")

    def leave(self):
        if self.home:
            # Threads that were started here share the folder that this one stands in, and who shares
            # it may not go to other mounts.
            _call("unshare", CLONE_FS)
            for handle, kind in zip(self.home, (CLONE_NEWNET, CLONE_NEWNS)):
                _call("setns", handle, kind)
                os.close(handle)
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30)

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets that are made here are of that namespace: one of ours by its name, any by its path."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(os.path.join("/run/netns", name), os.O_RDONLY)
        _call("setns", there, CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", back, CLONE_NEWNET)
            os.close(back)
            os.close(there)

    def _listen(self, port, addresses):
        """Says on every connection and to every packet where it came from."""
        for address in addresses:
            family = family_of(address)
            stream = socket.create_server((address, port), family=family, backlog=512)
            # One for each address: an answer comes from where the question went.
            packets = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                packets.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            packets.bind((address, port))
            self.sockets += [stream, packets]
            for work, of in ((self._accept, stream), (self._receive, packets)):
                threading.Thread(target=work, args=(of,), daemon=True).start()

    def _accept(self, stream):
        held = {stream}
        with contextlib.suppress(OSError):
            while True:
                for one in select.select(held, [], [])[0]:
                    if one is stream:
                        one, peer = stream.accept()
                        self.heard.append((stream.getsockname()[:2], peer[0], None))
                        held.add(one)
                        with contextlib.suppress(OSError):
                            one.sendall(f"hello {peer[0]}\n".encode())
                        continue
                    try:
                        over = not one.recv(4096)
                    except OSError:
                        over = True
                    # As servers do: who is left is left.
                    if over:
                        held.discard(one)
                        one.close()

    def _receive(self, packets):
        here = packets.getsockname()[:2]
        while True:
            try:
                data, peer = packets.recvfrom(2048)
            except OSError:
                return
            # Nobody sent it: the socket was shut down.
            if peer is None:
                return
            self.heard.append((here, peer[0], data))
            # Whoever forges an address may have named one that no way leads to.
            with contextlib.suppress(OSError):
                packets.sendto(f"hello {peer[0]}\n".encode(), peer)

    def _resolve(self, asked):
        with contextlib.suppress(OSError):
            while True:
                packet, peer = asked.recvfrom(4096)
                if peer is None:
                    return
                labels, at = [], 12
                while packet[at]:
                    labels.append(packet[at + 1:at + 1 + packet[at]].decode())
                    at += 1 + packet[at]
                kind = struct.unpack("!H", packet[at + 1:at + 3])[0]
                name = ".".join(labels).lower()
                self.asked.append(name)
                family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
                found = []
                for address in self.names.get(name, ()):
                    if family == (socket.AF_INET6 if ":" in address else socket.AF_INET):
                        found.append(socket.inet_pton(family, address))
                code = 0 if name in self.names else 3
                head = packet[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
                records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
                                   for data in found)
                asked.sendto(head + packet[12:at + 5] + records, peer)


    def add_beside(self):
        """A `Beside`, whose namespace has this one's name."""
        name = f"fhtest{os.getpid()}b"
        _ip("netns", "add", name)
        made = Beside(self, name)
        try:
            _ip("-n", name, "link", "set", "lo", "up")
            # As the links of instances are.
            same = ("address", "02:00:00:00:00:07", "arp", "off")
            _ip("link", "add", made.device, *same, "type", "veth",
                "peer", "name", "eth0", *same, "netns", name)
            _ip("link", "set", made.device, "up")
            _ip("-n", name, "address", "add", f"{made.address}/32", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "route", "add", "default", "dev", "eth0")
            _ip("route", "add", f"{made.address}/32", "dev", made.device)
            _ip("-n", self.far, "route", "replace", f"{made.address}/32", "via", "100.64.9.2")
        except BaseException:
            made.remove()
            raise
        return made

    @contextlib.contextmanager
    def exchanging(self, port=7777):
        """A host that reads how much is wanted of it, in a line, and whatever follows, to the end; says how
        much that was, and sends what is wanted."""
        with self.inside(self.far):
            listens = socket.create_server((PUBLIC[1], port))
        # Who is ahead of a rate by little loses little, and does not stand still after it for seconds.
        listens.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)

        def exchange(one):
            with one, contextlib.suppress(OSError):
                one.settimeout(300)
                wanted, total = b"", 0
                while piece := one.recv(1 << 16):
                    if not wanted.endswith(b"\n"):
                        line, end, piece = piece.partition(b"\n")
                        wanted += line + end
                    total += len(piece)
                one.sendall(f"{total}\n".encode() + b"x" * int(wanted))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=exchange, args=(listens.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            listens.shutdown(socket.SHUT_RDWR)
            listens.close()


class Beside:
    """See the module."""

    device, address = "side0", "10.77.0.2"

    def __init__(self, world, name):
        self.world, self.name = world, name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        """Both, at once: a namespace goes when the kernel gets to it."""
        subprocess.run(["ip", "link", "delete", self.device], capture_output=True, timeout=30)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, timeout=30)


@contextlib.contextmanager
def routing():
    """The machine forwards whatever comes, and takes packets for genuine that say to be its own."""
    settings = {"ipv4/ip_forward": "1", "ipv4/conf/all/accept_local": "1", "ipv6/conf/all/forwarding": "1"}
    before = {}
    try:
        for name, value in settings.items():
            path = pathlib.Path("/proc/sys/net", name)
            before[path] = path.read_text()
            path.write_text(value)
        yield
    finally:
        for path, value in before.items():
            path.write_text(value)


def lead_six(world, inside, device, number):
    """IPv6 for who is at the other end of a device, to everywhere; says which addresses are the guest's and
    which are the machine's end."""
    end, guest = f"fd00:{number}::1", (f"fd00:{number}::2", f"2606:{number}::2", f"fe80::{number}:2")
    for address in (f"{end}/64", f"fe80::{number}:1/64"):
        _ip("address", "add", address, "dev", device, *at_once(address))
    _ip("route", "add", f"2606:{number}::/64", "dev", device)
    with world.inside(inside):
        for address in guest:
            _ip("address", "add", f"{address}/64", "dev", "eth0", *at_once(address))
        _ip("-6", "route", "add", "default", "dev", "eth0")
    return guest, (end, f"fe80::{number}:1")


@contextlib.contextmanager
def holding(world, inside, address):
    """Who is in there has this address too, whosever it is."""
    change = ("address", "{}", f"{address}/32", "dev", "eth0")
    with world.inside(inside):
        _ip(*[word.format("add") for word in change])
    try:
        yield
    finally:
        with world.inside(inside):
            _ip(*[word.format("delete") for word in change])


def reach(world, inside, targets, said, seconds, enough=None, source=None):
    """A connection and a packet that says so to each (host, port) from that namespace, all at once, from
    `source` if there is one. Which of them were said hello to, as {(kind, host)}, once those that are
    enough were, or the time is over."""
    made, heard = {}, set()
    with world.inside(inside):
        for host, port in targets:
            family = family_of(host)
            to = (host, port)
            if host.startswith(("fe80:", "ff02:")):
                to += (0, socket.if_nametoindex("eth0"))
            for name, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
                one = made[name, host] = socket.socket(family, kind)
                one.setblocking(False)
                if source:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(source)
                # What the guest's own kernel refuses has gone nowhere.
                with contextlib.suppress(OSError):
                    one.sendto(said, to) if name == "udp" else one.connect(to)
    end = time.monotonic() + seconds
    while heard != enough and time.monotonic() < end:
        for key, one in made.items():
            with contextlib.suppress(OSError):
                if one.recv(100).startswith(b"hello"):
                    heard.add(key)
        time.sleep(0.05)
    for one in made.values():
        one.close()
    return heard


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def at_once(address):
    """An address of IPv6 is asked for a second otherwise, whether another has it."""
    return ("nodad",) if ":" in address else ()


def forwards(device):
    """Whether the namespace of the test forwards what comes in by a device."""
    return pathlib.Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding").read_text().strip() == "1"


def devices():
    """The devices of instances that the namespace of the test has."""
    lines = pathlib.Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return {line.split(":")[0].strip() for line in lines if line.strip().startswith("fh")}
