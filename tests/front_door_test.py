"""The front door: TLS and its certificates, HTTP/2, the names of the server, and what knocks there.

Timeouts that are longer than a test are tested where the clock can be turned:
`crates/api/src/{listener/http2,unread,body}.rs`.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest

from support import http2
from support.certificates import Authority, fingerprint
from support.functions import Functions, python
from support.http import send, signed, url_host_and_id
from support.server import NotReady, Server, binary, make_folder

LIST = "/2015-03-31/functions/"
MIB = 1 << 20
# As much text as the event asks for, and what of it a caller's line is told by.
BODY = """
def handler(event, context):
    if 'requestContext' not in event:
        return event
    asked = event.get('rawQueryString') or ''
    return 'x' * int(asked) if asked.isdigit() else event
"""


@pytest.fixture(scope="module")
def authority():
    folder = make_folder("certificates")
    try:
        yield Authority(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def secure(authority):
    """A server with a certificate of the authority's, its files below `live`, and a public function."""
    live = authority.folder / "live"
    live.mkdir()
    key = authority.make_key("first")
    shutil.copy(authority.sign("first", key), live / "tls.pem")
    shutil.copy(key, live / "tls.key")
    server = Server('[limits]\nbytes_in_flight = "80MiB"\n',
                    ["--tls-cert", str(live / "tls.pem"), "--tls-key", str(live / "tls.key")])
    server.live, server.trusted = live, str(authority.certificate)
    try:
        server.start()
        server.functions = Functions(server)
        server.name = server.functions.create(python(BODY), Timeout=30)
        server.function_url = server.functions.public_url(server.name)
        server.host = url_host_and_id(server.function_url)[0]
        yield server
    finally:
        server.close()


def port_of(server):
    return urllib.parse.urlsplit(server.url).port


def ask(server, context, path="/", host=None, connection=None):
    """The status, headers and body of one GET by HTTP/1.1 over TLS."""
    one = connection or http.client.HTTPSConnection("localhost", port_of(server), context=context, timeout=20)
    try:
        one.request("GET", path, headers={"Host": host or server.host})
        reply = one.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        if connection is None:
            one.close()


