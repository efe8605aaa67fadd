"""Two accounts on one node, looked at where no answer leads: in what is stored, from inside their
instances, and by the clock.
"""

import base64
import concurrent.futures
import http.client
import io
import json
import math
import random
import re
import secrets
import socket
import sqlite3
import struct
import time
import zipfile
import zlib
from urllib.parse import quote

import pytest
from support.functions import ECHO, zip_of
from support.http import send, signed
from tenants_test import new_account, until

# What its package says, and everything that an event asks it to: a line, an answer, an error.
TOLD = """
import os, time
OF_CODE = '{code}'

def handler(event, context):
    print(event.get('line', ''), flush=True)
    time.sleep(event.get('seconds', 0))
    if 'error' in event:
        raise ValueError(event['error'])
    return event.get('answer')
"""
# Of the data folder: what is everybody's, or of no account.
NOBODYS = ("runtimes", "sdk", "cache", "keys", "tls")
PLACES = ("name", "code", "variable", "tag key", "tag", "description", "event", "queued", "waiting", "line",
          "answer", "error", "statement", "path")


class Marked:
    """An account that leaves a mark of its own at every place that takes a text."""

    def __init__(self, server, word):
        self.account = new_account(server, "--name", word)
        self.number = self.account.account
        self.marks = {place: f"{word}{secrets.token_hex(12)}" for place in PLACES}
        self.package = zip_of({"index.py": TOLD.format(code=self.marks["code"]),
                               f"{self.marks['code']}.txt": self.marks["code"] * 100})

    def foreign(self):
        """Everything that must not be among another's: marks, number, key, secret."""
        return {**self.marks, "number": self.number, "key": self.account.key,
                "secret": self.account.secret}

    def live(self):
        marks, functions, lam = self.marks, self.account.functions, self.account.client("lambda")
        name = marks["name"]
        functions.create(self.package, name, Description=marks["description"],
                         Tags={marks["tag key"]: marks["tag"]},
                         Environment={"Variables": {"OF_ACCOUNT": marks["variable"]}})
        functions.call(name, {"line": marks["line"], "answer": marks["answer"], "event": marks["event"]})
        assert functions.invoke(name, {"error": marks["error"]}).error
        lam.add_permission(FunctionName=name, StatementId=marks["statement"], Principal="*",
                           Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
        lam.add_permission(FunctionName=name, StatementId="other", Principal="*",
                           Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True)
        url = lam.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
        host = url.split("/")[2]
        send(self.account.server.url, "GET", f"/{marks['path']}", {"Host": host})
        lam.publish_version(FunctionName=name, Description=marks["description"])
        for event in ({"answer": marks["queued"]}, {"error": marks["error"]}):
            lam.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))

        def lines():
            found = self.account.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")
            return [event["message"] for event in found["events"]]
        until(lambda: sum(marks["error"] in line for line in lines()) >= 2)
        # These wait for good.
        lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        lam.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"answer": marks["waiting"]}))
        assert json.loads(self.account.cli("usage", "--json").stdout)
        self.account.cli("audit", "--json")


@pytest.fixture(scope="module")
def pair(server):
    accounts = [Marked(server, word) for word in ("plum", "pear")]
    for one in accounts:
        one.live()
    return accounts


def frames(content):
    """The frames of a segment: length, its sum, the bytes' sum, the bytes."""
    at = 8
    assert content.startswith(b"FHSEG1\0\n")
    while at + 12 <= len(content):
        length, _, crc = struct.unpack_from("<III", content, at)
        body = content[at + 12:at + 12 + length]
        assert zlib.crc32(body) == crc
        yield body
        at += 12 + length


