"""Certificates that the server orders itself, from Pebble and from an authority that means harm."""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest

from support.authority import Impostor, Names, Pebble, free_port, pebble
from support.certificates import Authority
from support.http import send
from support.server import Server, binary, make_folder

NAME = "api.freehold.test"


@pytest.fixture(scope="module")
def authority():
    """Who vouches for the authorities' own servers."""
    folder = make_folder("acme")
    try:
        yield Authority(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def names():
    one = Names()
    yield one
    one.close()


def orders(authority, directory, *wanted, more=""):
    """A configuration that orders a certificate for these names."""
    return (f'[tls]\nacme_names = {json.dumps(list(wanted))}\nacme_accept_terms = true\n'
            f'acme_directory = "{directory}"\nacme_roots = "{authority.certificate}"\n'
            f'acme_contact = "ops@freehold.test"\n{more}')


def port_of(server):
    return urllib.parse.urlsplit(server.url).port


def handshake(server, context, name=NAME):
    plain = socket.create_connection(("127.0.0.1", port_of(server)), 20)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def shown(server, name=NAME):
    """The certificate that a new connection is shown, whoever vouches for it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with handshake(server, context, name) as one:
        return one.getpeercert(binary_form=True)


def life(server, context):
    """When the certificate that a new connection is shown begins and ends."""
    with handshake(server, context) as one:
        return [ssl.cert_time_to_seconds(one.getpeercert()[field]) for field in ("notBefore", "notAfter")]


def answers(server, context, name=NAME):
    """Whether a client that trusts by `context` is answered under this name."""
    with handshake(server, context, name) as one:
        one.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return one.recv(4096).startswith(b"HTTP/1.1 ")


def metric(server, name):
    text = send(server.admin, "GET", "/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else None


def count(server, ending):
    return metric(server, f'freehold_certificate_orders_total{{ending="{ending}"}}')


def reload(server):
    """As root of its folder: what clients are shown changes under them."""
    server.cli("reload", "--data", server.data, env={"AWS_ENDPOINT_URL": ""})


def wait(server, holds, seconds=30):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, server.output()[-3000:]
        time.sleep(0.05)
    return found


def doctor(server):
    done = subprocess.run([str(binary()), "doctor", "--json", "--data", str(server.data)], capture_output=True,
                          text=True, timeout=60)
    (line,) = [one for one in json.loads(done.stdout)["findings"] if one["what"] == "certificate"]
    return line


def kept(server, file="certificate.pem"):
    return list((server.data / "acme").glob(f"*/{file}"))


def test_the_life_of_a_certificate(authority, names):
    """An authority that is away, an order, a restart, a proof that fails, another name."""
    pebble()
    port, listen = free_port(), free_port()
    directory = f"https://localhost:{port}/dir"
    server, one = Server(orders(authority, directory, NAME)), None
    server.listen = f"127.0.0.1:{listen}"
    config = server.folder / "freehold.toml"
    try:
        # Nobody is there yet: the start is as quick, and the server answers with one of its own.
        server.start()
        assert server.endpoint["is_self_signed"] and server.url.startswith("https://")
        wait(server, lambda: count(server, "failed") == 1)
        assert f"one for {NAME} is ordered from {directory}" in server.output()
        line = doctor(server)
        assert not line["enforced"] and "could not be reached" in line["detail"], line
        assert "there is none yet" in line["detail"] and "freehold reload" in line["remedy"], line
        assert re.search(r"WARN.*no certificate came of the order.*could not be reached", server.output())
        assert kept(server) == []
        made = ssl.create_default_context(cafile=str(server.data / "tls" / "certificate.pem"))
        assert answers(server, made), "it names whom the other one will"

        # It comes, and a reload makes no one wait.
        one = Pebble(authority.folder, authority, names, port, listen)
        with handshake(server, made) as stands:
            reload(server)
            wait(server, lambda: count(server, "made") == 1)
            assert answers(server, one.context())
            stands.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert stands.recv(4096).startswith(b"HTTP/1.1 "), "the connection goes on"
        first = shown(server)
        ends = metric(server, "freehold_certificate_ends_seconds")
        assert 89 * 86_400 < ends - time.time() < 91 * 86_400
        line = doctor(server)
        assert line["enforced"] and "there is one until" in line["detail"] and directory in line["detail"], line
        endpoint = json.loads((server.data / "run" / "endpoint.json").read_text())
        assert not endpoint["is_self_signed"] and endpoint["listen"] == f"https://{NAME}:{listen}"
        assert "AWS_CA_BUNDLE" not in subprocess.run(
            [str(binary()), "env", "--data", str(server.data)], capture_output=True, text=True).stdout
        server.cli("ls", "--data", server.data, env={"AWS_ENDPOINT_URL": ""})
        for file in ("certificate.pem", "account.json"):
            (path,) = kept(server, file)
            assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
            assert path.stat().st_uid == pathlib.Path(f"/proc/{server.process.pid}").stat().st_uid
        assert "PRIVATE" not in server.output()

        # Who offers what an authority offers is shown nothing while nothing is to be proven.
        prover = ssl.create_default_context()
        prover.check_hostname, prover.verify_mode = False, ssl.CERT_NONE
        prover.set_alpn_protocols(["acme-tls/1"])
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(server, prover)
        assert answers(server, one.context())

        # A restart finds it, and orders nothing.
        placed = one.count("order/")
        server.restart()
        assert shown(server) == first and not server.endpoint["is_self_signed"]
        reload(server)
        time.sleep(0.5)
        assert (count(server, "made"), count(server, "failed")) == (0, 0)
        assert one.count("order/") == placed

        # With another name it does not serve. The proof of that name fails, and says so.
        names.elsewhere["away.freehold.test"] = "127.0.0.9"
        config.write_text(orders(authority, directory, NAME, "away.freehold.test"))
        server.restart()
        wait(server, lambda: count(server, "failed") == 1)
        assert server.endpoint["is_self_signed"]
        assert "does not serve: the certificate in" in server.output()
        detail = doctor(server)["detail"]
        assert "away.freehold.test was not proven" in detail and "port 443" in detail, detail
        # Mended.
        del names.elsewhere["away.freehold.test"]
        reload(server)
        wait(server, lambda: count(server, "made") == 1)
        assert answers(server, one.context()) and answers(server, one.context(), "away.freehold.test")
        assert shown(server) != first

        # The authority has lost its memory: another account is made.
        one.close()
        one = Pebble(authority.folder, authority, names, port, listen)
        (path,) = kept(server)
        path.unlink()
        server.restart()
        wait(server, lambda: count(server, "made") == 1)
        assert answers(server, one.context())

        # Turned off, nothing tells of it.
        config.write_text("[tls]\nself_signed = true\n")
        server.restart()
        assert not (server.data / "acme" / "state.json").exists()
        assert count(server, "made") is None
    finally:
        names.elsewhere.clear()
        if one is not None:
            one.close()
        server.close()


def test_a_certificate_is_renewed_below_connections_that_stand(authority, names):
    """A third of thirty seconds before its end."""
    pebble()
    port, listen = free_port(), free_port()
    one = Pebble(authority.folder, authority, names, port, listen, life_s=30)
    server = Server(orders(authority, one.directory, NAME))
    server.listen = f"127.0.0.1:{listen}"
    try:
        server.start()
        wait(server, lambda: count(server, "made") == 1)
        first, begun = shown(server), time.monotonic()
        first_begins, first_ends = life(server, one.context())
        with handshake(server, one.context()) as stands:
            while shown(server) == first:
                assert time.monotonic() - begun < 30, server.output()[-3000:]
                stands.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
                assert stands.recv(4096).startswith(b"HTTP/1.1 "), "no connection is dropped"
                assert answers(server, one.context()), "somebody was shown one that had ended"
                time.sleep(0.2)
            begins, _ = life(server, one.context())
            assert first_begins + 0.6 * 30 <= begins < first_ends, "when a third of it is left"
            stands.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert stands.recv(4096).startswith(b"HTTP/1.1 ")
        assert answers(server, one.context())
        assert count(server, "failed") == 0
    finally:
        server.close()
        one.close()


def endless(handler):
    """A body that does not end."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")


