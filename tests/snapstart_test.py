"""SnapStart: what the API says of it, and how versions that have it start.

Whether this machine can carry a process is doctor's to say: a test that needs a start image skips
where it says no, and fails, with the reason that the version itself gives, where there is none all the same.
"""

import re
import time

import pytest
from botocore.exceptions import ClientError

from support import doctor
from support.functions import PYTHON, java_runtime, publish, python, unique, zip_of

ON = {"ApplyOn": "PublishedVersions"}
# What init makes is seen by the handler; so is which way the instance came up.
STATE = """
import os, random, time, uuid
print('init ran', flush=True)
born, token = time.time(), uuid.uuid4().hex
count = 0
def handler(event, context):
    global count
    count += 1
    if event:
        time.sleep(event)
    return {"token": token, "count": count, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "random": random.random(), "uuid": uuid.uuid4().hex, "urandom": os.urandom(16).hex(),
            "key": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
            "context": context.log_stream_name, "born": born, "now": time.time(), "pid": os.getpid()}
"""
HOOKS = """
from snapshot_restore_py import register_before_snapshot, register_after_restore
order = []
register_before_snapshot(lambda: order.append('before'))
register_after_restore(lambda: order.append('after'))
def handler(event, context):
    return order
"""


def carried(version):
    """The number of a version that starts from an image, as it has to wherever the machine takes any."""
    is_carried = version["SnapStart"]["OptimizationStatus"] == "On"
    if not is_carried:
        doctor.needs_images()
    assert is_carried, version.get("StateReason")
    return version["Version"]


def test_the_setting_is_kept_and_shown(functions, client):
    name = functions.create(SnapStart=ON)
    head = client.get_function_configuration(FunctionName=name)
    assert head["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    version = publish(client, name)
    assert (version["State"], version["SnapStart"]["ApplyOn"]) == ("Active", "PublishedVersions")
    # Either it starts from an image, or it says why not.
    assert (version["SnapStart"]["OptimizationStatus"] == "On") == ("StateReason" not in version)
    # The same again is the same version; without SnapStart it is another.
    assert publish(client, name)["Version"] == "1"
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})
    functions.wait_updated(name)
    assert client.get_function_configuration(FunctionName=name)["SnapStart"] == {
        "ApplyOn": "None", "OptimizationStatus": "Off"}
    plain = publish(client, name)
    assert (plain["Version"], plain["SnapStart"]["ApplyOn"]) == ("2", "None")
    assert "StateReason" not in plain


def test_an_update_keeps_what_it_does_not_name(functions, client):
    name = functions.create()
    client.update_function_configuration(FunctionName=name, SnapStart=ON)
    functions.wait_updated(name)
    client.update_function_configuration(FunctionName=name, Timeout=7)
    functions.wait_updated(name)
    assert client.get_function_configuration(FunctionName=name)["SnapStart"]["ApplyOn"] == "PublishedVersions"


def test_a_version_waits_for_its_image(functions, client):
    name = functions.create(python("import time\ntime.sleep(2)\ndef handler(e, c): return e\n"), SnapStart=ON)
    pending = client.publish_version(FunctionName=name)
    assert (pending["State"], pending["StateReasonCode"]) == ("Pending", "Creating")
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert functions.call(name, 5, Qualifier="1") == 5


@pytest.mark.parametrize("runtime", ["provided.al2023", "nodejs"])
def test_runtimes_without_it_are_refused(functions, runtime):
    with pytest.raises(ClientError) as caught:
        functions.create_response(Runtime=runtime, Handler="index.handler", SnapStart=ON)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    if runtime == "provided.al2023":
        assert error["Message"] == f"{runtime} is not supported for SnapStart enabled functions."


def test_what_the_model_does_not_know_is_refused(functions, client, refuses):
    name = functions.create()
    with refuses("ValidationException", "PublishedVersions", 400):
        client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "Sometimes"})


def test_java_takes_it_and_says_how_it_starts(functions, client, tmp_path):
    import subprocess
    runtime = java_runtime()
    if runtime is None:
        pytest.skip("no JDK here")
    (tmp_path / "Kind.java").write_text("""
public class Kind {
    public String handle(Object event) { return System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"); }
}
""")
    subprocess.run(["javac", "Kind.java"], cwd=tmp_path, check=True, timeout=120)
    package = zip_of({"Kind.class": (tmp_path / "Kind.class").read_bytes()})
    name = functions.create(package, Runtime=runtime, Handler="Kind::handle", SnapStart=ON, MemorySize=256, Timeout=20)
    version = publish(client, name)
    assert (version["State"], version["SnapStart"]) == ("Active", {**ON, "OptimizationStatus": "Off"})
    assert version["StateReason"].startswith("SnapStart does not apply to this version: ")
    assert [functions.call(name, 1, Qualifier="1"), functions.call(name, 1)] == ["snap-start", "on-demand"]