def shown(server):
    """The SHA-256 of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port_of(server)), 20) as plain:
        with context.wrap_socket(plain) as one:
            return hashlib.sha256(one.getpeercert(binary_form=True)).hexdigest()


def check_alive(server, context):
    assert ask(server, context, "/?5")[::2] == (200, b"xxxxx")


def resident_mib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmRSS"))) / 1024


# Clients


def test_real_clients_call_by_tls(secure, authority):
    assert secure.url == f"https://127.0.0.1:{port_of(secure)}", "which the certificate names"
    assert secure.function_url.startswith("https://")
    assert secure.functions.call(secure.name, {"a": 1}) == {"a": 1}
    location = secure.functions.client.get_function(FunctionName=secure.name)["Code"]["Location"]
    assert location.startswith(secure.url), location
    environment = {**secure.environment(), "AWS_CA_BUNDLE": str(authority.certificate)}
    if aws := shutil.which("aws"):
        done = subprocess.run([aws, "lambda", "list-functions", "--output", "json"], capture_output=True,
                              text=True, timeout=60, env=environment)
        assert done.returncode == 0 and secure.name in done.stdout, done.stderr
    # The server's machine knows the certificate without being told; another one is told.
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    ls = [str(binary()), "ls", "--json"]
    known = fingerprint(secure.live / "tls.pem")
    for arguments, env, status in (
            (["--data", str(secure.data)], clean, 0),
            (["--endpoint", secure.url], environment, 0),
            (["--endpoint", secure.url, "--fingerprint", known], secure.environment(), 0),
            (["--endpoint", secure.url], secure.environment(), 5),
            (["--endpoint", secure.url, "--fingerprint", known[::-1]], environment, 5)):
        done = subprocess.run([*ls, *arguments], capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == status, (arguments, done.stderr)
        assert (secure.name in done.stdout) == (status == 0), done.stdout
        assert status == 0 or "certificate" in done.stderr, done.stderr


def test_curl_speaks_both_versions(secure, authority):
    for flag, version in (("--http1.1", "1.1"), ("--http2", "2")):
        done = subprocess.run(
            ["curl", "-sS", flag, "--cacert", str(authority.certificate), "-w", "\n%{http_version} %{http_code}",
             "--resolve", f"{secure.host}:127.0.0.1", "-d", "text", secure.function_url + "a?b"],
            capture_output=True, text=True, timeout=60)
        event, told = done.stdout.rsplit("\n", 1)
        assert told == f"{version} 200", (done.stdout, done.stderr)
        event = json.loads(event)
        headers = event["headers"]
        assert headers["x-forwarded-proto"] == "https" and headers["host"] == secure.host.split(":")[0]
        assert event["requestContext"]["http"]["method"] == "POST" and event["rawPath"] == "/a"


NODE = """
const http2 = require('node:http2'), fs = require('node:fs')
const [url, host, file, query] = process.argv.slice(1)
const session = http2.connect(url, { ca: fs.readFileSync(file) })
session.on('error', (error) => { console.error(error); process.exit(1) })
const one = (number) => new Promise((done, failed) => {
  const stream = session.request({ ':path': `/?${query}`, ':authority': host, cookie: ['a=1', 'b=2'] })
  let status = 0, size = 0
  stream.on('response', (headers) => { status = headers[':status'] })
  stream.on('data', (part) => { size += part.length })
  stream.on('end', () => done([status, size])).on('error', failed)
  stream.end()
})
Promise.all(Array.from({ length: 20 }, (_, number) => one(number))).then((all) => {
  console.log(JSON.stringify(all))
  session.close()
})
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node: its HTTP/2 client was not tried")
def test_twenty_calls_at_once_on_one_connection_of_node(secure, authority):
    done = subprocess.run(["node", "-e", NODE, secure.url, secure.host, str(authority.certificate), "200000"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[200, 200_000]] * 20


# Certificates


def test_a_reload_swaps_the_certificate_and_drops_no_connection(secure, authority):
    one = http.client.HTTPSConnection("localhost", port_of(secure), context=authority.context(), timeout=20)
    two = http2.Connection(secure.url, authority.context(["h2"]))
    try:
        assert ask(secure, None, "/?3", connection=one)[2] == b"xxx"
        before = fingerprint(secure.live / "tls.pem")
        assert shown(secure) == before
        key = authority.make_key("second")
        shutil.copy(authority.sign("second", key), secure.live / "tls.pem")
        refused = secure.cli("reload", "--data", secure.data, check=False, env={"AWS_ENDPOINT_URL": ""})
        assert refused.returncode == 4 and "is not that of the certificate" in refused.stderr, refused.stderr
        assert shown(secure) == before
        shutil.copy(key, secure.live / "tls.key")
        done = secure.cli("reload", "--json", "--data", secure.data, env={"AWS_ENDPOINT_URL": ""})
        after = fingerprint(secure.live / "tls.pem")
        (change,) = json.loads(done.stdout)["applied"]
        plain = [change[when].replace(":", "").lower() for when in ("before", "now")]
        assert before in plain[0] and after in plain[1] and change["key"] == "tls.certificate"
        assert shown(secure) == after
        # Who was there stays, and the machine's own clients know the new one.
        assert ask(secure, None, "/?4", connection=one)[2] == b"xxxx"
        stream = two.ask(http2.head(secure.host, "/?5"))
        assert two.end_of(stream)[3] == b"xxxxx"
        secure.cli("ls", "--data", secure.data, env={"AWS_ENDPOINT_URL": ""})
        # The same again changes nothing.
        done = secure.cli("reload", "--json", "--data", secure.data, env={"AWS_ENDPOINT_URL": ""})
        assert json.loads(done.stdout)["applied"] == []
        metrics = send(secure.admin, "GET", "/metrics").text
        assert re.search(r"^freehold_certificate_ends_seconds 28401\d{5}", metrics, re.M), metrics
    finally:
        one.close()
        two.close()


def test_what_clients_would_refuse_is_not_taken(secure, authority):
    """By a reload, where a refusal costs no start; one of them by a start, too."""
    good = {name: (secure.live / name).read_bytes() for name in ("tls.pem", "tls.key")}
    key = authority.make_key("wrong")
    of = authority.sign("right", key).read_text()
    first, second = (part + "-----END CERTIFICATE-----\n" for part in of.split("-----END CERTIFICATE-----\n")[:2])
    expired = authority.sign("expired", key, ends="20210101000000Z")
    cases = [
        (expired.read_text(), "has expired: it ended at 2021-01-01T00:00:00Z"),
        (authority.sign("early", key, begins="20590101000000Z").read_text(), "is not valid yet"),
        (authority.sign("nameless", key, names=None).read_text(), "names no host"),
        (second + first, "is number 2 in"),
        (first + first, "number 2 in"),
        (second, "is not that of the certificate"),
        (first[:-40], "does not read as a certificate in PEM"),
        ("", "has no certificate in PEM"),
        ("#" * (256 << 10) + "\n", "is larger than 262144 bytes"),
        (None, "could not be read"),
    ]
    reload = ["reload", "--data", secure.data]
    before = shown(secure)
    try:
        shutil.copy(key, secure.live / "tls.key")
        for text, says in cases:
            (secure.live / "tls.pem").unlink(missing_ok=True)
            if text is not None:
                (secure.live / "tls.pem").write_text(text)
            done = secure.cli(*reload, check=False, env={"AWS_ENDPOINT_URL": ""})
            assert done.returncode == 4 and says in done.stderr.replace("\n", " "), (says, done.stderr)
            assert "tls.pem" in done.stderr and "PRIVATE" not in done.stderr
        (secure.live / "tls.pem").write_text(first)
        # A start that could read it while a reload cannot is refused.
        (secure.live / "tls.key").chmod(0o600)
        os.chown(secure.live / "tls.key", 0, 0)
        if os.geteuid() == 0:
            done = secure.cli(*reload, check=False, env={"AWS_ENDPOINT_URL": ""})
            assert done.returncode == 4 and "Permission denied" in done.stderr, done.stderr
        assert shown(secure) == before
    finally:
        for name, content in good.items():
            (secure.live / name).unlink(missing_ok=True)
            (secure.live / name).write_bytes(content)
    secure.cli(*reload, env={"AWS_ENDPOINT_URL": ""})
    rooted = authority.make_key("rooted")
    pair = authority.sign("rooted", rooted)
    rooted.chmod(0o600)
    cases = [(expired, key, "has expired: it ended at 2021-01-01")]
    if os.geteuid() == 0:
        cases.append((pair, rooted, "rooted.key cannot be read as user 2146000000.*setfacl"))
    for certificate, key, says in cases:
        other = Server(arguments=["--tls-cert", str(certificate), "--tls-key", str(key)])
        try:
            with pytest.raises(NotReady, match=says):
                other.start()
            assert other.process.returncode == 4
        finally:
            other.close()


def test_one_of_its_own_making_is_trusted_by_what_env_says(start_server):
    server = start_server(arguments=["--set", "tls.self_signed=true"])
    keys = server.keys()
    bundle = server.data / "tls" / "certificate.pem"
    assert keys["AWS_CA_BUNDLE"] == keys["NODE_EXTRA_CA_CERTS"] == str(bundle)
    digits = fingerprint(bundle)
    assert shown(server) == digits
    told = re.search(r"TLS +self-signed, sha256:([0-9A-F:]+) until", server.output())
    assert told.group(1).replace(":", "").lower() == digits
    assert (server.data / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    server.trusted = str(bundle)
    assert server.client("lambda").list_functions()["Functions"] == []
    server.cli("ls")
    if node := shutil.which("node"):
        script = "fetch(process.env.AWS_ENDPOINT_URL).then((r) => console.log(r.status))"
        done = subprocess.run([node, "-e", script], capture_output=True, text=True, timeout=60,
                              env=server.environment())
        assert done.stdout == "501\n", done.stderr
    server.restart()
    assert shown(server) == digits, "it is made once"
    # With another name it is made anew, for the same key: who pinned that goes on.
    pinned = re.search(r"its key sha256:([0-9A-F:]+)", server.output()).group(1)
    server.arguments += ["--set", "server.hosts=api.example.org"]
    server.restart()
    assert shown(server) != digits
    assert fingerprint(bundle) == shown(server)
    ls = ["ls", "--endpoint", server.url, "--fingerprint"]
    server.cli(*ls, pinned, env={"AWS_CA_BUNDLE": ""})
    gone = server.cli(*ls, digits, check=False, env={"AWS_CA_BUNDLE": ""})
    assert gone.returncode == 5 and "another certificate" in gone.stderr, gone.stderr
    # A function still calls the platform in clear, within its own network.
    functions = Functions(server)
    name = functions.create(python(
        "import os\ndef handler(e, c): return os.environ['AWS_ENDPOINT_URL']\n"))
    assert functions.call(name).startswith("http://")


# Names


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own takes root: no listener off loopback was tried")
@pytest.mark.parametrize("insecure", [False, True])
def test_off_loopback_nothing_is_in_clear_unless_it_is_asked_for(insecure):
    server = Server(arguments=["--insecure"] if insecure else [])
    server.wrapped_in = ["unshare", "--net", "sh", "-c",
                         'ip link set lo up; ip address add 192.0.2.7/32 dev lo; exec "$@"', "sh"]
    server.listen = "192.0.2.7:0"
    try:
        server.start()
        scheme = "http" if insecure else "https"
        assert server.url.startswith(f"{scheme}://192.0.2.7:")
        assert server.admin.startswith("http://127.0.0.1:"), "on loopback"

        def curl(*arguments):
            done = subprocess.run(
                ["nsenter", "--net", "-t", str(server.process.pid), "curl", "-sS", "-m", "20", "-o", "/dev/stdout",
                 "-w", " %{http_code}", *arguments], capture_output=True, text=True, timeout=60)
            return done.stdout

        trusted = [] if insecure else ["--cacert", str(server.data / "tls" / "certificate.pem")]
        assert curl(*trusted, server.url + LIST).endswith(" 403")
        assert curl(*trusted, "-H", "Host: evil.example", server.url + LIST).endswith(" 421")
        if not insecure:
            clear = curl(server.url.replace("https", "http") + LIST)
            assert clear == "TLS is spoken here: the URL begins with https://\n 400"
        done = subprocess.run(["nsenter", "--net", "-t", str(server.process.pid), str(binary()), "ls", "--data",
                               str(server.data)], capture_output=True, text=True, timeout=60,
                              env={k: v for k, v in os.environ.items() if not k.startswith("AWS_")})
        assert done.returncode == 0, done.stderr
    finally:
        server.close()


def test_a_name_that_is_not_the_servers_is_refused(start_server):
    """As a browser does whose page had its own name point here."""
    server = start_server("[limits]\n")
    functions = Functions(server)
    url = functions.public_url(functions.create())
    host, id = url_host_and_id(url)
    path, port = f"/_freehold/url/{id}/", urllib.parse.urlsplit(server.url).port

    def status(host, path=path, base=server.url):
        return send(base, "GET", path, {"Host": host}).status

    for known in (f"127.0.0.1:{port}", "localhost", "LocalHost:1", "a.localhost", "[::1]:7070", host):
        assert status(known) == 200, known
    for strange in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "0.0.0.0", "10.0.0.1",
                    "user@localhost", "api.example.org", ""):
        assert status(strange) == 421, strange
        assert status(strange, "/metrics", server.admin) == 421, strange
    reply = send(server.url, "GET", path, {"Host": "evil.example"})
    assert "\\\"evil.example\\\"" in reply.text and "server.hosts" in reply.text, reply.text
    assert send(server.url, "GET", path, {"Host": ["localhost", "localhost"]}).status == 400
    with socket.create_connection(("127.0.0.1", port), 20) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        assert one.recv(65536).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", port), 20) as one:
        one.sendall(f"GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert one.recv(65536).startswith(b"HTTP/1.1 400")
    (server.folder / "freehold.toml").write_text('[server]\nhosts = ["api.example.org", "*.wild.example"]\n')
    server.cli("reload")
    assert status("api.example.org") == status("a.wild.example:7") == 200
    assert status("api.example.org", "/metrics", server.admin) == 200
    assert status("evil.example") == 421


def test_who_asks_is_believed_of_named_proxies_alone(start_server):
    server = start_server("[server]\n")
    functions = Functions(server)
    host, _ = url_host_and_id(functions.public_url(functions.create()))

    def told():
        said = {"Host": host, "X-Forwarded-For": ["1.2.3.4", "198.51.100.7, 127.0.0.1"], "X-Forwarded-Proto": "https"}
        event = send(server.url, "GET", "/", said).text
        event = json.loads(event)
        headers = event["headers"]
        assert headers["x-forwarded-for"] == event["requestContext"]["http"]["sourceIp"]
        return headers["x-forwarded-for"], headers["x-forwarded-proto"]

    assert told() == ("127.0.0.1", "http")
    (server.folder / "freehold.toml").write_text('[server]\nproxies = ["127.0.0.0/8"]\n')
    server.cli("reload")
    assert told() == ("198.51.100.7", "https")
    assert send(server.url, "GET", LIST, {"X-Forwarded-For": "198.51.100.8", "X-Amz-Date": "x"}).status == 403
    assert "198.51.100.8" in server.cli("audit", "--denied").stdout
    (server.folder / "freehold.toml").write_text('[server]\nproxies = ["10.0.0.0/8"]\n')
    server.cli("reload")
    assert told() == ("127.0.0.1", "http")


# Attacks


def test_clear_and_noise_are_turned_away_where_tls_is_spoken(secure, authority):
    for raw in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST"):
        with socket.create_connection(("127.0.0.1", port_of(secure)), 20) as one:
            one.sendall(raw)
            answer = b""
            while part := one.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer
    for raw in (b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000, b"\x16", b"\x80\x2e\x01\x03\x01"):
        with socket.create_connection(("127.0.0.1", port_of(secure)), 20) as one:
            try:
                one.sendall(raw)
                one.shutdown(socket.SHUT_WR)
                while one.recv(65536):
                    pass
            except OSError:
                pass
    for most in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, most
        with socket.create_connection(("127.0.0.1", port_of(secure)), 20) as plain:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                old.wrap_socket(plain)
    check_alive(secure, authority.context())


def test_many_handshakes_that_do_not_end_hold_up_nobody_and_are_cut(secure, authority):
    """A byte of each now and then would hold a connection for as long as it likes."""
    begun, held = time.monotonic(), []
    record = b"\x16\x03\x01\x02\x00" + b"\x01\x00\x01\xfc\x03\x03" + b"\0" * 400
    try:
        for number in range(300):
            held.append(socket.create_connection(("127.0.0.1", port_of(secure)), 20))
            held[-1].sendall(record[:number % 6])
        for at in range(6, 16):
            check_alive(secure, authority.context())
            for one in held:
                try:
                    one.sendall(record[at:at + 1])
                except ConnectionError:
                    pass
            time.sleep(0.2)
        for one in held:
            one.settimeout(15)
            try:
                while one.recv(4096):
                    pass
            except ConnectionError:
                pass
        assert time.monotonic() - begun < 60
    finally:
        for one in held:
            one.close()


def connection(secure, authority, **settings):
    return http2.Connection(secure.url, authority.context(["h2"]), **settings)


def test_requests_that_are_cancelled_at_once_are_cut_off(secure, authority):
    before = resident_mib(secure)
    for at_once in (True, False):
        with connection(secure, authority) as one:
            head = http2.block(http2.head(secure.host, "/?5"))
            is_open = True
            for stream in range(1, 20_001, 2):
                begin = http2.frame(http2.HEADERS, 5, stream, head)
                cancel = http2.frame(http2.RESET, 0, stream, b"\0\0\0\x08")
                is_open = one.send(begin + cancel) if at_once else one.send(begin) and one.send(cancel)
                if not is_open:
                    break
            frames = one.until(lambda one: one[0] == http2.GOAWAY)
            assert frames[-1] is None or http2.error_of(frames[-1]) == http2.ENHANCE_YOUR_CALM, frames[-1]
        check_alive(secure, authority.context())
    assert resident_mib(secure) - before < 50


def test_a_header_block_without_an_end_is_cut_off(secure, authority):
    before = resident_mib(secure)
    with connection(secure, authority) as one:
        one.send(http2.frame(http2.HEADERS, 0, 1, http2.block(http2.head(secure.host))))
        more = http2.frame(http2.CONTINUATION, 0, 1, http2.block([("x", "y" * 8000)]))
        sent = 0
        while sent < 64 * MIB and one.send(more):
            sent += len(more)
        assert sent < 64 * MIB, "nobody stopped it"
    with connection(secure, authority) as one:
        # Each of them nearly nothing.
        one.send(http2.frame(http2.HEADERS, 0, 1, http2.block(http2.head(secure.host))))
        empty = http2.frame(http2.CONTINUATION, 0, 1) * 100
        assert not all(one.send(empty) for _ in range(2000)), "nobody stopped it"
    assert resident_mib(secure) - before < 50
    check_alive(secure, authority.context())


def test_a_header_list_beyond_the_limit_is_answered(secure, authority):
    with connection(secure, authority) as one:
        many = [(f"x-{number}", "y" * 100) for number in range(520)]
        block = http2.block(http2.head(secure.host, more=many))
        pieces = [block[at:at + 16_000] for at in range(0, len(block), 16_000)]
        one.send(http2.frame(http2.HEADERS, 1, 1, pieces[0]))
        one.send(*(http2.frame(http2.CONTINUATION, 4 * (piece is pieces[-1]), 1, piece) for piece in pieces[1:]))
        one.next_stream = 3
        frames = one.until(lambda one: one[2] == 1)
        assert frames[-1][0] in (http2.HEADERS, http2.RESET), frames
        # Others on the connection go on.
        stream = one.ask(http2.head(secure.host, "/?5"))
        assert one.end_of(stream)[3] == b"xxxxx"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_hundred_fields_are_taken_and_one_more_is_answered(secure, authority, version):
    """`host`, `user-agent` and `accept` are three of them."""
    for fields, expected in ((97, "200"), (98, "431")):
        more = [part for number in range(fields) for part in ("-H", f"x-{number}: y")]
        done = subprocess.run(
            ["curl", "-sS", version, "--cacert", str(authority.certificate), "-o", os.devnull, "-w", "%{http_code}",
             "--resolve", f"{secure.host}:127.0.0.1", *more, secure.function_url + "?5"],
            capture_output=True, text=True, timeout=60)
        assert done.stdout == expected, (fields, done.stdout, done.stderr)


def test_large_heads_are_on_the_shares_of_the_account(secure, authority):
    """Of 80 MiB the URLs of an account have 20: requests that run hold their heads, too."""
    slow = secure.functions.create(python("import time\ndef handler(e, c): time.sleep(12)\n"), Timeout=30)
    host = url_host_and_id(secure.functions.public_url(slow))[0]
    (secure.folder / "freehold.toml").write_text('[limits]\nbytes_in_flight = "1MiB"\nsync_payload = "100KiB"\n')
    reload = ["reload", "--data", secure.data]
    secure.cli(*reload, env={"AWS_ENDPOINT_URL": ""})
    try:
        calls = [subprocess.Popen(
            ["curl", "-sS", version, "--cacert", str(authority.certificate), "-o", os.devnull, "-w", "%{http_code}",
             "--interface", f"127.0.1.{number}", "--resolve", f"{host}:127.0.0.1",
             "-H", "x-large: " + "y" * 55_000, f"https://{host}/"],
            stdout=subprocess.PIPE, text=True)
            for version, numbers in (("--http1.1", range(1, 5)), ("--http2", range(5, 9))) for number in numbers]
        told = sorted(call.communicate(timeout=60)[0] for call in calls)
        # A quarter of 1 MiB has room for four of them.
        assert told == ["200"] * 4 + ["503"] * 4, told
    finally:
        (secure.folder / "freehold.toml").write_text('[limits]\nbytes_in_flight = "80MiB"\n')
        secure.cli(*reload, env={"AWS_ENDPOINT_URL": ""})
    check_alive(secure, authority.context())


@pytest.mark.parametrize("flood", [
    http2.frame(http2.PING, 0, 0, b"flooding"),
    http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 100)),
    http2.frame(http2.WINDOW, 0, 0, b"\0\0\0\x01"),
    http2.frame(http2.PRIORITY, 0, 1, b"\0\0\0\0\x10"),
], ids=["ping", "settings", "window", "priority"])
def test_floods_of_frames_that_nobody_reads_the_answers_of(secure, authority, flood):
    """The kernel stops the sender once its own answers wait: nothing is gathered here."""
    before = resident_mib(secure)
    with connection(secure, authority, timeout=1) as one:
        many, sent = flood * (64_000 // len(flood)), 0
        while sent < 8 * MIB and one.send(many):
            sent += len(many)
        check_alive(secure, authority.context())
        assert resident_mib(secure) - before < 40
    check_alive(secure, authority.context())


def test_who_opens_no_window_holds_no_more_than_it_may(secure, authority):
    """Forty answers of a megabyte on each of two connections; the URLs of an account have 20 MiB."""
    before, held = resident_mib(secure), []
    try:
        for _ in range(2):
            held.append(connection(secure, authority, settings=http2.setting(4, 0)))
            for _ in range(40):
                held[-1].ask(http2.head(secure.host, f"/?{MIB}"))
            check_signed(secure)
        time.sleep(1)
        assert resident_mib(secure) - before < 100
        check_signed(secure)
        # Who opens its window is served.
        held[0].send(http2.frame(http2.SETTINGS, 0, 0, http2.setting(4, 1 << 20)),
                     http2.frame(http2.WINDOW, 0, 0, b"\x0f\0\0\0"))
        ended = held[0].end_of(1)
        assert ended[0] in (http2.DATA, http2.HEADERS), ended
    finally:
        for one in held:
            one.close()
    end = time.monotonic() + 20
    while ask(secure, authority.context(), "/?5")[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def check_signed(secure):
    """A call that has a share of its own."""
    assert secure.functions.call(secure.name, {"a": 2}) == {"a": 2}


def test_streams_beyond_the_limit_are_refused_and_the_others_answered(secure, authority):
    with connection(secure, authority, settings=http2.setting(4, 0)) as one:
        for _ in range(150):
            one.ask(http2.head("localhost", LIST))
        refused = set()
        while len(refused) < 50:
            frame = one.read()
            assert frame is not None and frame[0] != http2.GOAWAY, frame
            if frame[0] == http2.RESET:
                assert http2.error_of(frame) == http2.REFUSED_STREAM
                refused.add(frame[2])
        assert refused == set(range(201, 301, 2))
        one.send(http2.frame(http2.SETTINGS, 0, 0, http2.setting(4, 1000)))
        assert b"Missing Authentication Token" in one.end_of(199)[3]


def test_nothing_is_smuggled_by_http2(secure, authority):
    def ends(headers, *frames, flags=4):
        with connection(secure, authority) as one:
            stream = one.ask(headers, flags)
            one.send(*(http2.frame(*each) for each in frames))
            got = one.until(lambda one: one[0] == http2.GOAWAY or one[2] == stream
                            and one[0] in (http2.HEADERS, http2.RESET))[-1]
            if got is None or got[0] != http2.HEADERS:
                return "refused"
            # 400 is the twelfth of HPACK's own table, 200 the eighth.
            return {0x8c: 400, 0x88: 200}.get(got[3][0], "answered")

    head, end = http2.head, 1
    post = lambda *more: head(secure.host, "/", "POST", more)
    assert ends(post(("content-length", "5")), (http2.DATA, end, 1, b"12345")) == 200
    smuggled = b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for headers, body in (
            (post(("content-length", "3")), b"12345"), (post(("content-length", "9")), b"12345"),
            (post(("content-length", "3"), ("content-length", "5")), b"12345"),
            (post(("transfer-encoding", "chunked")), smuggled), (post(("connection", "close")), b""),
            (post(("X-Upper", "a")), b""), (post(("x", "a\r\nhost: b")), b""), (post(("x\r\nhost", "b")), b""),
            (head(secure.host)[1:], b""), (head(secure.host)[:1] + head(secure.host), b""),
            (head(secure.host, ""), b"")):
        assert ends(headers, (http2.DATA, end, 1, body)) in ("refused", 400), headers
    assert ends(post(("host", "localhost")), (http2.DATA, end, 1, b"")) == 400
    assert ends([(":method", "CONNECT"), (":authority", secure.host)], flags=5) == "answered"
    assert ends(head("evil.example"), flags=5) == "answered", "with 421"
    assert ends(head("evil.example", f"/_freehold/url/{secure.host.split('.')[0]}/"), flags=5) != 200
    check_alive(secure, authority.context())


def test_what_ends_in_the_middle_leaves_nothing_behind(secure, authority):
    """Prefaces, frames, header blocks and bodies that are cut anywhere."""
    head = http2.block(http2.head(secure.host, "/", "POST"))
    whole = (http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0) + http2.frame(http2.HEADERS, 4, 1, head)
             + http2.frame(http2.DATA, 0, 1, b"half"))
    for cut in range(0, len(whole), 5):
        context = authority.context(["h2"])
        with socket.create_connection(("127.0.0.1", port_of(secure)), 20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as one:
                one.sendall(whole[:cut])
    check_alive(secure, authority.context())
    port, end = f":{port_of(secure):04X}", time.monotonic() + 20
    while True:
        with open(f"/proc/{secure.process.pid}/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        if sum(row[1].endswith(port) and row[3] != "0A" and row[9] != "0" for row in rows) <= 2:
            break
        assert time.monotonic() < end, rows
        time.sleep(0.1)


def test_idle_connections_at_the_cap_let_others_in(authority):
    """With 1,024 descriptors there are 512 places: who idles in a crowd loses its own within seconds."""
    key = authority.make_key("cap")
    server = Server(arguments=["--tls-cert", str(authority.sign("cap", key)), "--tls-key", str(key)])
    server.wrapped_in = ["prlimit", "--nofile=1024:1024"]
    held = []
    try:
        server.start()
        for _ in range(700):
            held.append(socket.create_connection(("127.0.0.1", port_of(server)), 20))
        begun = time.monotonic()
        idle = http2.Connection(server.url, authority.context(["h2"]), timeout=25)
        assert ask(server, authority.context(), LIST, "localhost")[0] == 403
        assert time.monotonic() - begun < 24
        # Shown by HTTP/2 too, where a connection may be idle without a head that is waited for.
        assert idle.until(lambda one: one[0] == http2.GOAWAY)[-1] is not None
        idle.close()
    finally:
        for one in held:
            one.close()
        server.close()


def named_server(authority):
    """A server whose certificate has the names of its URLs; not started."""
    key = authority.make_key("stop")
    certificate = authority.sign("stop", key, names="DNS:localhost,DNS:*.lambda-url.us-east-1.localhost")
    server = Server(arguments=["--tls-cert", str(certificate), "--tls-key", str(key)])
    server.trusted = str(authority.certificate)
    return server


def test_a_stop_waits_for_what_the_kernel_still_sends(authority):
    """A client says over HTTP/2 what it has read, which resets a socket that is closed already."""
    server = named_server(authority)
    try:
        server.start()
        functions = Functions(server)
        size = 300_000
        name = functions.create(python(f"def handler(e, c):\n    return 'x' * {size}\n"))
        host = url_host_and_id(functions.public_url(name))[0]
        one = http2.Connection(server.url, authority.context(["h2"]), http2.setting(4, 1 << 24),
                               unread_bytes=32 << 10)
        one.send(http2.frame(http2.WINDOW, 0, 0, (1 << 24).to_bytes(4, "big")))
        stream = one.ask(http2.head(host))
        one.until(lambda frame: frame[2] == stream and frame[0] == http2.HEADERS)
        ended = []
        stopping = threading.Thread(target=lambda: ended.append(server.stop()))
        stopping.start()
        came = 0
        while True:
            frame = one.read()
            assert frame is not None, f"cut off after {came} bytes"
            if frame[0] == http2.PING and not frame[1] & http2.ACK:
                one.send(http2.frame(http2.PING, http2.ACK, 0, frame[3]))
            if frame[0] != http2.DATA:
                continue
            came += len(frame[3])
            if frame[1] & http2.END_STREAM:
                break
            taken = len(frame[3]).to_bytes(4, "big")
            one.send(http2.frame(http2.WINDOW, 0, 0, taken), http2.frame(http2.WINDOW, 0, stream, taken))
            # Long after the server has given its last byte to the kernel.
            time.sleep(0.3)
        assert came == size
        assert not ended, "it has waited for its client"
        one.close()
        stopping.join()
        assert ended == [0]
    finally:
        server.close()


def test_a_stop_ends_connections_in_order(authority):
    server = named_server(authority)
    try:
        server.start()
        assert server.url == f"https://localhost:{port_of(server)}", "whom the certificate names"
        functions = Functions(server)
        # By its URL it sleeps.
        name = functions.create(python("import time\ndef handler(e, c):\n    time.sleep(6 if e else 0)\n    return 'done'\n"))
        host = url_host_and_id(functions.public_url(name))[0]
        functions.call(name)
        idle = http2.Connection(server.url, authority.context(["h2"]))
        one = http2.Connection(server.url, authority.context(["h2"]))
        # Takes two bytes at once: the rest is the server's to send when its function has long answered.
        narrow = http2.Connection(server.url, authority.context(["h2"]), http2.setting(4, 2))
        half = socket.create_connection(("127.0.0.1", port_of(server)), 20)
        half.sendall(b"\x16\x03\x01")
        trusting = {"AWS_CA_BUNDLE": server.trusted}
        functions.wait_busy(name, False, env=trusting)
        slow = narrow.ask(http2.head(host))
        stream = one.ask(http2.head(host))
        functions.wait_busy(name, env=trusting)
        ended = []
        stopping = threading.Thread(target=lambda: ended.append(server.stop()))
        begun = time.monotonic()
        stopping.start()
        data_of = lambda one, stream: one.until(lambda one: one[2] == stream and one[0] == http2.DATA)[-1]
        assert data_of(narrow, slow)[3] == b"do"
        # Longer than a connection without requests has.
        time.sleep(3)
        narrow.send(http2.frame(http2.WINDOW, 0, slow, (100).to_bytes(4, "big")))
        rest = data_of(narrow, slow)
        assert rest is not None, "it was cut off amid its answer"
        assert rest[3] == b"ne"
        assert data_of(one, stream)[3] == b"done"
        stopping.join()
        assert ended == [0] and time.monotonic() - begun < 14
        for each in (idle, one, narrow, half):
            each.close()
    finally:
        server.close()
