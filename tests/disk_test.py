"""The disk's floor: below 5 % of free room new things are refused, what is there goes on, and all of
it comes back by itself. The store lies on a small disk of its own."""

import contextlib
import json
import os
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from support import server as servers
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
    name, victim = functions.create(SPEAKER), functions.create()
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
