"""A small internet for tests: the node, its neighbours and everybody else, each in a namespace.

```
 neighbour ns                 the test and its server              elsewhere ns
 10.9.0.2, 9.9.9.2 ───lan0─── 10.9.0.1, 9.9.9.1   100.64.9.2 ───up0─── 100.64.9.1, the gateway
                                                                       1.1.1.1, 8.8.8.8: the internet
                                                                       10.66.0.5: a database
                                                                       169.254.169.254: metadata
                                                                       10.66.0.53: the node's resolver
```

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

CLONE_FS, CLONE_NEWNS, CLONE_NEWNET = 0x200, 0x20000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)
PUBLIC = ("1.1.1.1", "8.8.8.8")
DATABASE, METADATA, RESOLVER = "10.66.0.5", "169.254.169.254", "10.66.0.53"
NEIGHBOUR, PUBLIC_NEIGHBOUR = "10.9.0.2", "9.9.9.2"
OWN, PUBLIC_OWN = "10.9.0.1", "9.9.9.1"
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
        self._link("lan0", self.near, [f"{OWN}/24", f"{PUBLIC_OWN}/24"],
                   [f"{NEIGHBOUR}/24", f"{PUBLIC_NEIGHBOUR}/24"])
        self._link("up0", self.far, ["100.64.9.2/24"], ["100.64.9.1/24"])
        _ip("route", "add", "default", "via", "100.64.9.1")
        _ip("-n", self.near, "route", "add", "default", "via", OWN)
        for address in (*PUBLIC, DATABASE, METADATA, RESOLVER):
            _ip("-n", self.far, "address", "add", f"{address}/32", "dev", "lo")
        for name, addresses in ((self.near, (NEIGHBOUR, PUBLIC_NEIGHBOUR)),
                                (self.far, (*PUBLIC, DATABASE, METADATA))):
            with self.inside(name):
                for port in PORTS:
                    self._listen(port, addresses)
        # Services of the node itself.
        for port in PORTS:
            self._listen(port, (OWN, PUBLIC_OWN, "127.0.0.1"))
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
                _ip(*where, "address", "add", address, "dev", device)
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
        """Sockets that are made here are of that namespace."""
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{name}", os.O_RDONLY)
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
            stream = socket.create_server((address, port), backlog=512)
            # One for each address: an answer comes from where the question went.
            packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            packets.bind((address, port))
            self.sockets += [stream, packets]
            for work, of in ((self._accept, stream), (self._receive, packets)):
                threading.Thread(target=work, args=(of,), daemon=True).start()

    @staticmethod
    def _accept(stream):
        held = {stream}
        with contextlib.suppress(OSError):
            while True:
                for one in select.select(held, [], [])[0]:
                    if one is stream:
                        one, peer = stream.accept()
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

    @staticmethod
    def _receive(packets):
        with contextlib.suppress(OSError):
            # Nobody sent it: the socket was shut down.
            while (peer := packets.recvfrom(2048)[1]) is not None:
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


def forwards(device):
    """Whether the namespace of the test forwards what comes in by a device."""
    return pathlib.Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding").read_text().strip() == "1"


def devices():
    """The devices of instances that the namespace of the test has."""
    lines = pathlib.Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return {line.split(":")[0].strip() for line in lines if line.strip().startswith("fh")}
