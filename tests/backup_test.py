"""`freehold backup` and `restore`: what comes back, and what is refused.

A restored node is compared with the one that it was made of: the ledger byte by byte, usage, keys,
sealed environments, logs, audit trail, waiting events.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zlib

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from support import server as servers
from support.functions import PYTHON, Functions, python

SECRET = "a value that only an opened seal shows"
SPEAKER = python("""
import os

def handler(event, context):
    print("line", event)
    return [os.environ["WORD"], event]
""")
SEGMENT_HEAD = 8
REFUSED = 4
USAGE = 2


def run(*arguments, **more):
    """The binary without any key or endpoint in its environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.run([str(servers.binary()), *map(str, arguments)], capture_output=True,
                          timeout=120, env=clean, **more)


def backup(server, file, *arguments):
    done = run("backup", file, "--data", server.data, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done


def restore(file, data, *arguments, **more):
    return run("restore", file, "--data", data, *arguments, **more)


def flat(text):
    """An error as one line: it is drawn in lines of a terminal's width."""
    return re.sub(r"[\s|│]+", " ", text)


def refused(done, code, *words):
    text = flat(done.stderr.decode())
    assert done.returncode == code, (done.returncode, text)
    for word in words:
        assert word in text, (word, text)


@contextlib.contextmanager
def restored(file, *arguments):
    """A server on a folder that was made of a backup."""
    other = servers.Server()
    try:
        done = restore(file, other.data, *arguments)
        assert done.returncode == 0, done.stderr.decode()
        yield other.start()
    finally:
        other.close()


def frames(path):
    """The payloads in a segment, as `store/frame` writes them."""
    bytes_, found = path.read_bytes(), []
    at = SEGMENT_HEAD
    while at < len(bytes_):
        length, length_sum, sum_ = struct.unpack_from("<III", bytes_, at)
        if at + 12 + length > len(bytes_):
            break
        payload = bytes_[at + 12:at + 12 + length]
        assert zlib.crc32(bytes_[at:at + 4]) == length_sum and zlib.crc32(payload) == sum_, path
        found.append(payload)
        at += 12 + length
    return found


def ledger(data):
    """{lane: entries, in order} of a data folder."""
    lanes = {}
    for lane in (data / "store" / "ledger").iterdir():
        segments = sorted(lane.glob("*.seg"), key=lambda path: int(path.stem))
        lanes[lane.name] = [entry for segment in segments for entry in frames(segment)]
    return lanes


def usage(server):
    rows = json.loads(server.cli("usage", "--json").stdout)
    return sorted((row["function"], row["day"], row["invocations"], row["billed_ms"]) for row in rows)


def client_of(server, key, service="lambda"):
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1",
                        aws_access_key_id=key["access_key_id"],
                        aws_secret_access_key=key["secret_access_key"],
                        config=Config(retries={"total_max_attempts": 1}))


def messages(server, name):
    """The lines of a function; none before it has written its first."""
    logs = server.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
    try:
        return sorted(event["message"] for page in pages for event in page["events"])
    except logs.exceptions.ResourceNotFoundException:
        return []


