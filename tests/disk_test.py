"""The disk's floor: below 5 % of free room new things are refused, what is there goes on, and all of
it comes back by itself. The store lies on a small disk of its own."""

import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
from acme_test import NAME, count, kept, orders, reload, shown, wait
from botocore.exceptions import ClientError

from support import server as servers
from support.authority import Impostor
from support.certificates import Authority
from support.functions import ECHO, Functions, python
from support.http import send

SIZE_MIB = 96
SPEAKER = python("def handler(event, context):\n    print('line', event)\n    return event")


class SmallDisk:
    """A server whose store lies on a disk of 96 MiB."""

    def __init__(self):
        self.server = servers.Server()
        self.store = self.server.data / "store"
        self.filler = self.store / "filler"
        self.store.mkdir(mode=0o700)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "freehold-test", str(self.store)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.server.close()
            pytest.skip("needs root to mount a small tmpfs; a full disk was not tried")

    def close(self):
        if self.server.process is not None and self.server.process.poll() is None:
            self.server.stop()
        subprocess.run(["umount", str(self.store)], check=True)
        self.server.close()

    def leave(self, percent):
        """Fills the disk, or makes room, so that this share of it is free."""
        self.filler.touch()
        found = os.statvfs(self.store)
        free = found.f_bavail * found.f_frsize
        wanted = int(SIZE_MIB * (1 << 20) * percent / 100)
        size = self.filler.stat().st_size + free - wanted
        with self.filler.open("r+b") as file:
            if size > self.filler.stat().st_size:
                file.seek(0, 2)
                file.write(bytes(size - self.filler.stat().st_size))
            else:
                file.truncate(max(size, 0))

    def metrics(self):
        text = send(self.server.admin, "GET", "/metrics").text
        lines = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
        return {line[0]: float(line[1]) for line in lines if len(line) == 2}

    def wait_low(self, low):
        end = time.monotonic() + 10
        while self.metrics()["freehold_disk_low"] != float(low):
            assert time.monotonic() < end, f"the disk is still {'not ' if low else ''}low"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def disk():
    one = SmallDisk()
    try:
        one.server.start()
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def nearly_full(disk):
    disk.leave(3.5)
    disk.wait_low(True)
    try:
        yield
    finally:
        disk.leave(50)
        disk.wait_low(False)


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 503, response
    assert response["Error"]["Code"] == "ServiceUnavailableException", response
    return response["Error"]["Message"]


def invocations(server, name):
    rows = json.loads(server.cli("usage", "--json").stdout)
    return sum(row["invocations"] for row in rows if row["function"] == name)