@pytest.mark.parametrize("body, code, text", [
    ("raise ValueError('at publish')\n", "FunctionError.RuntimeInitError", "ValueError: at publish"),
    ("import os\nos._exit(3)\n", "FunctionError.RuntimeInitError", "exit status 3"),
    ("import nothing_of_that_name\n", "FunctionError.RuntimeInitError", "ImportModuleError"),
])
def test_an_init_that_fails_fails_the_version(functions, client, refuses, body, code, text):
    name = functions.create(python(body + "def handler(e, c): pass\n"), SnapStart=ON)
    version = publish(client, name)
    if version["State"] == "Active":
        doctor.needs_images()
    assert (version["State"], version.get("StateReasonCode")) == ("Failed", code), version.get("StateReason")
    assert text in version["StateReason"]
    with refuses("ResourceConflictException"):
        client.invoke(FunctionName=name, Qualifier="1")


def test_a_version_starts_from_its_image(functions, client, server):
    name = functions.create(python(STATE), SnapStart=ON, Timeout=10)
    version = carried(publish(client, name))
    answer = functions.invoke(name, 0, Qualifier=version, LogType="Tail")
    assert answer.payload["kind"] == "snap-start"
    assert re.search(r"\tRestore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms\t", answer.log), answer.log
    assert "Init Duration" not in answer.log
    warm = functions.invoke(name, 0, Qualifier=version, LogType="Tail")
    assert "Restore Duration" not in warm.log
    assert (warm.payload["token"], warm.payload["count"]) == (answer.payload["token"], 2)
    # Init ran at publish, once.
    logs = server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")
    lines = [event["message"] for event in logs["events"]]
    assert sum("init ran" in line for line in lines) == 1
    assert any(line.startswith("RESTORE_START Runtime Version: ") for line in lines)
    assert any(line.startswith("RESTORE_REPORT Restore Duration: ") for line in lines)
    # The head is not carried.
    assert functions.call(name, 0)["kind"] == "on-demand"


def test_twins_share_what_init_made_and_nothing_else(functions, client):
    import concurrent.futures
    name = functions.create(python(STATE), SnapStart=ON, Timeout=20)
    version = carried(publish(client, name))
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: functions.call(name, 6, Qualifier=version), range(12)))
    assert {a["token"] for a in answers} == {answers[0]["token"]}
    assert {a["born"] for a in answers} == {answers[0]["born"]}
    own = [a for a in answers if a["count"] == 1]
    assert len(own) >= 8
    for what in ("random", "uuid", "urandom", "key", "stream"):
        assert len({a[what] for a in own}) == len(own), what
    for one in own:
        assert one["stream"] == one["context"]
        assert one["now"] >= one["born"]


def test_memory_that_init_filled_counts_as_if_each_instance_had_filled_it(functions, client):
    """Of 256 MB init fills 150: read, changed, beside more, beside files.

    Heads run init themselves, in interpreters that came up in several ways, of which some have done more
    before than others (6 MB on a busy machine): the least of them did nothing else.
    """
    body = """
import time
held = bytearray(150 << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
def handler(event, context):
    if "write" in event:
        for at in range(0, len(held), 4096):
            held[at] = event["write"]
    more = bytearray(event.get("more", 0) << 20)
    with open("/tmp/file", "wb") as file:
        for _ in range(event.get("file", 0)):
            file.write(bytes(1 << 20))
    time.sleep(event.get("s", 0))
    return sum(held[::4096])
"""
    name = functions.create(python(body), SnapStart=ON, Timeout=20, MemorySize=256)
    first, second = (carried(publish(client, name, Description=text)) for text in ("one", "two"))

    heads = [name, *(functions.create(python(body), Timeout=20, MemorySize=256) for _ in range(2))]

    def used(event, version, name=name):
        answer = functions.invoke(name, event, Qualifier=version, LogType="Tail")
        assert (answer.error, answer.payload) == (None, 150 * 256 * event.get("write", 1))
        return int(re.search(r"Max Memory Used: (\d+) MB", answer.log).group(1))
    for event in ({}, {"write": 1}, {"write": 1, "more": 40}):
        thawed, executed = used(event, first), min(used(event, "$LATEST", head) for head in heads)
        assert abs(thawed - executed) <= executed * 0.05, (event, thawed, executed)
    # What the kernel takes back before it ends anybody ends nobody.
    assert used({"file": 300}, first) <= 256
    # Touched and not copied, the image counts beside what is the instance's own.
    over = functions.invoke(name, {"more": 130, "s": 10}, Qualifier=second)
    assert over.payload["errorType"] == "Runtime.OutOfMemory"