def rows(path):
    """Every row of every table."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        base.text_factory = bytes
        for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in base.execute(f'SELECT * FROM "{table.decode()}"'):
                yield b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)


def parts(path, below):
    """What of a file belongs together: all of it with its path, a row, an entry."""
    content = path.read_bytes()
    if path.suffix in (".db", ".db-wal", ".db-shm"):
        return list(rows(path)) if path.suffix == ".db" else []
    if path.suffix == ".seg":
        return list(frames(content))
    if content.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    return [str(below).encode() + b"\n" + content]


# Where which marks must have been found, so that a place that moves is not passed over in silence.
STORED = {
    "packages": {"code", "number"}, "store/blobs": {"code", "number"}, "store/logs": {"name", "line", "error", "number"},
    "store/audit": {"name", "number", "key"}, "store/ledger": {"name", "number", "tag key", "tag"},
    "store/meta.db": {"name", "number", "key", "statement", "description", "tag key", "tag"},
    "store/queue.db": {"name", "number", "key", "waiting", "error"},
}
# What a URL's path says, what a call that waits is told and answers, and what is sealed.
NEVER = ("variable", "secret", "path", "event", "answer")


def test_what_is_stored_is_one_accounts(server, pair):
    """A file of one account, or a row or an entry of one account where accounts share the file."""
    server.stop()
    found = {}
    tops = [path for path in server.data.iterdir() if path.name not in NOBODYS]
    files = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    for path in files:
        below = path.relative_to(server.data)
        whole = path.read_bytes()
        for one in pair:
            for place in NEVER:
                assert one.foreign()[place].encode() not in whole, f"{place} in {below}"
        for part in parts(path, below):
            owners = {}
            for at, one in enumerate(pair):
                places = {place for place, mark in one.foreign().items() if mark.encode() in part}
                if places:
                    owners[at] = places
            assert len(owners) < 2, f"{owners} in {below}: {part[:2000]}"
            for at, places in owners.items():
                place = "/".join(below.parts[:2]) if below.parts[0] == "store" else below.parts[0]
                found.setdefault(place, [set(), set()])[at] |= places
    # The index of the logs follows them, and is made again where it did not.
    assert found.keys() <= {*STORED, "store/logs.db"}
    assert {place: found.get(place) for place in STORED} == {place: [all_of] * 2 for place, all_of in STORED.items()}
    server.start()
    metrics, log = send(server.admin, "GET", "/metrics").text, server.output()
    for one in pair:
        for place, mark in one.foreign().items():
            assert mark not in metrics and mark not in log, place


# What an instance can read of where it is, and what the calls tell that show names of others.
LOOKER = """
import base64, json, os, socket, subprocess, time, zlib

FILES_MOST, BYTES_MOST = 20_000, 64 << 10

def text_of(path):
    try:
        with open(path, 'rb') as file:
            return file.read(BYTES_MOST).decode('latin-1')
    except OSError as error:
        return error.strerror

def handler(event, context):
    seen = {'environ': dict(os.environ), 'host': [socket.gethostname(), *os.uname()], 'cwd': os.getcwd()}
    names = []
    for top in ('/proc', '/sys', '/dev', '/etc', '/tmp', '/var', '/run', '/home', '/opt', '/mnt', '/srv'):
        for folder, folders, files in os.walk(top):
            if folder.count('/') > 6 or len(names) > FILES_MOST:
                folders.clear()
            names += [os.path.join(folder, name) for name in folders + files]
    seen['names'] = names[:FILES_MOST] + os.listdir('/')
    seen['links'] = {}
    for name in seen['names']:
        if name.startswith('/proc/') or name.startswith('/dev/'):
            try:
                seen['links'][name] = os.readlink(name)
            except OSError:
                pass
    of_self = ('mountinfo', 'mounts', 'cgroup', 'cmdline', 'environ', 'maps', 'status', 'uid_map', 'limits', 'net/route',
               'net/fib_trie', 'net/arp', 'net/tcp', 'net/udp', 'net/unix', 'net/dev', 'net/netlink', 'net/nf_conntrack', 'keys')
    read = [f'/proc/{pid}/{name}' for pid in os.listdir('/proc') if pid.isdigit() or pid == 'self' for name in of_self]
    read += [f'/proc/{name}' for name in ('mounts', 'keys', 'key-users', 'locks', 'partitions', 'diskstats', 'cmdline',
             'sysvipc/shm', 'sysvipc/msg', 'sysvipc/sem', 'swaps', 'loadavg', 'timer_list', 'sched_debug', 'kallsyms')]
    read += [name for name in seen['names'] if name.startswith(('/etc/', '/sys/fs/cgroup', '/sys/class', '/sys/block', '/run/'))]
    seen['files'] = {name: text_of(name) for name in dict.fromkeys(read)}
    packed = zlib.compress(json.dumps(seen).encode())
    return {'seen': base64.b64encode(packed).decode(), 'stream': context.log_stream_name, 'request': context.aws_request_id,
            'key': os.environ['AWS_ACCESS_KEY_ID']}
