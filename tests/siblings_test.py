"""Instances of one start image, a thousand of them in `make faults`: what is to be drawn or given is each one's own.

What they may share is said elsewhere (docs/book/snapstart.md): what init made, and where things lie.
"""

import collections
import json
import os
import pathlib
import socket
import time
import urllib.parse

import pytest
from libraries_test import HELD, metric, needs_sdk, starts
from snapstart_test import ON, carried, publish

from support import doctor, http
from support import server as servers
from support.functions import Functions, zip_of

SIBLINGS = int(os.environ.get("SIBLINGS", "24"))
# At once, each in an instance of its own that is gone before the next ones come.
WAVE = 100
TAKES_S = 3 if SIBLINGS >= WAVE else 1
CONFIG = '[instances]\nidle_timeout = "300ms"\n'
# Imported in init, and so in the image of a version; drawn in the handler.
DRAWS = """
import os, random, secrets, ssl, sys, tempfile, time, uuid
import vdso_random
of_init = TOLD
if vdso_random.draw:
    vdso_random.draw()
TLS = ssl.create_default_context()
calls = 0
def hello():
    "Of a TLS client: its random, its session's id, its share of the key."
    sent = ssl.MemoryBIO()
    client = TLS.wrap_bio(ssl.MemoryBIO(), sent, server_hostname='a.test')
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    data = sent.read()[9:]
    at = 35 + data[34]
    found = {'tls random': data[2:34].hex(), 'tls session': data[35:at].hex()}
    at += 2 + int.from_bytes(data[at:at + 2], 'big')
    at += 1 + data[at] + 2
    while at < len(data):
        kind, size = int.from_bytes(data[at:at + 2], 'big'), int.from_bytes(data[at + 2:at + 4], 'big')
        if kind == 51:
            found['tls key share'] = data[at + 4:at + 4 + size].hex()
        at += 4 + size
    return found
def own(context):
    with tempfile.NamedTemporaryFile() as file:
        named = file.name
    return {
        **hello(),
        'random': random.random(), 'bits': random.getrandbits(64), 'Random()': random.Random().random(),
        'SystemRandom': random.SystemRandom().random(), 'secrets': secrets.token_hex(16),
        'urandom': os.urandom(16).hex(), 'openssl': ssl.RAND_bytes(16).hex(),
        'uuid1': uuid.uuid1().hex, 'node': str(uuid.uuid1())[24:], 'uuid4': uuid.uuid4().hex,
        **({'vdso': vdso_random.draw()} if vdso_random.draw else {}),
        'folder': tempfile.mkdtemp(), 'file': named,
        'request': context.aws_request_id, 'stream': context.log_stream_name,
        'token': os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN'], **keys(), **MORE(),
    }
def keys():
    names = 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'
    if os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'] == 'snap-start':
        assert not any(name in os.environ for name in names)
        return {}
    return {name: os.environ[name] for name in names}
def handler(event, context):
    global calls
    calls += 1
    seen = {'own': own(context), 'calls': calls, 'now': [time.time(), time.monotonic()], 'of init': of_init,
            'variable': os.environ['AWS_LAMBDA_LOG_STREAM_NAME'] == context.log_stream_name,
            'thawed': os.readlink('/proc/self/exe') == '/runtime'}
    time.sleep(event)
    return seen
"""
VDSO = (pathlib.Path(__file__).parent / "functions/python/vdso_random.py").read_text()
BARE = DRAWS.replace("TOLD", "None") + "MORE = dict\n"
SDK = f"told = {HELD}\nimport boto3, multiprocessing\nfrom urllib3 import filepost\n" + DRAWS.replace("TOLD", "told") + """
S3 = boto3.client('s3', region_name='us-east-1')
# Each instance runs this init itself.
DRAWN = f"{random.random()} {uuid.uuid4()} {next(tempfile._get_candidate_names())}"
def MORE():
    keys = S3._request_signer._credentials
    assert keys.access_key == os.environ['AWS_ACCESS_KEY_ID']
    return {'drawn': DRAWN, 'authkey': bytes(multiprocessing.current_process().authkey).hex(), 'boundary': filepost.choose_boundary()}
"""
NUMPY = "import numpy\n" + DRAWS.replace("TOLD", "numpy.random.default_rng(7).random()") + """
def MORE():
    return {'numpy': float(numpy.random.rand()), 'default_rng': float(numpy.random.default_rng().random())}
"""


