"""CloudWatch Logs of functions: every line once, with its request id, and no line that is not one."""

import json
import os
import pty
import re
import sqlite3
import subprocess
import time

import pytest

from support import server as servers
from support.functions import Functions, python


@pytest.fixture(scope="module")
def logs(server):
    return server.client("logs")


def group(name):
    return f"/aws/lambda/{name}"


def events(logs, name, **fields):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group(name), **fields)
    return [event for page in pages for event in page["events"]]


def messages(logs, name, **fields):
    return [event["message"].rstrip("\n") for event in events(logs, name, **fields)]


def test_a_call_has_its_lines_in_order(functions, logs):
    name = functions.create(python("def handler(e, c):\n    print('one')\n    print('two')\n"))
    request_id = functions.invoke(name).request_id
    lines = messages(logs, name)
    assert lines[0].startswith("INIT_START Runtime Version: ")
    assert lines[1] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[2:4] == ["one", "two"]
    assert lines[4] == f"END RequestId: {request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t", lines[5])
    assert len(lines) == 6


def test_groups_and_streams_are_described(functions, logs):
    name = functions.create()
    functions.call(name)
    groups = logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"]
    assert [g["logGroupName"] for g in groups] == [group(name)]
    assert groups[0]["arn"] == f"arn:aws:logs:us-east-1:{functions.account}:log-group:{group(name)}:*"
    assert "retentionInDays" not in groups[0]
    streams = logs.describe_log_streams(logGroupName=group(name))["logStreams"]
    assert len(streams) == 1
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", streams[0]["logStreamName"])
    got = logs.get_log_events(logGroupName=group(name), logStreamName=streams[0]["logStreamName"],
                              startFromHead=True)
    assert len(got["events"]) == len(events(logs, name))
    assert got["nextForwardToken"] and got["nextBackwardToken"]


def test_a_stream_is_read_page_by_page(functions, logs):
    name = functions.create(python("def handler(e, c):\n    for n in range(100): print('n', n)\n"))
    functions.call(name)
    stream = logs.describe_log_streams(logGroupName=group(name))["logStreams"][0]["logStreamName"]
    seen, token = [], None
    while True:
        page = logs.get_log_events(logGroupName=group(name), logStreamName=stream, limit=17,
                                   startFromHead=True, **({"nextToken": token} if token else {}))
        if page["nextForwardToken"] == token:
            break
        assert len(page["events"]) <= 17
        seen += [e["message"].rstrip("\n") for e in page["events"]]
        token = page["nextForwardToken"]
    assert [line for line in seen if line.startswith("n ")] == [f"n {n}" for n in range(100)]


def test_filters(functions, logs):
    name = functions.create(python(
        "def handler(e, c):\n    print('ERROR one')\n    print('fine')\n    print('an ERROR two here')\n"))
    before = int(time.time() * 1000) - 60_000
    functions.call(name)
    assert messages(logs, name, filterPattern="ERROR") == ["ERROR one", "an ERROR two here"]
    assert messages(logs, name, filterPattern='"ERROR two"') == ["an ERROR two here"]
    assert messages(logs, name, filterPattern="ERROR two") == ["an ERROR two here"]
    assert messages(logs, name, filterPattern="nothing-like-it") == []
    assert messages(logs, name, endTime=before) == []
    assert len(messages(logs, name, startTime=before)) >= 6


def test_a_printed_report_fools_nobody(functions, logs, server):
    """A function can print anything; what is billed is what the platform measured."""
    forged = "REPORT RequestId: {}\\tDuration: 1.00 ms\\tBilled Duration: 987654 ms\\tMemory Size: 128 MB\\t"
    name = functions.create(python(
        f"def handler(e, c):\n    print('{forged}'.format(c.aws_request_id))\n    print('END RequestId: x')\n"))
    request_id = functions.invoke(name).request_id
    reports = [line for line in messages(logs, name) if line.startswith(f"REPORT RequestId: {request_id}")]
    assert len(reports) == 2 and "987654" in reports[0]
    real = int(re.search(r"Billed Duration: (\d+) ms", reports[1])[1])
    rows = [row for row in json.loads(server.cli("usage", "--json").stdout) if row["function"] == name]
    assert [(row["invocations"], row["billed_ms"]) for row in rows] == [(1, real)]