def test_what_the_first_event_touches_not_of_an_image_is_not_reported(functions, client):
    body = """
held = bytearray(9 << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
def handler(event, context):
    return len(held)
"""
    name = functions.create(python(body), SnapStart=ON, MemorySize=128)
    answer = functions.invoke(name, {}, Qualifier=carried(publish(client, name)), LogType="Tail")
    assert (answer.error, answer.payload) == (None, 9 << 20) and "Restore Duration" in answer.log
    assert int(re.search(r"Max Memory Used: (\d+) MB", answer.log).group(1)) <= 9


def test_hooks_run_once_on_every_way_up(functions, client):
    name = functions.create(python(HOOKS), SnapStart=ON)
    version = publish(client, name)
    answer = functions.invoke(name, Qualifier=version["Version"])
    assert answer.payload == ["before", "after"]
    # One that is not carried has none to run.
    assert functions.call(name) == []


WRAPPER = '#!/bin/bash\nexport WRAPPED=yes\nexec "$@"\n'


def wrapped(functions, code, **fields):
    """A function that is executed by a script in its package."""
    package = zip_of({"index.py": code, "wrapper": WRAPPER}, executable=["wrapper"])
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}}
    return functions.create(package, SnapStart=ON, Environment=variables, **fields)


def test_a_version_behind_a_wrapper_is_served_with_its_hooks(functions, client):
    name = wrapped(functions, HOOKS.replace(
        "    return order\n", "    import os\n    return [order, os.environ['WRAPPED'], os.getpid()]\n"))
    version = publish(client, name)
    assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
    answers = [functions.invoke(name, Qualifier="1", LogType="Tail") for _ in range(2)]
    for answer in answers:
        assert answer.error is None, answer.payload
        assert answer.payload[:2] == [["before", "after"], "yes"]
    assert "Init Duration" in answers[0].log and "Init Duration" not in answers[1].log
    assert answers[0].payload == answers[1].payload, "one instance has served both"
    assert functions.call(name)[:2] == [[], "yes"]
    probe = functions.create(python("def handler(e, c): return e\n"), SnapStart=ON)
    carried(publish(client, probe))
    assert "AWS_LAMBDA_EXEC_WRAPPER" in version["StateReason"]


def test_a_hook_behind_a_wrapper_fails_as_any_other(functions, client):
    name = wrapped(functions, HOOKS.replace("order.append('after')", "1 / 0"))
    assert publish(client, name)["State"] == "Active"
    answer = functions.invoke(name, Qualifier="1", LogType="Tail")
    assert (answer.error, answer.payload["errorMessage"]) == ("Unhandled", "division by zero")
    assert "Runtime.AfterRestoreError" in answer.log
    name = wrapped(functions, HOOKS.replace("order.append('before')", "1 / 0"))
    version = publish(client, name)
    if version["State"] == "Active":
        doctor.needs_images()
    assert (version["State"], version.get("StateReason")) == (
        "Failed", "Runtime.BeforeSnapshotError: division by zero")


def test_a_hook_that_fails_before_the_snapshot_fails_the_version(functions, client):
    name = functions.create(python(HOOKS.replace("order.append('before')", "1 / 0")), SnapStart=ON)
    version = publish(client, name)
    if version["State"] == "Active":
        doctor.needs_images()
    assert (version["State"], version.get("StateReason")) == (
        "Failed", "Runtime.BeforeSnapshotError: division by zero")


def test_a_hook_that_ends_the_process_fails_the_version(functions, client):
    name = functions.create(python(
        "import sys\nfrom snapshot_restore_py import register_before_snapshot\n"
        "register_before_snapshot(lambda: sys.exit(7))\ndef handler(e, c): return e\n"), SnapStart=ON)
    version = publish(client, name)
    if version["State"] == "Active":
        doctor.needs_images()
    assert (version["State"], version.get("StateReason")) == (
        "Failed", "Runtime exited with error: exit status 7")