"""


def text_of(answer):
    return zlib.decompress(base64.b64decode(answer["seen"])).decode()


def addresses_in(text):
    return set(re.findall(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", text))


def own_addresses(answer):
    """Its own, but for those that every machine has; with a link of its own each instance has one."""
    trie = json.loads(text_of(answer))["files"]["/proc/self/net/fib_trie"]
    local = re.findall(r"\|-- (\S+)\s+/32 host LOCAL", trie)
    return {address for address in local if not address.startswith("127.")}


def test_an_instance_finds_nothing_of_anothers(server):
    """While instances of both run: neither an account, a name, a path, a credential nor an address."""
    accounts = [new_account(server, "--name", word) for word in ("inner", "outer")]
    names = []
    for account in accounts:
        mark = f"looker{secrets.token_hex(8)}"
        account.functions.create(zip_of({"index.py": LOOKER, f"{mark}.txt": mark}), mark, Timeout=120, MemorySize=512,
                                 Environment={"Variables": {"OWN": mark}}, Tags={mark: mark})
        names.append(mark)
    # Two instances of each at once, then on what is there by then.
    looked = [[], []]
    for _ in range(2):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(accounts[at].functions.call, names[at], {}) for at in (0, 1, 0, 1)]
            for at, call in enumerate(calls):
                looked[at % 2].append(call.result())
        for account in accounts:
            assert json.loads(account.cli("ps", "--json").stdout)["Instances"], "it is there meanwhile"
    for own, other in ((0, 1), (1, 0)):
        foreign = {"account": accounts[other].account, "name": names[other], "key": accounts[other].key,
                   "secret": accounts[other].secret}
        for number, answer in enumerate(looked[other]):
            foreign |= {f"{field} {number}": answer[field] for field in ("stream", "request", "key")}
            foreign[f"stream's id {number}"] = answer["stream"].split("]")[1]
        for answer in looked[own]:
            text = text_of(answer)
            seen = json.loads(text)
            assert names[own] in text and answer["key"] in text, "it sees itself"
            assert len(seen["names"]) > 100 and len(seen["files"]["/proc/self/mountinfo"]) > 100
            for what, mark in foreign.items():
                where = text.find(mark)
                assert where < 0, f"{what}: {text[max(0, where - 200):where + 200]}"
            addresses = addresses_in(text)
            for answer in looked[other]:
                assert not addresses & own_addresses(answer), "an address of another's instance"


def test_an_accounts_trail_reads_the_same_whatever_others_write(server):
    """Page by page, from the begin and from where it had ended: what others do moves no page of it,
    makes none more, and what it is told to go on with does not grow."""
    one, two = (new_account(server, "--name", word) for word in ("reads", "writes"))
    name = one.functions.create(ECHO)
    for n in range(9):
        one.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=n)

    def page(token=None):
        asked = json.dumps({"Limit": 4, **({"Token": token} if token else {})}).encode()
        while True:
            path, headers = signed(server, "POST", "/_freehold/api/GetAudit", asked, service="freehold",
                                   key=one.key, secret=one.secret)
            answer = send(server.url, "POST", path, headers, asked)
            if answer.status != 429:
                assert answer.status == 200
                return json.loads(answer.body)
            time.sleep(0.2)

    def pages(token=None):
        found = []
        while not found or found[-1]["More"]:
            found.append(page(token))
            token = found[-1]["Token"]
        return found

    def told(found):
        return [(page["Lines"], page["More"], page["Gaps"], len(page["Token"])) for page in found]

    before = pages()
    assert len(before) >= 3
    target, busy = two.functions.create(ECHO), two.client("lambda", retries={"total_max_attempts": 10})
    for n in range(120):
        busy.put_function_concurrency(FunctionName=target, ReservedConcurrentExecutions=n)
        server.cli("tenants", "create") if n % 40 == 0 else None
    assert told(pages()) == told(before)
    [after] = pages(before[-1]["Token"])
    assert (after["Lines"], after["More"]) == ([], False)


# By the clock

ASKS = 500
# Of a false alarm, all ways together.
ALARM = 1e-6


class Asker:
    """One connection on which requests that were signed before are sent, and their answers timed."""

    def __init__(self, account):
        self.account = account
        self.line = http.client.HTTPConnection(account.server.url.removeprefix("http://"), timeout=60)
        self.line.connect()
        self.line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method, path, body=b"", headers=None, service="lambda"):
        """(seconds, what it answered without what differs between any two answers)."""
        path, headers = signed(self.account.server, method, path, body, headers, service,
                               key=self.account.key, secret=self.account.secret)
        begun = time.perf_counter()
        self.line.request(method, path, body, headers)
        response = self.line.getresponse()
        body = response.read()
        took = time.perf_counter() - begun
        told = {name.lower(): value for name, value in response.getheaders()}
        for one_answers in ("date", "x-amzn-requestid", "x-amzn-trace-id"):
            told.pop(one_answers, None)
        return took, (response.status, tuple(sorted(told.items())), body)


def tail(count, of):
    """How likely it is that `of` throws of a coin show a side at least `count` times, or as rarely."""
    more = max(count, of - count)
    return min(1.0, 2 * sum(math.comb(of, k) for k in range(more, of + 1)) / 2 ** of)


def test_the_tail_of_a_coin():
    assert tail(5, 10) == 1.0 and tail(10, 10) == tail(0, 10) == 2 / 1024
    assert tail(310, 500) < ALARM < tail(295, 500)


def test_neither_answer_nor_time_says_whether_anothers_is_there(server):
    """In pairs, each in an order of its own: what is there against what is nowhere. If the two take
    alike, either is the slower one as a coin falls, however slow or uneven the machine is."""
    one, two = (new_account(server, "--name", word) for word in ("asks", "has"))
    region = one.client("lambda").meta.region_name
    rng = random.Random(20261122)
    there = [f"there-{rng.randrange(1 << 32):08x}" for _ in range(5)]
    for name in there:
        two.functions.create(ECHO, name)
        two.functions.call(name, {})
    nowhere = [f"where-{rng.randrange(1 << 32):08x}" for _ in there]
    until(lambda: len(two.client("logs").describe_log_groups()["logGroups"]) == len(there))

    def arn(name):
        return f"arn:aws:lambda:{region}:{two.account}:function:{name}"
    ways = {
        "get by name": lambda name: ("GET", f"/2015-03-31/functions/{name}"),
        "get by ARN": lambda name: ("GET", f"/2015-03-31/functions/{quote(arn(name), safe='')}"),
        "invoke by ARN": lambda name: ("POST", f"/2015-03-31/functions/{quote(arn(name), safe='')}/invocations", b"{}"),
        "log lines": lambda name: (
            "POST", "/", json.dumps({"logGroupName": f"/aws/lambda/{name}"}).encode(),
            {"X-Amz-Target": "Logs_20140328.FilterLogEvents", "Content-Type": "application/x-amz-json-1.1"}, "logs"),
    }
    asker, slower = Asker(one), dict.fromkeys(ways, 0)
    for name in there + nowhere:
        for way in ways.values():
            asker.ask(*way(name))
    for at in range(ASKS):
        for word, way in ways.items():
            names = {True: there[at % len(there)], False: nowhere[at % len(nowhere)]}
            first = rng.random() < 0.5
            took, answers = {}, {}
            for is_there in (first, not first):
                took[is_there], (status, headers, body) = asker.ask(*way(names[is_there]))
                answers[is_there] = status, headers, body.replace(names[is_there].encode(), b"NAME")
                assert status >= 400
            assert answers[True] == answers[False], word
            slower[word] += took[True] > took[False]
    asker.line.close()
    odd = {word: count for word, count in slower.items() if tail(count, ASKS) < ALARM / len(ways)}
    assert odd == {}, f"of {ASKS} pairs, what is there was the slower one in {slower}"