def hang_up(handler):
    """The end in the middle of everything."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def test_an_authority_that_means_harm_is_not_believed(authority):
    impostor = Impostor(authority)
    server = Server(orders(authority, impostor.base + "/dir", NAME))
    away = {"status": "ready", "identifiers": [], "authorizations": [], "finalize": "http://127.0.0.1:1/finalize"}
    problem = {"type": "urn:ietf:params:acme:error:malformed", "detail": "\x1b[2J" + "x" * 100_000, "status": 400}
    other = authority.sign("other", authority.make_key("other"), names=f"DNS:{NAME}").read_bytes()

    try:
        server.start()
        # It does what it should, once: the test shows that what follows fails for its own reason.
        wait(server, lambda: count(server, "made") == 1)
        good = shown(server)
        assert all(agent.startswith("freehold/") for what, agent in impostor.asked), impostor.asked
        (path,) = kept(server)
        text = path.read_bytes()
        path.unlink()
        failures = 0
        for answers_, says in (
                ({"dir": (200, b"{", {})}, "not do as it was asked"),
                ({"dir": (200, b"[" * 100_000, {})}, "not do as it was asked"),
                ({"dir": (200, b"", {})}, "not do as it was asked"),
                # Texts that are no URLs, and a wait to the end of time.
                ({"dir": (200, {name: "https://[" for name in ("newNonce", "newAccount", "newOrder")}, {}),
                  "account": (200, b"{", {})}, "ended the order in the middle|not do as it was asked"),
                ({"looked": (200, {**away, "status": "processing"}, {"Retry-After": "18446744073709551615"})},
                 "not do as it was asked"),
                ({"dir": (302, b"", {"Location": "https://localhost:1/"})}, "not do as it was asked"),
                ({"dir": (200, b" " * (300 << 10), {})}, "answered with more than 262144 bytes"),
                ({"dir": endless}, "answered with more than 262144 bytes"),
                ({"dir": (200, b"{}", {"X-Long": "x" * (64 << 10)})}, "broke off"),
                ({"dir": hang_up}, "broke off"),
                ({"order": (400, problem, {})}, r" \[2Jxxx"),
                ({"order": (201, away, {"Location": impostor.base + "/looked"}), "looked": (200, away, {})},
                 "does not begin with https://"),
                ({"proof": (200, {"status": "valid", "identifier": {"type": "dns", "value": "evil.example"},
                                  "challenges": []}, {})}, 'proof of "evil.example", which was not ordered'),
                ({"proof": (200, {"status": "pending", "identifier": {"type": "dns", "value": NAME},
                                  "challenges": []}, {})}, "takes no proof of api.freehold.test by tls-alpn-01"),
                ({"chain": (200, b"no certificate", {})}, "has no certificate in PEM"),
                ({"chain": (200, other, {})}, "is not that of the certificate"),
                ({"chain": (200, text.split(b"-----END PRIVATE KEY-----")[1], {})}, "is not that of the certificate"),
                ("ends", "has expired: it ended at 2021-01-01"),
                ("names", "does not name api.freehold.test"),
                ({"order": (429, {**problem, "detail": "later"}, {"Retry-After": "7200"})}, "later")):
            # Whom nobody has is ordered anew at a restart; a reload tries again after a failure.
            impostor.certificate, impostor.answers = None, answers_ if isinstance(answers_, dict) else {}
            sign = impostor.sign
            if answers_ == "ends":
                impostor.sign = lambda request: sign(request, ends="20210101000000Z")
            if answers_ == "names":
                impostor.sign = lambda request: sign_for(authority, request, "DNS:evil.example")
            if failures == 0:
                server.restart()
            else:
                reload(server)
            failures += 1
            wait(server, lambda: count(server, "failed") == failures)
            impostor.__dict__.pop("sign", None)
            detail = doctor(server)["detail"]
            assert re.search(says, detail), (says, detail)
            assert "\x1b" not in detail and len(detail) < 800 and "\x1b[2J" not in server.output()
            assert kept(server) == [] and shown(server) != good
            assert send(server.admin, "GET", "/healthz").status == 200
        # It asked to be left alone, and is, whoever is in a hurry.
        impostor.answers = {}
        reload(server)
        time.sleep(1)
        assert count(server, "failed") == failures and count(server, "made") == 0
        state = json.loads((server.data / "acme" / "state.json").read_text())
        assert 7000 < state["next"] - time.time() < 7300
    finally:
        server.close()
        impostor.close()


@pytest.mark.parametrize("what", ["proof", "looked"])
def test_an_order_whose_nonces_are_refused_is_begun_anew(authority, what):
    """As an authority of many machines does now and then, and Pebble here by chance: as it begins, or amid its
    proofs."""
    impostor = Impostor(authority)
    challenge = {"type": "tls-alpn-01", "url": f"{impostor.base}/challenge", "status": "pending", "token": "t"}
    unproven = {"status": "pending", "identifier": {"type": "dns", "value": NAME}, "challenges": [challenge]}
    amid = {"proof": (200, unproven, {}), "challenge": (200, challenge, {})} if what == "looked" else {}
    server = Server(orders(authority, impostor.base + "/dir", NAME))
    refusal = {"type": "urn:ietf:params:acme:error:badNonce", "detail": "not this one", "status": 400}
    text, refused = json.dumps(refusal).encode(), []

    def refuse(handler):
        refused.append(handler.path)
        if len(refused) == 5:
            impostor.answers = {}
        handler.send_response(400)
        for name, value in (("Replay-Nonce", "bm9uY2U"), ("Content-Length", str(len(text)))):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)
    impostor.answers = {**amid, what: refuse}
    ordered = lambda: len([what for what, _ in impostor.asked if what == "order"])
    try:
        server.start()
        wait(server, lambda: count(server, "made") == 1)
        assert (count(server, "failed"), len(refused), ordered()) == (0, 5, 2)
        # One that never takes any is left alone, as for any other failure.
        (path,) = kept(server)
        path.unlink()
        impostor.answers, impostor.certificate = {**amid, what: (400, refusal, {})}, None
        server.restart()
        wait(server, lambda: count(server, "failed") == 1)
        assert "badNonce" in doctor(server)["detail"] and ordered() == 5
    finally:
        server.close()
        impostor.close()


def sign_for(authority, request, names):
    """A certificate for the key of a request and other names."""
    folder = authority.folder
    (folder / "given.der").write_bytes(request)
    authority.openssl("req", "-inform", "DER", "-in", folder / "given.der", "-pubkey", "-noout", "-out",
                      folder / "given.pub")
    key = authority.make_key("names")
    authority.openssl("req", "-new", "-key", key, "-subj", "/CN=names", "-addext", f"subjectAltName={names}",
                      "-out", folder / "names.csr")
    authority.openssl("x509", "-req", "-in", folder / "names.csr", "-force_pubkey", folder / "given.pub",
                      "-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-copy_extensions",
                      "copy", "-days", "30", "-out", folder / "names.pem")
    return (folder / "names.pem").read_bytes() + authority.certificate.read_bytes()


def test_an_authority_that_nobody_vouches_for_is_not_called(authority):
    impostor = Impostor(authority)
    other = make_folder("strange")
    server = Server(orders(Authority(other), impostor.base + "/dir", NAME))
    try:
        server.start()
        wait(server, lambda: count(server, "failed") == 1)
        assert "is not believed" in doctor(server)["detail"] and impostor.asked == []
    finally:
        server.close()
        impostor.close()
        shutil.rmtree(other, ignore_errors=True)


def test_what_does_not_go_together_is_refused_in_words(authority):
    for more, says in (("", "tls.acme_accept_terms has to be true"),
                       ('self_signed = true\nacme_accept_terms = true\n', "tls.self_signed makes a certificate")):
        folder = make_folder("config")
        try:
            (folder / "freehold.toml").write_text(f'[tls]\nacme_names = ["{NAME}"]\n{more}')
            done = subprocess.run([str(binary()), "config", "show", "--data", str(folder)], capture_output=True,
                                  text=True, timeout=60)
            assert done.returncode == 2 and says in done.stderr, done.stderr
        finally:
            shutil.rmtree(folder)