@pytest.fixture(scope="module")
def quick():
    """A server that starts as many as are called for, none of which stays."""
    one = servers.Server(CONFIG)
    try:
        yield Functions(one.start())
    finally:
        one.close()


def needs_image(quick):
    """It is made a little after the first start, wherever the machine takes any."""
    doctor.needs_images()
    end = time.monotonic() + 60
    while metric(quick.server, "freehold_template_bytes") == 0:
        assert time.monotonic() < end, "no start image of the runtime was made"
        time.sleep(0.1)


def wave(server, name, event, count, qualifier=None):
    """`count` calls at once, each over a connection of its own; what was answered."""
    body = json.dumps(event).encode()
    path = f"/2015-03-31/functions/{name}/invocations"
    path, headers = http.signed(server, "POST", path + (f"?Qualifier={qualifier}" if qualifier else ""), body)
    headers = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    address = urllib.parse.urlsplit(server.url)
    connections = [socket.create_connection((address.hostname, address.port), timeout=120) for _ in range(count)]
    for connection in connections:
        connection.sendall(head.encode() + body)
    answers = []
    for connection in connections:
        with connection:
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, text = said.partition(b"\r\n\r\n")
        status = head.split(None, 2)[1:2]
        # A busy machine does not start a thousand within a call's time: whoever is refused is not one.
        assert status in ([b"200"], [b"503"], [b"429"]), said[:500]
        if status == [b"200"]:
            answers.append(json.loads(text))
    return answers


def siblings(quick, name, qualifier=None, counts=lambda answer: True):
    """The first answers of so many thawed instances."""
    found, end = {}, time.monotonic() + 120 + SIBLINGS
    while len(found) < SIBLINGS and time.monotonic() < end:
        before = time.time(), time.monotonic()
        answers = wave(quick.server, name, TAKES_S, min(SIBLINGS, WAVE), qualifier)
        after = time.time(), time.monotonic()
        for answer in answers:
            assert "own" in answer, answer
            assert answer["variable"]
            for earlier, now, later in zip(before, answer["now"], after):
                assert earlier <= now <= later
            if answer["thawed"] and answer["calls"] == 1 and counts(answer):
                found[answer["own"]["stream"]] = answer
        while metric(quick.server, "freehold_instances"):
            assert time.monotonic() < end + 60
            time.sleep(0.05)
    assert len(found) >= SIBLINGS, collections.Counter(str(a["thawed"]) for a in answers)
    return list(found.values())


def package(body, files={}):
    return zip_of({**files, "index.py": body, "vdso_random.py": VDSO})


def shares_nothing(answers):
    # Since Linux 6.11, which is when `vdso_random` finds what it looks for.
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert ("vdso" in answers[0]["own"]) == (kernel >= (6, 11))
    for what in answers[0]["own"]:
        times = collections.Counter(answer["own"][what] for answer in answers)
        assert len(times) == len(answers), (what, times.most_common(3))


def test_of_a_runtimes_image(quick):
    name = quick.create(package(BARE), Timeout=60)
    quick.call(name, 0)
    needs_image(quick)
    shares_nothing(siblings(quick, name))


def test_of_an_image_that_holds_the_sdk(quick):
    name = quick.create(package(SDK), Timeout=60, MemorySize=256)
    needs_sdk(quick.invoke(name, 0))
    needs_image(quick)
    starts(quick, name, lambda answer: answer["of init"], event=0)
    shares_nothing(siblings(quick, name, counts=lambda answer: answer["of init"]))


def test_of_a_versions_image(quick):
    name = quick.create(package(BARE), SnapStart=ON, Timeout=60)
    shares_nothing(siblings(quick, name, carried(publish(quick.client, name))))


def test_of_a_versions_image_with_numpy(quick):
    numpy = pytest.importorskip("numpy")
    site = pathlib.Path(numpy.__file__).parents[1]
    files = {str(path.relative_to(site)): path.read_bytes()
             for folder in ("numpy", "numpy.libs") for path in (site / folder).rglob("*")
             if path.is_file() and "tests" not in path.parts and path.suffix != ".pyc"}
    name = quick.create(package(NUMPY, files), SnapStart=ON, MemorySize=256, Timeout=60)
    answers = siblings(quick, name, carried(publish(quick.client, name)))
    shares_nothing(answers)
    # What init drew is the version's.
    assert len({answer["of init"] for answer in answers}) == 1