class Load:
    """Threads that call, deploy and log until they are stopped."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.stopped = threading.Event()
        self.answered, self.deployed, self.failed = [], [], []
        self.lock = threading.Lock()
        work = [self.call, self.call, self.call, self.deploy]
        self.threads = [threading.Thread(target=self.repeat, args=(one,)) for one in work]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, work):
        functions = Functions(self.server)
        while not self.stopped.is_set():
            try:
                work(functions)
            except Exception as error:
                self.failed.append(repr(error))
                return

    def call(self, functions):
        answer = functions.invoke(self.name, "load")
        assert answer.error is None, answer.payload
        with self.lock:
            self.answered.append(answer.request_id)

    def deploy(self, functions):
        name = functions.create(python(f"def handler(event, context): return {len(self.deployed)}"))
        functions.call(name)
        self.deployed.append(name)


def test_a_backup_under_load_gives_an_equal_node(start_server, open_folder):
    server = start_server()
    functions = Functions(server)
    name = functions.create(SPEAKER, Environment={"Variables": {"WORD": SECRET}})
    tenant = json.loads(server.cli("tenants", "create", "--json").stdout)["key"]
    theirs = client_of(server, tenant)
    theirs.create_function(
        FunctionName="theirs", Runtime=PYTHON, Handler="index.handler",
        Role=f"arn:aws:iam::{tenant['tenant']}:role/r", Code={"ZipFile": SPEAKER},
        Environment={"Variables": {"WORD": "theirs"}})
    theirs.get_waiter("function_active_v2").wait(
        FunctionName="theirs", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    gone = json.loads(server.cli("tenants", "create", "--json").stdout)["key"]
    server.cli("tenants", "disable", gone["tenant"])
    file = open_folder / "node.backup"
    with Load(server, name) as load:
        while len(load.answered) < 50 or len(load.deployed) < 2:
            assert not load.failed, load.failed
            time.sleep(0.05)
        before, deployed = list(load.answered), list(load.deployed)
        backup(server, file)
        after = len(load.answered)
    assert not load.failed, load.failed
    assert after > len(before) or len(load.answered) > len(before), "calls went on meanwhile"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (open_folder / "node.backup.key").stat().st_mode & 0o777 == 0o600
    original = ledger(server.data)
    with restored(file) as other:
        # The ledger: what was answered before the command is there, and all is a prefix.
        copied = ledger(other.data)
        for lane, entries in copied.items():
            assert original[lane][:len(entries)] == entries
        ids = {json.loads(entry)["id"] for entries in copied.values() for entry in entries}
        assert ids >= set(before)
        # Usage is what this ledger says.
        counted = {}
        for entries in copied.values():
            for entry in map(json.loads, entries):
                if entry["function"]["tenant"] == server.account:
                    of = entry["function"]["name"]
                    counted[of] = counted.get(of, 0) + 1
        rolled = {}
        for name_, _, invocations, _ in usage(other):
            rolled[name_] = rolled.get(name_, 0) + invocations
        assert rolled == counted
        # Functions run, with what was sealed; keys sign, and disabled ones do not.
        again = Functions(other)
        assert again.call(name, 7) == [SECRET, 7]
        for number, one in enumerate(deployed):
            assert again.call(one) == number
        answer = client_of(other, tenant).invoke(FunctionName="theirs", Payload=b"1")
        assert json.loads(answer["Payload"].read()) == ["theirs", 1]
        with pytest.raises(ClientError) as caught:
            client_of(other, gone).list_functions()
        assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"
        assert other.account == server.account
        # It goes on as any node does: deploys, and has what happened before on its trail.
        assert again.call(again.create(SPEAKER, Environment={"Variables": {"WORD": "x"}}), 1) == ["x", 1]
        rows = [json.loads(line) for line in other.cli("audit", "--json").stdout.splitlines()]
        assert ("freehold:DisableTenant", "ok") in [(row["Action"], row["Result"]) for row in rows]
        for path in (other.data / "store").rglob("*"):
            assert path.stat().st_uid == (other.data / "store").stat().st_uid, path


@pytest.fixture(scope="module")
def node(server, tmp_path_factory):
    """A quiet node with something of everything, and its backup."""
    functions = Functions(server)
    name = functions.create(SPEAKER, Environment={"Variables": {"WORD": SECRET}})
    for n in range(5):
        functions.call(name, n)
    file = tmp_path_factory.mktemp("backups") / "node.backup"
    backup(server, file)
    return name, file


def test_a_quiet_node_comes_back_as_it_was(server, node):
    name, file = node
    with restored(file) as other:
        assert ledger(other.data) == ledger(server.data)
        assert usage(other) == usage(server)
        assert messages(other, name) == messages(server, name)
        mine, theirs = server.client("lambda"), other.client("lambda")
        for config in (mine, theirs):
            assert config.get_function(FunctionName=name)["Configuration"]["CodeSize"] > 0
        fields = ("CodeSha256", "RevisionId", "FunctionArn", "Environment", "LastModified")
        mine, theirs = (one.get_function_configuration(FunctionName=name) for one in (mine, theirs))
        assert {f: mine[f] for f in fields} == {f: theirs[f] for f in fields}
        assert server.keys()["AWS_SECRET_ACCESS_KEY"] == other.keys()["AWS_SECRET_ACCESS_KEY"]


def test_events_that_waited_run_on_the_restored_node(start_server, open_folder):
    server = start_server("[instances]\nretry_delays = [\"20s\", \"20s\"]\n")
    functions = Functions(server)
    # Fails where it began and succeeds elsewhere, so that the event waits when the backup is made.
    name = functions.create(python("""