@pytest.mark.parametrize("init, text", [
    ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n", "thread"),
    ("import socket\nheld = socket.socketpair()\n", "socket|descriptor"),
    ("held = open('/tmp/mine', 'w')\nheld.write('x')\nheld.flush()\n", "tmp|descriptor|file"),
    ("open('/tmp/left', 'w').write('x')\n", "tmp"),
    ("import subprocess\nheld = subprocess.Popen(['sleep', '60'])\n", "child|process"),
])
def test_what_cannot_be_carried_is_named_and_served(functions, client, init, text):
    name = functions.create(python(init + "def handler(e, c): return e\n"), SnapStart=ON)
    version = publish(client, name)
    assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
    reason = version["StateReason"]
    assert reason.startswith("SnapStart does not apply to this version: ")
    answer = functions.invoke(name, 7, Qualifier="1", LogType="Tail")
    assert answer.payload == 7
    assert "Init Duration" in answer.log
    probe = functions.create(python("def handler(e, c): return e\n"), SnapStart=ON)
    carried(publish(client, probe))
    assert re.search(text, reason), reason


def test_after_a_restart_it_is_made_again_behind_a_plain_start(start_server):
    from support.functions import Functions
    server = start_server()
    functions = Functions(server)
    name = functions.create(python(STATE), SnapStart=ON)
    version = carried(publish(functions.client, name))
    server.restart()
    functions = Functions(server)
    found = functions.client.get_function_configuration(FunctionName=name, Qualifier=version)
    assert (found["State"], found["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
    first = functions.invoke(name, 0, Qualifier=version, LogType="Tail")
    assert "Init Duration" in first.log
    end = time.monotonic() + 30
    while "freehold_snapshots 1" not in metrics(server):
        assert time.monotonic() < end
        time.sleep(0.1)


def metrics(server):
    import urllib.request
    return urllib.request.urlopen(f"{server.admin}/metrics", timeout=10).read().decode()


def held(server):
    """Start images that the server holds."""
    return int(float(re.search(r"^freehold_snapshots (\S+)$", metrics(server), re.M).group(1)))


def wait_until(check, seconds=30):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_clients_of_init_sign_with_the_instances_own_keys(functions, client):
    target = functions.create(python("def handler(e, c): return e + 1\n"))
    name = functions.create(python(f"""
import boto3, json, os, urllib.request
client = boto3.client('lambda')
def own():
    token = os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']
    asked = urllib.request.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={{'Authorization': token}})
    return json.load(urllib.request.urlopen(asked))
def handler(e, c):
    answer = client.invoke(FunctionName='{target}', Payload=b'41')
    keys = client._request_signer._credentials.get_frozen_credentials()
    return [json.loads(answer['Payload'].read()), keys.access_key == own()['AccessKeyId']]
"""), SnapStart=ON, Timeout=30, MemorySize=256)
    version = publish(client, name)
    if "No module named 'boto3'" in str(version.get("StateReason")):
        pytest.skip("no boto3 for functions: 'freehold runtimes install' had no network")
    assert functions.call(name, Qualifier=carried(version)) == [42, True]


def test_json_logs_name_the_restore(functions, client, server):
    name = functions.create(SnapStart=ON, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "DEBUG"})
    version = carried(publish(client, name))
    functions.call(name, 1, Qualifier=version)
    import json
    events = server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    lines = [json.loads(event["message"]) for event in events]
    kinds = [line["type"] for line in lines]
    for kind in ("platform.initStart", "platform.initReport", "platform.restoreStart",
                 "platform.restoreRuntimeDone", "platform.restoreReport", "platform.report"):
        assert kinds.count(kind) == 1, (kind, kinds)
    of = {line["type"]: line["record"] for line in lines}
    assert of["platform.initStart"]["initializationType"] == "snap-start"
    assert of["platform.initReport"]["initializationType"] == "snap-start"
    assert of["platform.restoreStart"]["functionVersion"] == version
    assert of["platform.restoreReport"]["metrics"]["durationMs"] > 0
    report = of["platform.report"]["metrics"]
    assert report["restoreDurationMs"] > 0 and report["billedRestoreDurationMs"] >= 1
    assert "initDurationMs" not in report
    assert report["billedDurationMs"] >= report["billedRestoreDurationMs"]


def test_an_image_goes_with_its_version(functions, client, server):
    name = functions.create(SnapStart=ON)
    version = carried(publish(client, name))
    before = held(server)
    client.delete_function(FunctionName=name, Qualifier=version)
    assert held(server) == before - 1
    other = functions.create(SnapStart=ON)
    carried(publish(client, other))
    client.delete_function(FunctionName=other)
    assert held(server) == before - 1


def test_instances_that_crash_in_a_row_cost_the_image(functions, client, server):
    name = functions.create(python(
        "import os, signal\ndef handler(e, c):\n    if e:\n        os.kill(os.getpid(), signal.SIGSEGV)\n"), SnapStart=ON)
    version = carried(publish(client, name))
    before = held(server)
    for _ in range(3):
        assert functions.invoke(name, True, Qualifier=version).error == "Unhandled"
    assert held(server) == before - 1
    # The next start does not wait for its successor.
    answer = functions.invoke(name, Qualifier=version, LogType="Tail")
    assert answer.error is None and "Init Duration" in answer.log
    wait_until(lambda: held(server) == before)


def test_memory_for_images_has_a_limit(start_server):
    from support.functions import Functions
    functions = Functions(start_server('[snapstart]\nmemory = "1MiB"\n'))
    name = functions.create(SnapStart=ON)
    version = publish(functions.client, name)
    assert (version["State"], version["SnapStart"]["OptimizationStatus"]) == ("Active", "Off")
    assert functions.call(name, 5, Qualifier="1") == 5
    doctor.needs_images()
    assert re.search(r"takes \d+ MB, of 0 that an account may hold", version["StateReason"]), version["StateReason"]


def test_an_image_is_made_anew_after_its_starts(start_server):
    from support.functions import Functions
    server = start_server('[snapstart]\nmax_starts = 2\n[instances]\nidle_timeout = "1s"\n')
    functions = Functions(server)
    name = functions.create(python(STATE), SnapStart=ON)
    version = carried(publish(functions.client, name))
    tokens = []

    def changed():
        tokens.append(functions.call(name, 0, Qualifier=version)["token"])
        time.sleep(1.5)
        return len(set(tokens)) > 1

    wait_until(changed, 60)
    assert len(tokens) > 2 and len(set(tokens[:2])) == 1


NUMPY = """
import numpy, os
def threads():
    return len(os.listdir('/proc/self/task'))
loaded = threads()
def handler(e, c):
    square = numpy.random.rand(600, 600)
    (square @ square).sum()
    return [loaded, threads(), os.environ['OMP_NUM_THREADS'], float(numpy.random.rand())]
"""


def test_numeric_libraries_start_no_thread_before_the_snapshot(functions, client):
    numpy = pytest.importorskip("numpy")
    import pathlib
    site = pathlib.Path(numpy.__file__).parents[1]
    files = {str(path.relative_to(site)): path.read_bytes()
             for folder in ("numpy", "numpy.libs") for path in (site / folder).rglob("*")
             if path.is_file() and "tests" not in path.parts and path.suffix != ".pyc"}
    name = functions.create(zip_of({**files, "index.py": NUMPY}), SnapStart=ON, MemorySize=3538, Timeout=30)
    version = carried(publish(client, name))
    loaded, after, told, drawn = functions.call(name, Qualifier=version)
    assert (loaded, told) == (1, "2")
    # The pool has grown to what the memory buys, where the machine has as many.
    import os
    assert after == min(2, os.cpu_count())
    # The head has never been carried: its pool is the same.
    assert functions.call(name)[1:3] == [after, "2"]


OPENMP = """
import ctypes, os
openmp = ctypes.CDLL('/var/task/libgomp.so.1')
loaded = openmp.omp_get_max_threads()
def handler(e, c):
    return [loaded, openmp.omp_get_max_threads(), os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS']]
"""


def test_openmp_has_one_thread_before_the_snapshot_and_its_share_after(functions, client):
    import pathlib
    found = [path for folder in ("/usr/lib", "/usr/lib64") for path in pathlib.Path(folder).rglob("libgomp.so.1")]
    if not found:
        pytest.skip("no OpenMP of GCC on this machine")
    package = zip_of({"index.py": OPENMP, "libgomp.so.1": found[0].read_bytes()})
    variables = {"Variables": {"MKL_NUM_THREADS": "4"}}
    name = functions.create(package, SnapStart=ON, MemorySize=3538, Timeout=30, Environment=variables)
    version = carried(publish(client, name))
    assert functions.call(name, Qualifier=version) == [1, 2, "2", "4"]
    assert functions.call(name) == [2, 2, "2", "4"]
    # What the function says holds, but for the time when the image is made.
    variables = {"Variables": {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "1"}}
    name = functions.create(package, SnapStart=ON, MemorySize=256, Timeout=30, Environment=variables)
    version = carried(publish(client, name))
    assert functions.call(name, Qualifier=version) == [1, 3, "3", "1"]