def streams(server, name):
    logs = server.client("logs")
    return sum(len(logs.get_log_events(logGroupName=f"/aws/lambda/{name}",
                                       logStreamName=one["logStreamName"])["events"])
               for one in logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"])


def test_below_the_floor_new_things_are_refused_and_the_rest_goes_on(disk):
    server = disk.server
    functions, client = Functions(server), server.client("lambda")
    name, victim = functions.create(SPEAKER, Timeout=3), functions.create()
    functions.call(name, 1)
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    lines = streams(server, name)
    before = disk.metrics()
    with nearly_full(disk):
        # New things.
        said = refused(functions.create_response, name="never")
        assert "nearly full; nothing was changed" in said
        refused(client.update_function_code, FunctionName=name, ZipFile=ECHO)
        refused(client.update_function_configuration, FunctionName=name, Timeout=9)
        refused(client.publish_version, FunctionName=name)
        refused(client.tag_resource, Resource=arn, Tags={"a": "b"})
        refused(client.create_function_url_config, FunctionName=name, AuthType="NONE")
        refused(client.invoke, FunctionName=name, InvocationType="Event", Payload=b"1")
        refused(server.client("logs").create_log_group, logGroupName="never")
        done = server.cli("tenants", "create", check=False)
        assert done.returncode != 0 and "nearly full" in " ".join(done.stderr.split())
        # What is there.
        assert functions.call(name, 2) == 2
        assert functions.call(victim, 3) == 3
        assert client.get_function_configuration(FunctionName=name)["Timeout"] == 3
        assert {"never"}.isdisjoint(f["FunctionName"] for f in client.list_functions()["Functions"])
        assert streams(server, name) == lines, "its lines are lost, and counted"
        assert invocations(server, name) == 2, "it is billed"
        # Whatever makes room.
        server.client("logs").put_retention_policy(
            logGroupName=f"/aws/lambda/{name}", retentionInDays=1)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
        server.cli("tenants", "limits", server.account, "--functions", "500")
        client.delete_function(FunctionName=victim)
        # Whoever looks is told.
        health = send(server.admin, "GET", "/healthz")
        assert health.status == 200 and health.text.startswith("ok\n") and "disk: " in health.text
        assert send(server.admin, "GET", "/readyz").status == 200
        doctor = server.cli("doctor", "--data", server.data, check=False)
        assert doctor.returncode == 4 and "NO  disk" in doctor.stdout, doctor.stdout
        # The trail goes on: what was refused is on it, and so is what was not.
        rows = [json.loads(line) for line in server.cli("audit", "--json").stdout.splitlines()]
        seen = [(row["Action"], row["Result"], row["Error"]) for row in rows]
        assert ("lambda:UpdateFunctionCode", "failed", "ServiceUnavailableException") in seen
        assert ("lambda:DeleteFunction", "ok", None) in seen
        now = disk.metrics()
        assert now["freehold_disk_refusals_total"] >= before["freehold_disk_refusals_total"] + 9
        assert now["freehold_log_lines_lost_total"] > before["freehold_log_lines_lost_total"]
        assert now["freehold_disk_free_bytes"] < 0.05 * now["freehold_disk_bytes"]
    # All of it comes back by itself.
    assert send(server.admin, "GET", "/healthz").text == "ok\n"
    assert functions.call(functions.create(), 4) == 4
    assert functions.call(name, 5) == 5
    assert streams(server, name) > lines
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"6")
    end = time.monotonic() + 20
    while invocations(server, name) < 4:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_little_room_does_not_turn_it_over(disk):
    with nearly_full(disk):
        disk.leave(5.5)
        time.sleep(1.5)
        assert disk.metrics()["freehold_disk_low"] == 1.0
        disk.leave(6.5)
        disk.wait_low(False)
        disk.leave(5.5)
        time.sleep(1.5)
        assert disk.metrics()["freehold_disk_low"] == 0.0


def test_a_node_that_starts_on_a_nearly_full_disk_serves_what_it_has(disk):
    server = disk.server
    functions = Functions(server)
    name = functions.create()
    assert functions.call(name, 1) == 1
    with nearly_full(disk):
        server.restart()
        disk.wait_low(True)
        again = Functions(server)
        assert again.call(name, 2) == 2
        refused(again.create_response, name="never")


def test_a_disk_that_is_full_to_the_last_byte_recovers_by_itself(disk):
    server = disk.server
    functions = Functions(server)
    name = functions.create()
    assert functions.call(name, 1) == 1
    with nearly_full(disk):
        with contextlib.suppress(OSError):
            with disk.filler.open("ab") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        client = server.client("lambda")
        assert client.get_function_configuration(FunctionName=name)["State"] == "Active"
        refused(functions.create_response, name="never")
        refused(client.invoke, FunctionName=name, InvocationType="Event", Payload=b"1")
    assert functions.call(name, 2) == 2
    assert functions.call(functions.create(), 3) == 3


SLOW = python("""
import time, uuid

INSTANCE = str(uuid.uuid4())

def handler(event, context):
    until = time.monotonic() + event["seconds"]
    while time.monotonic() < until:
        print("still here")
        time.sleep(0.05)
    return {"of": event["of"], "instance": INSTANCE}
""")
# What a call is told that ran and that the ledger had no room for.
UNRECORDED = ("ServiceException", "The invocation ran and could not be recorded")


def came_of(call):
    """The answer of a call, or code and message of what it was told instead."""
    try:
        return call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]


