"""From function to function: through the platform's endpoint of the caller's own instance."""

import pathlib
import re
import time

import pytest

from support.functions import python, zip_of

CALL = """
import boto3, json, os
from botocore.config import Config
from botocore.exceptions import ClientError
client = boto3.client('lambda', config=Config(retries={'total_max_attempts': 1}))
def call(name, event=None, **fields):
    return client.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **fields)
def result(name, event=None, **fields):
    return json.loads(call(name, event, **fields)['Payload'].read())
"""
TRACE = "import os\ndef handler(e, c): return os.environ['_X_AMZN_TRACE_ID']\n"
LEFT = "def handler(e, c):\n    print('left', c.get_remaining_time_in_millis(), flush=True)\n" \
       "    return c.get_remaining_time_in_millis()\n"


@pytest.fixture(scope="module", autouse=True)
def sdk(functions):
    answer = functions.run("import boto3\ndef handler(e, c): pass\n", Timeout=30)
    if "No module named 'boto3'" in str(answer.payload):
        pytest.skip("no boto3 for functions: 'freehold runtimes install' had no network")


def caller(functions, body, **fields):
    return functions.create(python(CALL + body), **{"Timeout": 30, "MemorySize": 256, **fields})


def printed(server, name, pattern):
    """The lines of a function's log that hold `pattern`."""
    logs = server.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{name}", filterPattern=pattern)
    return [event["message"] for page in pages for event in page["events"]]


def fields_of(trace):
    return dict(field.split("=", 1) for field in trace.split(";"))


# Without the header that the SDK adds, the call is known by the instance that it comes out of.
@pytest.mark.parametrize("prelude", ["", "    os.environ.pop('_X_AMZN_TRACE_ID')\n"],
                         ids=["with a header", "without"])
def test_the_trace_goes_on(functions, prelude):
    target = functions.create(python(TRACE))
    name = caller(functions, f"""
def handler(e, c):
    own = os.environ['_X_AMZN_TRACE_ID']
{prelude}    return [own, result('{target}')]
""")
    own, seen = map(fields_of, functions.call(name))
    assert own["Root"] == seen["Root"]
    assert own["Parent"] != seen["Parent"]
    assert all(re.fullmatch("[0-9a-f]{16}", trace["Parent"]) for trace in (own, seen))
    # Another call of the caller is another trace.
    assert fields_of(functions.call(name)[0])["Root"] != own["Root"]


def test_nobody_runs_longer_than_who_waits_for_it(functions):
    target = functions.create(python(LEFT), Timeout=300)
    name = caller(functions, f"""
def handler(e, c):
    left = result('{target}')
    return [left, c.get_remaining_time_in_millis()]
""", Timeout=20)
    callee, own = functions.call(name)
    assert own <= callee <= 20_000
    # Called by nobody but the tenant it has its own time, and so has an event.
    assert functions.call(target) > 290_000
    assert functions.call(caller(functions, f"""
def handler(e, c): return call('{target}', InvocationType='Event')['StatusCode']
""", Timeout=10)) == 202
    end = time.monotonic() + 30
    while len(left := printed(functions.server, target, "left")) < 3:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    assert int(left[-1].split()[1]) > 290_000


def test_who_is_called_ends_with_its_caller(functions):
    target = functions.create(python("import time\ndef handler(e, c): time.sleep(60 if e else 0)\n"), Timeout=90)
    # Its start is none of the caller's time.
    functions.call(target)
    name = caller(functions, f"def handler(e, c): return result('{target}', 1)\n", Timeout=5)
    assert "timed out after 5.00 seconds" in functions.invoke(name).payload["errorMessage"]
    end = time.monotonic() + 20
    while not (ended := printed(functions.server, target, '"timed out after"')):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert float(ended[0].split("after ")[1].split()[0]) <= 5