def test_json_format(functions, logs):
    body = "import logging\ndef handler(e, c):\n    logging.getLogger().warning('careful')\n" \
           "    logging.getLogger().debug('hidden')\n"
    name = functions.create(python(body), LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"})
    request_id = functions.invoke(name).request_id
    rows = [json.loads(line) for line in messages(logs, name)]
    types = [row["type"] for row in rows if "type" in row]
    assert types[0] == "platform.initStart"
    assert "platform.start" in types and types[-1] == "platform.report"
    report = rows[-1]["record"]
    assert report["requestId"] == request_id
    assert report["metrics"]["memorySizeMB"] == 128
    assert report["status"] == "success"
    app = [(row["level"], row["message"], row["requestId"]) for row in rows if "type" not in row]
    assert app == [("WARNING", "careful", request_id)]


def test_a_log_group_of_ones_own(functions, logs):
    name = functions.create(python("def handler(e, c): print('elsewhere')\n"),
                            LoggingConfig={"LogGroup": "/shared/group"})
    functions.call(name)
    lines = logs.filter_log_events(logGroupName="/shared/group", filterPattern="elsewhere")["events"]
    assert len(lines) == 1
    assert logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"] == []


def test_odd_bytes_keep_their_place(functions, logs):
    body = r"""
import os
def handler(e, c):
    os.write(1, b'nul:\x00:end\n')
    os.write(1, b'bad utf-8:\xff\xfe:end\n')
    os.write(1, b'\x1b[31mred\x1b[0m\n')
    os.write(2, 'to stderr ü'.encode())
    os.write(1, b'no newline at the end')
"""
    name = functions.create(python(body))
    functions.call(name)
    lines = messages(logs, name)[2:-2]
    assert lines[0].replace("\u2400", "\0") == "nul:\0:end"
    assert lines[1] == "bad utf-8:\ufffd\ufffd:end"
    assert lines[2] == "\x1b[31mred\x1b[0m"
    # Two pipes have no order between them.
    assert sorted(lines[3:]) == ["no newline at the end", "to stderr ü"]


def test_control_characters_are_escaped_on_a_terminal(functions, server):
    name = functions.create(python("def handler(e, c): print('\\x1b[31mred\\x1b[0m \\x07 bell')\n"))
    functions.call(name)
    terminal, inside = pty.openpty()
    shown = b""
    try:
        process = subprocess.Popen([str(servers.binary()), "logs", name], stdout=inside,
                                   env={**server.environment(), "NO_COLOR": "1"})
        os.close(inside)
        while b"REPORT" not in shown:
            shown += os.read(terminal, 65536)
    finally:
        process.wait(30)
        os.close(terminal)
    assert b"\x1b[31m" not in shown and b"\x07" not in shown
    assert b"red" in shown and b"bell" in shown


def test_a_flood_is_counted_to_the_line(functions, logs):
    body = "import os\ndef handler(e, c):\n    block = b''.join(b'line %d\\n' % n for n in range(1000))\n" \
           "    for _ in range(e): os.write(1, block)\n"
    name = functions.create(python(body), Timeout=60, MemorySize=256)
    blocks = 300
    functions.call(name, blocks)
    lines = messages(logs, name)
    kept = sum(1 for line in lines if line.startswith("line "))
    lost = sum(int(n) for line in lines for n in re.findall(r"(\d+) lines? (?:were )?lost", line))
    assert kept + lost == blocks * 1000


def test_an_endless_line_is_cut_and_the_call_ends(functions, logs):
    body = "import os\ndef handler(e, c):\n    block = b'x' * (1 << 20)\n" \
           "    for _ in range(e): os.write(1, block)\n    os.write(1, b'\\n')\n    print('after')\n    return 'done'\n"
    name = functions.create(python(body), Timeout=120, MemorySize=256)
    assert functions.call(name, 1024) == "done"
    lines = messages(logs, name)
    longest = max(len(line) for line in lines)
    assert 0 < longest <= 256 * 1024 + 100
    assert "after" in lines


def test_lines_up_to_the_kill_are_kept(functions, logs):
    name = functions.create(python(
        "import time\ndef handler(e, c):\n    print('before the kill', flush=True)\n    time.sleep(30)\n"), Timeout=1)
    request_id = functions.invoke(name).request_id
    lines = messages(logs, name)
    assert "before the kill" in lines
    assert any(re.search(rf"{request_id} Task timed out after 1\.00 seconds", line) for line in lines)


def test_lines_after_the_answer_are_not_lost(functions, logs):
    body = "import threading, time\ndef late():\n    time.sleep(0.01)\n    print('late', flush=True)\n" \
           "def handler(e, c):\n    threading.Thread(target=late).start()\n    return 1\n"
    name = functions.create(python(body))
    functions.call(name)
    end = time.monotonic() + 20
    while time.monotonic() < end and "late" not in messages(logs, name):
        # Where it was frozen before its thread had a processor, the next event lets it go on.
        functions.call(name)
        time.sleep(0.2)
    assert "late" in messages(logs, name)
    # Nor are those of one that is replaced: what it has written is read to its end.
    functions.server.client("lambda").update_function_configuration(FunctionName=name, Timeout=9)
    before = messages(logs, name).count("late")
    functions.call(name)
    while time.monotonic() < end + 20 and messages(logs, name).count("late") <= before:
        functions.call(name)
        time.sleep(0.2)
    assert messages(logs, name).count("late") > before


def test_retention_and_deletion(functions, logs, refuses):
    name = functions.create()
    functions.call(name)
    logs.put_retention_policy(logGroupName=group(name), retentionInDays=7)
    described = logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"][0]
    assert described["retentionInDays"] == 7
    with refuses("InvalidParameterException"):
        logs.put_retention_policy(logGroupName=group(name), retentionInDays=8)
    logs.delete_log_group(logGroupName=group(name))
    assert logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"] == []
    with refuses("ResourceNotFoundException", "The specified log group does not exist"):
        logs.filter_log_events(logGroupName=group(name))
    functions.call(name)
    assert len(messages(logs, name)) >= 3


@pytest.mark.parametrize("operation, fields", [
    ("describe_log_streams", {}), ("filter_log_events", {}), ("delete_log_group", {}),
    ("get_log_events", {"logStreamName": "x"}), ("put_retention_policy", {"retentionInDays": 1})])
def test_a_group_that_is_not_there(logs, refuses, operation, fields):
    with refuses("ResourceNotFoundException", "log group does not exist", 400):
        getattr(logs, operation)(logGroupName="/not/there", **fields)


def test_logs_outlive_a_restart(start_server):
    server = start_server()
    functions = Functions(server)
    name = functions.create(python("def handler(e, c): print('remember me')\n"))
    functions.call(name)
    server.restart()
    assert "remember me" in messages(server.client("logs"), name)


def test_a_stop_leaves_an_index_that_has_every_stream(start_server):
    """However short before it the first line came."""
    one = start_server()
    functions = Functions(one)
    name = functions.create()
    functions.call(name, 1)
    one.stop()
    store = one.data / "store"
    assert not (store / "logs.db-wal").exists() or (store / "logs.db-wal").stat().st_size == 0
    with sqlite3.connect(f"file:{store / 'logs.db'}?mode=ro", uri=True) as base:
        assert (f"/aws/lambda/{name}",) in base.execute("SELECT name FROM groups").fetchall()


def test_the_cli_follows(functions, server):
    name = functions.create(python("def handler(e, c): print('followed', e)\n"))
    functions.call(name, "before")
    follow = subprocess.Popen([str(servers.binary()), "logs", name, "-f"], stdout=subprocess.PIPE,
                              text=True, env=server.environment())
    try:
        functions.call(name, "now")
        for line in follow.stdout:
            if "followed now" in line:
                break
        else:
            pytest.fail("the follower ended without the line")
    finally:
        follow.terminate()
        follow.wait(10)


def test_filter_patterns_over_fields_columns_and_expressions(functions, logs, refuses):
    name = functions.create(python(
        "def handler(e, c):\n"
        "    print('{\"level\": \"ERROR\", \"ms\": 120, \"user\": {\"id\": 7}}')\n"
        "    print('{\"level\": \"INFO\", \"ms\": 3}')\n"
        "    print('10.0.0.1 GET \"/a b\" 404 12')\n"))
    functions.call(name)

    def found(pattern):
        return [text.split()[0] + text[-4:] for text in messages(logs, name, filterPattern=pattern)]

    assert found('{ $.level = "ERROR" && $.user.id = 7 }') == ['{"level":' + " 7}}"]
    assert found("{ $.ms < 100 }") == ['{"level":' + ": 3}"]
    assert found("{ $.user NOT EXISTS || $.ms > 100 }") == ['{"level":' + " 7}}", '{"level":' + ": 3}"]
    assert found("[ip, method, path = *b, status = 4*, bytes > 10]") == ["10.0.0.1" + "4 12"]
    assert found("%10\\.0\\.0\\.[0-9]% ") == ["10.0.0.1" + "4 12"]
    with refuses("InvalidParameterException", "Invalid filter pattern"):
        logs.filter_log_events(logGroupName=group(name), filterPattern="{ $.level = }")


def test_a_record_of_several_lines_is_one_event(functions, logs):
    name = functions.create(python(
        "import logging\ndef handler(e, c):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
        "        logging.exception('bad')\n    print('after')\n"))
    functions.call(name)
    found = [text for text in messages(logs, name) if text.startswith("[ERROR]")]
    assert len(found) == 1 and "bad" in found[0]
    assert found[0].endswith("\rZeroDivisionError: division by zero")
    assert "after" in messages(logs, name)