class Going:
    """What goes on in threads of its own until the block ends: `told` has what came of each time."""

    def __init__(self, **ways):
        self.told = {name: [] for name in ways}
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.go, args=item) for item in ways.items()]

    def go(self, name, way):
        while not self.over.wait(0.02):
            try:
                self.told[name].append((time.monotonic(), way()))
            except ClientError as error:
                self.told[name].append((time.monotonic(), error.response))

    def since(self, begun):
        return {name: [came for at, came in told if at > begun] for name, told in self.told.items()}

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize("room", ["below the floor", "not a byte"])
def test_what_runs_while_the_disk_fills_goes_on(disk, room):
    """Calls that began before, calls that begin all the while, reads; and who writes is told. Without a
    byte for the ledger a call is run and says that it could not be recorded."""
    server = disk.server
    functions = Functions(server)
    slow, quick = functions.create(SLOW, Timeout=30), functions.create()
    assert functions.call(quick, "x") == "x"
    reader, writer = server.client("lambda"), server.client("lambda")
    arn = reader.get_function(FunctionName=quick)["Configuration"]["FunctionArn"]
    own = [Functions(server) for _ in range(4)]
    ways = dict(
        calls=lambda: came_of(lambda: own[3].call(quick, "x")),
        reads=lambda: reader.get_function_configuration(FunctionName=slow)["State"],
        writes=lambda: writer.tag_resource(Resource=arn, Tags={"a": "b"}))
    with concurrent.futures.ThreadPoolExecutor(3) as pool, Going(**ways) as going:

        def together(seconds):
            """Three calls of the slow one at once: what each came to."""
            return [pool.submit(came_of, lambda at=at: own[at].call(slow, {"seconds": seconds, "of": at}))
                    for at in range(3)]

        instances = {call.result(60)["instance"] for call in together(2)}
        assert len(instances) == 3
        try:
            running = together(8)
            time.sleep(1)
            assert not any(call.done() for call in running)
            disk.leave(3.5)
            disk.wait_low(True)
            if room == "not a byte":
                fill(disk)
            low = time.monotonic()
            came = [call.result(60) for call in running]
            during = going.since(low)
        finally:
            disk.leave(50)
        disk.wait_low(False)
        back = time.monotonic()
        again = [call.result(60) for call in together(2)]
        after = going.since(back)
    # What began with room ends without it, and its instance stays.
    for at, one in enumerate(came):
        assert one == UNRECORDED or (one["of"] == at and one["instance"] in instances), came
    assert {one["instance"] for one in again} == instances
    assert set(during["reads"]) == {"Active"} and len(during["reads"]) > 5
    assert during["calls"] and set(during["calls"]) <= {"x", UNRECORDED}
    if room == "below the floor":
        assert UNRECORDED not in came and UNRECORDED not in during["calls"]
    assert len(during["writes"]) > 2
    for told in during["writes"]:
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 503, told
        assert told["Error"]["Code"] == "ServiceUnavailableException", told
    # All of it comes back by itself, and what was answered is billed.
    assert after["calls"] and set(after["calls"]) == {"x"} and set(after["reads"]) == {"Active"}
    assert after["writes"][-1]["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert invocations(server, slow) == 6 + sum(one != UNRECORDED for one in came)


# What else is written


def fill(disk):
    """To the last byte: what is left are the pages that files have already."""
    with contextlib.suppress(OSError), disk.filler.open("ab") as file:
        while True:
            os.write(file.fileno(), bytes(1 << 16))
    with contextlib.suppress(OSError), disk.filler.open("ab") as file:
        while True:
            os.write(file.fileno(), bytes(512))


class Written:
    """One kind of thing that is written: `write` does it, `seen` is what shows whether it was done."""

    def __init__(self, disk):
        self.server = disk.server
        self.functions, self.client = Functions(disk.server), disk.server.client("lambda")
        self.prepare()

    def prepare(self):
        """Before the disk is full."""

    def settle(self):
        """What was written serves, once there is room."""

    def command(self, *arguments):
        """None, or what a command of the operator said that was refused."""
        done = self.server.cli(*arguments, check=False)
        return None if done.returncode == 0 else " ".join(done.stderr.split())

    def call(self, operation, **fields):
        """The same of a call of AWS's."""
        try:
            getattr(self.client, operation)(**fields)
        except ClientError as error:
            return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
        return None

    def rows(self, *arguments):
        return json.loads(self.server.cli(*arguments, "--json").stdout)


class Key(Written):
    def prepare(self):
        self.tenant = self.rows("tenants", "create")["key"]["tenant"]

    def write(self):
        return self.command("keys", "create", self.tenant)

    def seen(self):
        return sorted((row["access_key_id"], row["state"]) for row in self.rows("keys", "list", self.tenant))


class Rotation(Key):
    def write(self):
        active = [key for key, state in self.seen() if state == "active"]
        return self.command("keys", "rotate", active[0], "--overlap", "1h")


class Disabling(Key):
    """Takes nothing: it goes on below the floor."""

    makes_room = True

    def prepare(self):
        super().prepare()
        self.server.cli("keys", "create", self.tenant)

    def write(self):
        active = [key for key, state in self.seen() if state == "active"]
        return self.command("keys", "disable", active[0])


class Prices(Written):
    prices = 0

    def write(self):
        Prices.prices += 1
        return self.command("prices", "set", "--currency", "EUR", "--invocation", f"0.0{Prices.prices}")

    def seen(self):
        return self.rows("prices", "show")


class Budget(Written):
    def prepare(self):
        self.name = self.functions.create()

    def write(self):
        return self.command("budgets", "set", "--function", self.name, "--invocations", "1000", "--per", "month")

    def seen(self):
        return [row["name"] for row in self.rows("budgets", "list") if self.name in json.dumps(row)]


class Snapshot(Written):
    """A version with a start image: its record, and memory."""

    def prepare(self):
        self.name = self.functions.create(SnapStart={"ApplyOn": "PublishedVersions"})

    def write(self):
        return self.call("publish_version", FunctionName=self.name)

    def settle(self):
        # One that found the last room for its record becomes active when there is room for that.
        self.client.get_waiter("published_version_active").wait(
            FunctionName=self.name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        assert self.functions.call(self.name, 7, Qualifier="1") == 7

    def seen(self):
        versions = self.client.list_versions_by_function(FunctionName=self.name)["Versions"]
        return [one["Version"] for one in versions]


# What was done and has no line on the trail is not answered as done.
NOT_RECORDED = "was carried out and could not be written to the audit trail"
WRITTEN = [Key, Rotation, Disabling, Prices, Budget, Snapshot]


@pytest.mark.parametrize("room", ["below the floor", "not a byte", "not a byte, at once"])
def test_what_is_refused_was_not_done_and_is_done_once_there_is_room(disk, room):
    server = disk.server
    functions = Functions(server)
    name = functions.create(SPEAKER)
    kinds = [kind(disk) for kind in WRITTEN]
    before = [kind.seen() for kind in kinds]
    try:
        if room != "not a byte, at once":
            disk.leave(3.5)
            disk.wait_low(True)
        if room != "below the floor":
            fill(disk)
        # At once, the floor may not have been seen: the store itself refuses then.
        said = [kind.write() for kind in kinds]

        def check(kind, refusal, was):
            told = (type(kind).__name__, refusal)
            is_done = refusal is None or NOT_RECORDED in refusal
            assert (kind.seen() != was) == is_done, told
            assert is_done or "ServiceUnavailableException" in refusal, told
            assert room != "below the floor" or (refusal is None) == hasattr(kind, "makes_room"), told
        for each in zip(kinds, said, before):
            check(*each)
        # Files may have room left in blocks that they hold: a few lines on the trail more, and none has.
        prices, refusal = kinds[WRITTEN.index(Prices)], None
        for _ in range(0 if any(said) else 64):
            was = prices.seen()
            refusal = prices.write()
            check(prices, refusal, was)
            if refusal:
                break
        assert any(said) or refusal, "the disk was full"
        assert server.client("lambda").get_function_configuration(FunctionName=name)["State"] == "Active"
        assert server.cli("audit", "--json").stdout and name in server.cli("ls").stdout
        if room == "below the floor":
            assert functions.call(name, 1) == 1
    finally:
        disk.leave(50)
    disk.wait_low(False)
    assert functions.call(name, 2) == 2
    lines = streams(server, name)
    assert lines > 0, "a stream of lines is begun, too"
    # The same again, without a restart.
    for kind, refusal in zip(kinds, said):
        if refusal is not None and NOT_RECORDED not in refusal:
            was = kind.seen()
            assert kind.write() is None, type(kind).__name__
            assert kind.seen() != was, type(kind).__name__
        kind.settle()
    now = [kind.seen() for kind in kinds]
    trail = server.cli("audit", "--json").stdout.splitlines()
    assert any("freehold:SetPrices" in line and '"ok"' in line for line in trail), trail[-10:]
    # A restart finds all of it.
    server.restart()
    for kind, seen in zip(kinds, now):
        kind.client = server.client("lambda")
        assert kind.seen() == seen, type(kind).__name__
    assert set(trail) <= set(server.cli("audit", "--json").stdout.splitlines())
    assert streams(server, name) >= lines
    assert Functions(server).call(name, 3) == 3


@contextlib.contextmanager
def small(folder, size="256k"):
    """A disk of its own in place of a folder; `full(True)` leaves not a byte of it."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "freehold-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root to mount a small tmpfs; a full disk was not tried")
    filler = folder / "filler"

    def full(is_full):
        filler.unlink(missing_ok=True)
        if is_full:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
    try:
        yield full
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_certificate_that_a_full_disk_cut_short_is_not_taken(open_folder):
    """A renewal that writes into a full disk, then `freehold reload`."""
    authority = Authority(open_folder)
    first, second = authority.make_key("first"), authority.make_key("second")
    pairs = [(authority.sign(name, key).read_bytes(), key.read_bytes())
             for name, key in (("first", first), ("second", second))]
    live = open_folder / "live"
    live.mkdir()
    with small(live) as full:
        files = live / "tls.pem", live / "tls.key"
        config = live / "freehold.toml"

        def renew(pair):
            """What a client of an authority does: both files, in place."""
            for path, content in zip(files, pair):
                with contextlib.suppress(OSError), path.open("r+b" if path.exists() else "wb") as file:
                    file.truncate(0)
                    file.write(content + b"# " + b"x" * 8192 + b"\n")

        renew(pairs[0])
        config.write_text('[limits]\nsync_payload = "5MiB"\n')
        server = servers.Server(arguments=["--tls-cert", str(files[0]), "--tls-key", str(files[1]),
                                           "--config", str(config)])
        server.trusted = str(authority.certificate)

        def reload():
            return server.cli("reload", "--json", "--data", server.data, check=False, env={"AWS_ENDPOINT_URL": ""})
        try:
            server.start()
            shown = certificate_of(server, authority)
            functions = Functions(server)
            name = functions.create()
            full(True)
            renew((pairs[1][0], b""))
            done = reload()
            assert done.returncode == 4 and "tls." in done.stderr, (done.stdout, done.stderr)
            # Who was shown the old one is shown it on, and calls are answered.
            assert certificate_of(server, authority) == shown
            assert functions.call(name, 1) == 1
            full(False)
            renew(pairs[1])
            config.write_text('[limits]\nsync_payload = "4MiB"\n')
            applied = [row["key"] for row in json.loads(reload().stdout)["applied"]]
            assert sorted(applied) == ["limits.sync_payload", "tls.certificate"]
            now = certificate_of(server, authority)
            assert now != shown and functions.call(name, 2) == 2
            server.restart()
            assert certificate_of(server, authority) == now and Functions(server).call(name, 3) == 3
        finally:
            server.close()


def certificate_of(server, authority):
    """The certificate that a new connection is shown."""
    address = urllib.parse.urlsplit(server.url)
    with socket.create_connection(("127.0.0.1", address.port), 20) as plain:
        with authority.context().wrap_socket(plain, server_hostname="localhost") as one:
            return one.getpeercert(binary_form=True)


def test_an_order_that_finds_a_full_disk_keeps_nothing_and_is_made_again(open_folder):
    """ACME's account, its key, the order's state and the certificate."""
    authority = Authority(open_folder)
    impostor = Impostor(authority)
    server = servers.Server(orders(authority, impostor.base + "/dir", NAME))
    try:
        acme = server.data / "acme"
        acme.mkdir(mode=0o700)
        with small(acme) as full, contextlib.ExitStack() as ends:
            # Before the disk goes, whatever has failed.
            ends.callback(lambda: server.process is None or server.process.poll() is not None or server.stop())
            full(True)
            server.start()
            wait(server, lambda: count(server, "failed") == 1)
            assert server.endpoint["is_self_signed"]
            assert "could not be kept" in server.output()
            assert not [path for path in acme.rglob("*") if path.is_file() and path.name != "filler"
                        and path.stat().st_size], "nothing is half written"
            before = shown(server)
            full(False)
            reload(server)
            wait(server, lambda: count(server, "made") == 1)
            good = shown(server)
            assert good != before
            [account], [pair] = kept(server, "account.json"), kept(server)
            held = account.read_bytes()
            # With an account that is there, the certificate is what finds no room.
            pair.unlink()
            full(True)
            impostor.certificate = None
            server.restart()
            wait(server, lambda: count(server, "failed") == 1)
            assert kept(server) == [] and account.read_bytes() == held
            full(False)
            impostor.certificate = None
            reload(server)
            wait(server, lambda: count(server, "made") == 1)
            [pair] = kept(server)
            assert shown(server) != good and b"PRIVATE KEY" in pair.read_bytes()
            assert account.read_bytes() == held, "the account is the same"
            last = shown(server)
            server.restart()
            assert shown(server) == last and count(server, "failed") == 0
    finally:
        server.close()
        impostor.close()
