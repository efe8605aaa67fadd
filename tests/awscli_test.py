"""The AWS CLI, unmodified, against the running binary."""

import base64
import json
import os
import shutil
import subprocess

import pytest

from support import server as servers
from support.functions import PYTHON, python, unique


@pytest.fixture(scope="module")
def aws(server):
    assert shutil.which("aws"), "the AWS CLI is in tests/requirements.txt"

    def run(*arguments, check=True):
        done = subprocess.run(["aws", *map(str, arguments), "--output", "json"], capture_output=True,
                              text=True, timeout=60, env=server.environment())
        if check:
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout) if done.stdout.strip() else None
        return done

    return run


@pytest.fixture
def package(tmp_path):
    path = tmp_path / "function.zip"
    path.write_bytes(python("def handler(e, c):\n    print('seen', e)\n    return {'got': e}\n"))
    return path


def test_who_am_i(aws):
    identity = aws("sts", "get-caller-identity")
    assert identity["Arn"] == f"arn:aws:iam::{identity['Account']}:root"


def test_a_function_from_create_to_delete(aws, package, tmp_path):
    name, account = unique("cli"), aws("sts", "get-caller-identity")["Account"]
    made = aws("lambda", "create-function", "--function-name", name, "--runtime", PYTHON,
               "--handler", "index.handler", "--role", f"arn:aws:iam::{account}:role/tests",
               "--zip-file", f"fileb://{package}", "--environment", "Variables={ONE=1,TWO=2}",
               "--tags", "team=core", "--timeout", "5")
    assert made["State"] == "Pending"
    aws("lambda", "wait", "function-active-v2", "--function-name", name)
    out = tmp_path / "out.json"
    answer = aws("lambda", "invoke", "--function-name", name, "--payload", '{"k": "v"}',
                 "--log-type", "Tail", out)
    assert answer["StatusCode"] == 200
    assert json.loads(out.read_text()) == {"got": {"k": "v"}}
    assert "seen {'k': 'v'}" in base64.b64decode(answer["LogResult"]).decode()
    events = aws("logs", "filter-log-events", "--log-group-name", f"/aws/lambda/{name}",
                 "--filter-pattern", "seen")["events"]
    assert [e["message"].strip() for e in events] == ["seen {'k': 'v'}"]
    assert name in [f["FunctionName"] for f in aws("lambda", "list-functions")["Functions"]]
    aws("lambda", "update-function-configuration", "--function-name", name, "--memory-size", "256")
    aws("lambda", "wait", "function-updated-v2", "--function-name", name)
    assert aws("lambda", "publish-version", "--function-name", name)["Version"] == "1"
    aws("lambda", "delete-function", "--function-name", name)
    gone = aws("lambda", "get-function", "--function-name", name, check=False)
    assert gone.returncode in (254, 255)  # Version 2 and 1 for a client error.
    assert "(ResourceNotFoundException) when calling the GetFunction operation: Function not found" in gone.stderr


def test_an_asynchronous_call(aws, package, tmp_path, functions):
    name = functions.create(package.read_bytes())
    answer = aws("lambda", "invoke", "--function-name", name, "--invocation-type", "Event",
                 "--payload", "1", tmp_path / "out")
    assert answer == {"StatusCode": 202}


def test_a_url(aws, functions):
    name = functions.create()
    made = aws("lambda", "create-function-url-config", "--function-name", name, "--auth-type", "NONE",
               "--cors", "AllowOrigins=https://example.com")
    shown = aws("lambda", "get-function-url-config", "--function-name", name)
    assert shown["FunctionUrl"] == made["FunctionUrl"]
    assert shown["Cors"] == {"AllowOrigins": ["https://example.com"]}


def test_logs_tail(aws, functions, server):
    name = functions.create(python("def handler(e, c): print('tailed')\n"))
    functions.call(name)
    done = subprocess.run(["aws", "logs", "describe-log-streams", "--log-group-name",
                           f"/aws/lambda/{name}", "--query", "logStreams[].logStreamName", "--output",
                           "text"], capture_output=True, text=True, env=server.environment(), timeout=60)
    assert "[$LATEST]" in done.stdout, done.stderr


def test_endpoint_and_keys_from_freehold_env_are_enough(server):
    script = f'eval "$({servers.binary()} env --data {server.data})"; aws sts get-caller-identity --output json'
    clean = {"PATH": os.environ["PATH"], "HOME": str(server.folder)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=clean)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == server.account
