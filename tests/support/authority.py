"""Authorities that servers order certificates from: Pebble, which Let's Encrypt tests clients with,
and one of these tests' own that answers as badly as it is told to."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request

import pytest

from support.projects import cache

PEBBLE_VERSION = "v2.10.1"  # scripts/setup.sh builds it


def pebble():
    """The program, or the end of the test with the reason."""
    path = cache() / "tools" / f"pebble-{PEBBLE_VERSION}" / "pebble"
    if not path.is_file():
        pytest.skip(f"no Pebble at {path}: `scripts/setup.sh test` builds it; no certificate was ordered")
    return path


def free_port():
    """One that nobody has, below those that the kernel gives to whoever connects."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            return port


def await_port(port, seconds=20):
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.02)


class Names:
    """A server of names on loopback that answers each question for an address with the same one, but
    for the names in `elsewhere`."""

    def __init__(self):
        self.elsewhere = {}
        # Pebble asks by either, at one port; what is free for packets may be taken for streams.
        self.stream = None
        while self.stream is None:
            port = free_port()
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.socket.bind(("127.0.0.1", port))
                self.stream = socket.create_server(("127.0.0.1", port))
            except OSError:
                self.socket.close()
        self.address = f"127.0.0.1:{port}"
        for work in (self._by_packets, self._by_stream):
            threading.Thread(target=work, daemon=True).start()

    def _by_packets(self):
        with contextlib.suppress(OSError):
            while True:
                query, who = self.socket.recvfrom(4096)
                if who is None:
                    return
                self.socket.sendto(self._answer(query), who)

    def _by_stream(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.stream.accept()
                with one, contextlib.suppress(OSError), one.makefile("rb") as said:
                    while len(head := said.read(2)) == 2:
                        answer = self._answer(said.read(*struct.unpack("!H", head)))
                        one.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        answer = b""
        if struct.unpack("!H", query[at + 1:at + 3]) == (1,):
            address = self.elsewhere.get(".".join(labels).lower(), "127.0.0.1")
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
        head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(bool(answer)), 0, 0)
        return head + query[12:at + 5] + answer

    def close(self):
        for one in (self.socket, self.stream):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Pebble:
    """A real authority. `shown` is the port on which servers prove names to it."""

    def __init__(self, folder, authority, names, port, shown, life_s=90 * 86_400):
        key = authority.make_key("pebble")
        self.management, self.log = free_port(), folder / "pebble.log"
        self.directory = f"https://localhost:{port}/dir"
        config = folder / "pebble.json"
        config.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(authority.sign("pebble", key)), "privateKey": str(key),
            "httpPort": 1, "tlsPort": shown, "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "of the tests", "validityPeriod": life_s}}}}))
        # It wants every proof anew, refuses a nonce now and then, and does not dawdle.
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5",
                       "PEBBLE_AUTHZREUSE": "0"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(pebble()), "-config", str(config), "-dnsserver", names.address], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_port(port)
        await_port(self.management)
        context = ssl.create_default_context(cafile=str(authority.certificate))
        self.roots = folder / "pebble-roots.pem"
        with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", context=context, timeout=20) as reply:
            self.roots.write_bytes(reply.read())

    def context(self):
        """What a client that trusts it speaks TLS with."""
        return ssl.create_default_context(cafile=str(self.roots))

    def count(self, words):
        """How often its log has these words."""
        return self.log.read_text(errors="replace").count(words)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Impostor:
    """An authority that checks nothing. `answers` has what is sent instead of the truth, by the last
    part of the path: a function of the handler, or (status, body, headers)."""

    def __init__(self, authority):
        key = authority.make_key("impostor")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.sign("impostor", key), key)
        self.authority, self.answers, self.asked = authority, {}, []
        self.names, self.certificate = ["api.freehold.test"], None
        impostor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                impostor._answer(self)

            do_HEAD = do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.base = "https://localhost:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _answer(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        what = handler.path.rsplit("/", 1)[1]
        self.asked.append((what, handler.headers.get("User-Agent")))
        answer = self.answers.get(what)
        if callable(answer):
            return answer(handler)
        status, text, headers = answer or self._truth(what, body)
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        handler.send_response(status)
        for name, value in {"Replay-Nonce": "bm9uY2U", "Content-Length": str(len(text)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            with contextlib.suppress(OSError):
                handler.wfile.write(text)

    def _truth(self, what, body):
        to = {name: f"{self.base}/{name}" for name in ("nonce", "account", "order", "finalize", "chain", "proof")}
        order = {"status": "ready", "identifiers": [{"type": "dns", "value": name} for name in self.names],
                 "authorizations": [to["proof"]], "finalize": to["finalize"]}
        if what == "dir":
            return 200, {"newNonce": to["nonce"], "newAccount": to["account"], "newOrder": to["order"]}, {}
        if what == "account":
            return 201, {"status": "valid"}, {"Location": f"{self.base}/account"}
        if what == "order":
            return 201, order, {"Location": f"{self.base}/looked"}
        if what == "looked":
            return 200, order if self.certificate is None else {
                **order, "status": "valid", "certificate": to["chain"]}, {}
        if what == "proof":
            return 200, {"status": "valid", "identifier": {"type": "dns", "value": self.names[0]},
                         "challenges": []}, {}
        if what == "finalize":
            payload = json.loads(body)["payload"]
            request = json.loads(base64.urlsafe_b64decode(payload + "==="))["csr"]
            self.certificate = self.sign(base64.urlsafe_b64decode(request + "==="))
            return 200, {**order, "status": "valid", "certificate": to["chain"]}, {}
        if what == "chain":
            return 200, self.certificate, {}
        return 200, b"", {}

    def sign(self, request, **given):
        """What is given for a request, as its words are."""
        folder: pathlib.Path = self.authority.folder
        (folder / "asked.der").write_bytes(request)
        self.authority.openssl("req", "-inform", "DER", "-in", folder / "asked.der", "-out", folder / "asked.csr")
        return self.authority.sign_request("asked", folder / "asked.csr", **given).read_bytes()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