import os
def handler(event, context):
    if os.environ.get("FAIL"): raise ValueError("not here")
    print("ran", event)
"""), Environment={"Variables": {"FAIL": "1"}})
    functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"once"')
    end = time.monotonic() + 30
    while not any("not here" in line for line in messages(server, name)):
        assert time.monotonic() < end
        time.sleep(0.1)
    # However long all of this takes, it does not run where it began.
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    functions.client.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
    functions.wait_updated(name)
    file = open_folder / "node.backup"
    backup(server, file)
    with restored(file) as other:
        other.client("lambda").delete_function_concurrency(FunctionName=name)
        end = time.monotonic() + 90
        while not any("ran once" in line for line in messages(other, name)):
            assert time.monotonic() < end, messages(other, name)
            time.sleep(0.2)


def test_a_stopped_node_is_backed_up_from_its_folder(start_server, open_folder):
    server = start_server()
    functions = Functions(server)
    name = functions.create(SPEAKER, Environment={"Variables": {"WORD": SECRET}})
    functions.call(name, 1)
    before = usage(server)
    server.kill()
    store = server.data / "store"
    file = open_folder / "node.backup"
    backup(server, file)
    assert not (store / "backup").exists()
    owner = store.stat().st_uid
    assert {path.stat().st_uid for path in store.rglob("*")} == {owner}
    with restored(file) as other:
        assert usage(other) == before
        assert Functions(other).call(name, 2) == [SECRET, 2]
    server.start()
    assert Functions(server).call(name, 3) == [SECRET, 3]


def test_without_logs_and_through_pipes(server, node, open_folder):
    name, _ = node
    key = open_folder / "the.key"
    done = run("backup", "-", "--key", key, "--without-logs", "--data", server.data,
               "--max-rate", "unlimited")
    assert done.returncode == 0, done.stderr.decode()
    other = servers.Server()
    try:
        piped = restore("-", other.data, "--key", key, input=done.stdout)
        assert piped.returncode == 0, piped.stderr.decode()
        other.start()
        assert Functions(other).call(name, 9) == [SECRET, 9]
        assert messages(other, name) != [] and len(messages(other, name)) < len(messages(server, name))
        assert sum(invocations for of, _, invocations, _ in usage(other) if of == name) >= 5
    finally:
        other.close()


def entries(file):
    """[(offset, kind, payload)] of every frame of a backup."""
    bytes_, found = file.read_bytes(), []
    at = 8
    while at < len(bytes_):
        length, = struct.unpack_from("<I", bytes_, at)
        found.append((at, chr(bytes_[at + 12]), bytes_[at + 13:at + 12 + length]))
        at += 12 + length
    return found


def nothing_restored(data):
    assert not data.exists() or list(data.iterdir()) == [], list(data.iterdir())


def test_a_flipped_bit_in_any_kind_of_entry_is_refused_before_anything_is_written(node, open_folder):
    _, file = node
    bytes_, target = bytearray(file.read_bytes()), open_folder / "data"
    copy = open_folder / "damaged.backup"
    shutil.copy(f"{file}.key", f"{copy}.key")
    seen, where, entry = set(), [], None
    for at, kind, payload in entries(file):
        if kind == "E":
            entry = json.loads(payload)["name"].split("/")[0]
        if (entry, kind) not in seen:
            seen.add((entry, kind))
            where.append((at + 12 + 1 + len(payload) // 2, entry, kind))
            where.append((at, entry, kind))
    assert {entry for entry, _ in seen} >= {"meta.db", "queue.db", "ledger", "audit", "blobs", "logs"}
    assert {kind for _, kind in seen} == set("HEDFT")
    for at, entry, kind in where:
        bytes_[at] ^= 0x10
        copy.write_bytes(bytes_)
        bytes_[at] ^= 0x10
        refused(restore(copy, target), REFUSED, "is damaged at offset")
        nothing_restored(target)


def test_a_truncated_backup_is_refused_before_anything_is_written(node, open_folder):
    _, file = node
    whole, target = file.read_bytes(), open_folder / "data"
    copy = open_folder / "cut.backup"
    shutil.copy(f"{file}.key", f"{copy}.key")
    offsets = [at for at, _, _ in entries(file)]
    for length in (9, 100, offsets[1], offsets[len(offsets) // 2] + 5, offsets[-1], len(whole) - 1):
        copy.write_bytes(whole[:length])
        refused(restore(copy, target), REFUSED, "is not whole", f"{length} bytes")
        nothing_restored(target)
        # Through a pipe it cannot be read twice: what was written goes again.
        done = restore("-", target, "--key", f"{file}.key", input=whole[:length])
        refused(done, REFUSED, "is not whole")
        nothing_restored(target)


def with_head(file, **changed):
    """A backup whose head says otherwise, with sums that agree."""
    bytes_ = file.read_bytes()
    (at, _, payload), (behind, _, _), *_ = entries(file)
    text = b"H" + json.dumps({**json.loads(payload), **changed}).encode()
    length = struct.pack("<I", len(text))
    sums = struct.pack("<II", zlib.crc32(length), zlib.crc32(text))
    return bytes_[:at] + length + sums + text + bytes_[behind:]


def test_what_is_newer_or_no_backup_is_refused_by_name(node, open_folder):
    _, file = node
    target, copy = open_folder / "data", open_folder / "other.backup"
    shutil.copy(f"{file}.key", f"{copy}.key")
    for content, words in (
            (with_head(file, format=2), ("format 2", "reads up to 1", "use a newer one")),
            (with_head(file, layout=9), ("data folder of format 9", "use a newer one")),
            (with_head(file, release="x"), ("is damaged", "its end")),
            (b"", ("no backup of Freehold",)),
            (b"FHBACK", ("no backup of Freehold",)),
            (b"SQLite format 3\0" + bytes(4096), ("no backup of Freehold",)),
            (os.urandom(100_000), ("no backup of Freehold",)),
            (file.read_bytes() + b"x", ("something follows its end",))):
        copy.write_bytes(content)
        refused(restore(copy, target), REFUSED, *words)
        nothing_restored(target)


def test_a_backup_that_is_not_there_is_what_is_missing(open_folder):
    done = run("restore", open_folder / "none", "--data", open_folder / "new")
    said = flat(done.stderr.decode())
    assert done.returncode == 2 and f"open {open_folder}/none" in said, said
    assert ".key" not in said and not (open_folder / "new").exists()


def test_only_the_right_keys_go_with_a_backup(node, open_folder):
    _, file = node
    target, copy = open_folder / "data", open_folder / "copy.backup"
    shutil.copy(file, copy)
    refused(restore(copy, target), REFUSED, "copy.backup.key cannot be read", "--key FILE")
    key = open_folder / "copy.backup.key"
    for text, words in (("", "not a file of sealing keys"), ("zz\n", "not a file of sealing keys"),
                        ("0" * 5000, "more than 4096 bytes"), ("ab" * 32 + "\n", "of another backup")):
        key.write_text(text)
        refused(restore(copy, target), REFUSED, words)
        nothing_restored(target)
    right = pathlib.Path(f"{file}.key").read_text()
    # A key that was made since does no harm.
    key.write_text(right + "ab" * 32 + "\n")
    assert restore(copy, target).returncode == 0
    assert (target / "keys" / "seal").read_text() == key.read_text()
    assert (target / "keys").stat().st_mode & 0o777 == 0o700
    assert (target / "keys" / "seal").stat().st_mode & 0o777 == 0o600


def test_a_folder_with_anything_in_it_is_left_alone(server, node, open_folder):
    _, file = node
    for name in ("root-key", "store", "notes.txt", "keys"):
        data = open_folder / f"with-{name}"
        data.mkdir()
        (data / name).write_text("mine")
        refused(restore(file, data), REFUSED, "has something in it already", name)
        assert [path.name for path in data.iterdir()] == [name]
        assert (data / name).read_text() == "mine"
    refused(restore(file, server.data), REFUSED, "has something in it already")
    plain = open_folder / "plain"
    plain.write_text("x")
    assert restore(file, plain).returncode != 0
    assert plain.read_text() == "x"
    # What a new disk or a careful operator has there is no data.
    data = open_folder / "prepared"
    for name in ("lost+found", "runtimes"):
        (data / name).mkdir(parents=True)
    (data / "freehold.toml").write_text("")
    assert restore(file, data).returncode == 0
    assert (data / "store" / "meta.db").exists()
    refused(restore(file, data), REFUSED, "has something in it already")


def test_an_interrupted_restore_is_no_data_folder_and_the_next_begins_anew(node, open_folder):
    name, file = node
    other = servers.Server()
    try:
        whole = file.read_bytes()
        pipe = subprocess.Popen(
            [str(servers.binary()), "restore", "-", "--data", str(other.data), "--key", f"{file}.key"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            pipe.stdin.write(whole[:len(whole) - 100])
            pipe.stdin.flush()
            end = time.monotonic() + 30
            while not (other.data / "restoring" / "store" / "meta.db").exists():
                assert time.monotonic() < end
                time.sleep(0.02)
            # Another one at the same time does not mix with it.
            refused(restore(file, other.data), REFUSED, "another restore", "under way")
        finally:
            pipe.kill()
            pipe.communicate()
        assert (other.data / "restoring").exists() and not (other.data / "store").exists()
        with pytest.raises(servers.NotReady, match="was not finished"):
            other.start()
        assert restore(file, other.data).returncode == 0
        assert not (other.data / "restoring").exists()
        other.start()
        assert Functions(other).call(name, 4) == [SECRET, 4]
    finally:
        other.close()


def test_what_a_server_holds_is_no_leftover_of_a_restore(server, node):
    name, file = node
    # As if a restore had begun between the server's look for one and its first folder.
    restoring = server.data / "restoring"
    restoring.mkdir()
    try:
        for marks in ([], ["moving"]):
            for mark in marks:
                (restoring / mark).touch()
            refused(restore(file, server.data), REFUSED, "has something in it already")
            for kept in ("keys/seal", "store/meta.db", "packages"):
                assert (server.data / kept).exists(), kept
    finally:
        shutil.rmtree(restoring)
    assert Functions(server).call(name, 3) == [SECRET, 3]


def test_a_restore_that_was_killed_while_it_moved_is_begun_anew(node):
    name, file = node
    other = servers.Server()
    try:
        assert restore(file, other.data).returncode == 0
        # Killed behind the first of three moves.
        restoring = other.data / "restoring"
        restoring.mkdir(mode=0o700)
        (restoring / "moving").touch()
        for later in ("packages", "store"):
            (other.data / later).rename(restoring / later)
        with pytest.raises(servers.NotReady, match="was not finished"):
            other.start()
        assert restore(file, other.data).returncode == 0
        assert not restoring.exists()
        other.start()
        assert Functions(other).call(name, 5) == [SECRET, 5]
    finally:
        other.close()


def test_a_backup_is_of_the_server_that_is_named(server, node, open_folder):
    _, file = node
    stopped = open_folder / "stopped"
    assert restore(file, stopped).returncode == 0
    (stopped / "store" / "logs").mkdir(exist_ok=True)
    (stopped / "store" / "logs" / "0").mkdir(exist_ok=True)
    # The stopped node is told from the other by a log of its own.
    (stopped / "store" / "logs" / "0" / "999.log").write_bytes(b"of the stopped node")
    def made(target, *arguments, env=None):
        done = subprocess.run([str(servers.binary()), "backup", str(target), *map(str, arguments)],
                              capture_output=True, timeout=120, env=env or server.environment())
        assert done.returncode == 0, done.stderr.decode()
        return b"of the stopped node" in target.read_bytes()

    named = ("--endpoint", server.url, "--without-key", "--data", stopped)
    assert not made(open_folder / "named.backup", *named)
    # A folder that is named goes over what the environment names.
    assert made(open_folder / "folder.backup", "--data", stopped)


def test_a_pipe_is_read_once_and_its_keys_are_judged_before_anything_is_written(node, open_folder):
    _, file = node
    key = f"{file}.key"
    other = open_folder / "other"
    piped = subprocess.run(
        ["bash", "-c", f'exec "$0" restore <(cat {file}) --key {key} --data {other}',
         str(servers.binary())], capture_output=True, timeout=120)
    assert piped.returncode == 0, piped.stderr.decode()
    assert (other / "store" / "meta.db").exists()
    wrong = open_folder / "wrong.key"
    wrong.write_text("0f" * 32 + "\n")
    nowhere = open_folder / "nowhere"
    with file.open("rb") as whole:
        done = restore("-", nowhere, "--key", wrong, stdin=whole)
    refused(done, REFUSED, "keys of another backup")
    assert not nowhere.exists()


def test_a_terminal_that_goes_leaves_nothing_of_a_backup(node, open_folder):
    _, file = node
    stopped, into = open_folder / "stopped", open_folder / "into"
    assert restore(file, stopped).returncode == 0
    logs = stopped / "store" / "logs" / "0"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "998.log").write_bytes(bytes(8 << 20))
    into.mkdir()
    going = subprocess.Popen(
        [str(servers.binary()), "backup", str(into / "a.backup"), "--data", str(stopped),
         "--max-rate", "1MiB"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Whoever runs the tests under nohup has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    end = time.monotonic() + 20
    while not any(path.stat().st_size for path in into.iterdir()):
        assert time.monotonic() < end and going.poll() is None
        time.sleep(0.02)
    going.send_signal(signal.SIGHUP)
    _, said = going.communicate(timeout=30)
    assert going.returncode == REFUSED and b"was stopped" in said, said
    assert not list(into.iterdir())


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "freehold-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root to mount a small tmpfs; a full disk was not tried")
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_each_of_them_and_leaves_nothing(server, node, open_folder):
    _, file = node
    with small_disk(open_folder / "disk", "64k") as disk:
        done = run("backup", disk / "node.backup", "--data", server.data)
        refused(done, REFUSED, "there is no room for", "the disk was full after")
        assert list(disk.iterdir()) == []
        refused(restore(file, disk / "data"), REFUSED, "there is no room in")
        assert list(disk.iterdir()) == []
        refused(restore(file, disk), REFUSED, "there is no room in")
        assert list(disk.iterdir()) == []
    # The server is as it was, and another backup may begin at once.
    backup(server, open_folder / "next.backup")


def create_much(functions):
    """10 MiB that a slow pace needs as many seconds for."""
    for _ in range(2):
        functions.create(python(f"x = {os.urandom(5 << 20).hex()!r}\ndef handler(e, c): return 1"))


def test_a_backup_that_is_stopped_leaves_nothing_and_the_next_begins(server, open_folder):
    functions = Functions(server)
    create_much(functions)
    folder = open_folder / "stopped"
    folder.mkdir()
    for how in (signal.SIGINT, signal.SIGTERM):
        slow = subprocess.Popen(
            [str(servers.binary()), "backup", str(folder / "node.backup"), "--data", str(server.data),
             "--max-rate", "1MiB"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 30
        while not any(path.stat().st_size > 0 for path in folder.iterdir()):
            assert time.monotonic() < end and slow.poll() is None
            time.sleep(0.02)
        refused(run("backup", open_folder / "second", "--data", server.data), REFUSED,
                "another backup is under way")
        slow.send_signal(how)
        _, said = slow.communicate(timeout=30)
        assert slow.returncode == REFUSED and "was stopped" in flat(said.decode()), said
        assert list(folder.iterdir()) == []
    end = time.monotonic() + 10
    while (done := run("backup", open_folder / "third", "--data", server.data)).returncode != 0:
        assert "under way" in flat(done.stderr.decode()) and time.monotonic() < end, done.stderr
        time.sleep(0.1)
    assert not (server.data / "store" / "backup").exists()


def test_an_end_of_the_server_ends_its_backup(start_server, open_folder):
    server = start_server()
    functions = Functions(server)
    create_much(functions)
    for end_it in (server.stop, server.kill):
        slow = subprocess.Popen(
            [str(servers.binary()), "backup", str(open_folder / "node.backup"), "--data",
             str(server.data), "--max-rate", "1MiB"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 30
        while not any(path.stat().st_size > 0 for path in open_folder.iterdir()):
            assert time.monotonic() < end and slow.poll() is None
            time.sleep(0.02)
        end_it()
        slow.communicate(timeout=60)
        assert slow.returncode != 0
        assert list(open_folder.iterdir()) == []
        server.start()
        assert not (server.data / "store" / "backup").exists()


def test_the_operator_alone_makes_backups_and_the_trail_says_so(server, node, open_folder):
    tenant = json.loads(server.cli("tenants", "create", "--json").stdout)["key"]
    theirs = {"AWS_ACCESS_KEY_ID": tenant["access_key_id"],
              "AWS_SECRET_ACCESS_KEY": tenant["secret_access_key"]}
    file = open_folder / "theirs.backup"
    done = server.cli("backup", file, "--without-key", env=theirs, check=False)
    assert done.returncode == REFUSED and "AccessDeniedException" in done.stderr, done.stderr
    assert not file.exists()
    rows = [json.loads(line) for line in server.cli("audit", "--json").stdout.splitlines()]
    seen = [(row["Action"], row["Result"], row["Who"]) for row in rows]
    assert ("freehold:StartBackup", "denied", tenant["access_key_id"]) in seen
    assert ("freehold:StartBackup", "ok", server.keys()["AWS_ACCESS_KEY_ID"]) in seen
    assert not any(row["Action"] == "freehold:GetBackupPiece" for row in rows)
    # By the server's address alone, without its folder, there are no keys to write beside it.
    named = ["--endpoint", server.url, "--data", open_folder]
    done = server.cli("backup", file, *named, check=False)
    assert done.returncode == REFUSED and "sealing keys" in flat(done.stderr), done.stderr
    assert server.cli("backup", file, "--without-key", "--data", open_folder).returncode == 0
    assert [path.name for path in open_folder.iterdir()] == [file.name]
    # The keys of another node are not taken for this one's.
    (open_folder / "keys").mkdir()
    (open_folder / "keys" / "seal").write_text("ab" * 32 + "\n")
    done = server.cli("backup", file, *named, check=False)
    assert done.returncode == REFUSED and "not those of the server" in flat(done.stderr), done.stderr


@pytest.mark.parametrize("arguments, word", [
    (["backup"], "FILE"),
    (["backup", "x", "--max-rate", "64KiB"], "slowest pace"),
    (["backup", "x", "--max-rate", "fast"], "not a size"),
    (["backup", "x", "--key", "k", "--without-key"], "cannot be used with"),
    (["backup", "x", "--key", "x"], "cannot be one file"),
    (["backup", "-"], "--key FILE"),
    (["backup", "/dev/null"], "not a plain file"),
    (["backup", "/"], "not a plain file"),
    (["restore"], "FILE"),
    (["restore", "-"], "--key FILE"),
    (["restore", "nowhere", "--key", "KEY"], "nowhere"),
])
def test_wrong_options_are_usage(server, node, open_folder, arguments, word):
    _, file = node
    arguments = [f"{file}.key" if one == "KEY" else one for one in arguments]
    data = server.data if arguments[0] == "backup" else open_folder / "data"
    done = run(*arguments, "--data", data, cwd=open_folder)
    refused(done, USAGE, word)
    assert list(open_folder.iterdir()) == []


def test_a_piece_is_asked_for_by_its_own_id(server):
    """Our operations by hand: what a client must not be able to do."""
    def ask(operation, body):
        keys, data = server.keys(), json.dumps(body).encode()
        request = AWSRequest("POST", f"{server.url}/_freehold/api/{operation}", data=data)
        credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(credentials, "freehold", keys["AWS_REGION"]).add_auth(request)
        sent = urllib.request.Request(request.url, data=data, headers=dict(request.headers))
        try:
            with urllib.request.urlopen(sent, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    assert ask("GetBackupPiece", {"BackupId": "0" * 32})[0] == 404
    assert ask("StopBackup", {"BackupId": "x" * 100_000})[0] == 404
    for body in ({"BytesPerSecond": 1}, {"BytesPerSecond": "fast"}, {"Logs": 1}, {"Path": "/etc"}):
        assert ask("StartBackup", body)[0] == 400, body
    status, answer = ask("StartBackup", {"Logs": False})
    assert status == 200
    one = json.loads(answer)["BackupId"]
    assert ask("StartBackup", {})[0] == 409
    assert ask("GetBackupPiece", {"BackupId": one})[1][:8] == b"FHBACKUP"
    assert ask("StopBackup", {"BackupId": one})[0] == 200
    assert ask("GetBackupPiece", {"BackupId": one})[0] == 404