# Seventeen instances at once: without the SDK, whose import is what would take the time.
SIGNING = (pathlib.Path(__file__).parents[1] / "benches" / "functions" / "calls.py").read_text()
LOOP = """
import json, os, socket
from signing import exchange, sign
def call(name, event, kind, trace):
    host = os.environ['AWS_ENDPOINT_URL'].split('//')[1]
    path, body = f'/2015-03-31/functions/{name}/invocations', json.dumps(event).encode()
    headers = {**sign(path, host, body, os.environ['AWS_REGION']), 'content-length': len(body),
               'x-amz-invocation-type': kind, **({'x-amzn-trace-id': trace} if trace else {})}
    head = ''.join(f'{name}: {value}\\r\\n' for name, value in headers.items())
    with socket.create_connection(host.split(':')) as line:
        return exchange(line, f'POST {path} HTTP/1.1\\r\\n{head}\\r\\n'.encode() + body)
"""


def looping(functions, body):
    package = zip_of({"index.py": LOOP + body, "signing.py": SIGNING})
    return functions.create(package, Timeout=300)


@pytest.mark.parametrize("trace", [
    "os.environ['_X_AMZN_TRACE_ID']", "None", "'Root=1-5759e988-bd862e3fe1be46a994272793;Hops=0'",
], ids=["honest", "without a header", "with a forged one"])
def test_a_loop_stops(functions, trace):
    name = looping(functions, f"""
def handler(depth, c):
    status, body = call(c.function_name, depth + 1, 'RequestResponse', {trace})
    answer = json.loads(body)
    return answer if status == 200 else [depth, status, answer['Message']]
""")
    depth, status, text = functions.call(name, 0)
    assert (depth, status) == (16, 400)
    assert text == "The call chain was stopped: 17 functions called each other"


def test_a_loop_of_events_stops(functions):
    name = looping(functions, """
def handler(depth, c):
    status, body = call(c.function_name, depth + 1, 'Event', None)
    print('went', depth, status, body.decode(), flush=True)
""")
    assert functions.call(name, 0) is None
    end = time.monotonic() + 120
    while not any(" 400 " in line for line in printed(functions.server, name, "went")):
        assert time.monotonic() < end
        time.sleep(0.2)
    lines = printed(functions.server, name, "went")
    assert sorted(int(line.split()[1]) for line in lines) == list(range(17))


def test_a_function_of_another_account_wants_its_permission(functions):
    name = caller(functions, """
def handler(e, c):
    try:
        return call('arn:aws:lambda:us-east-1:999999999999:function:theirs')['StatusCode']
    except ClientError as error:
        return [error.response['Error']['Code'], error.response['Error']['Message']]
""")
    code, text = functions.call(name)
    assert code == "AccessDeniedException"
    assert "lambda:InvokeFunction" in text and f"assumed-role/tests/{name}" in text


def test_an_instance_signs_with_its_own_keys_alone(functions, server):
    keys = server.keys()
    target = functions.create()
    name = caller(functions, f"""
def handler(keys, c):
    foreign = boto3.client('lambda', aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
                           aws_session_token=None)
    try:
        return foreign.invoke(FunctionName='{target}')['StatusCode']
    except ClientError as error:
        return error.response['Error']['Code']
""")
    assert functions.call(
        name, [keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]]) == "AccessDeniedException"


def test_the_called_functions_failure_is_an_answer(functions):
    target = functions.create(python("def handler(e, c): raise ValueError('theirs')\n"))
    name = caller(functions, f"""
def handler(e, c):
    answer = call('{target}', LogType='Tail')
    return [answer['FunctionError'], json.loads(answer['Payload'].read())['errorType'], 'LogResult' in answer]
""")
    assert functions.call(name) == ["Unhandled", "ValueError", True]


def test_a_version_is_called_by_its_number(functions, client):
    target = functions.create(python("def handler(e, c): return c.function_version\n"))
    client.publish_version(FunctionName=target)
    name = caller(functions, f"def handler(e, c): return [result('{target}:1'), result('{target}')]\n")
    assert functions.call(name) == ["1", "$LATEST"]
