"""Functions as clients make them: zips in memory, created, waited for, called."""

import base64
import io
import itertools
import json
import shutil
import subprocess
import sys
import time
import zipfile

ROLE = "arn:aws:iam::{account}:role/tests"
# The interpreter that runs these tests is on the machine, so the server must find it.
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_numbers = itertools.count(1)


def _output(*command):
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).strip()


def node_runtime():
    """`nodejs20.x` for the Node on the path, None without one."""
    version = _output("node", "--version")
    return f"nodejs{version.lstrip('v').split('.')[0]}.x" if version else None


def java_runtime():
    """`java17` for the JDK on the path, None without one."""
    version = _output("javac", "-version")
    return f"java{version.split()[-1].split('.')[0]}" if version.startswith("javac") else None


def zip_of(files, executable=()):
    """A zip of {name: text or bytes} with fixed times, so that equal files give equal zips."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name in executable else 0o100644) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def python(body, name="index.py"):
    """A package of one file, `body`."""
    return zip_of({name: body})


ECHO = python("def handler(event, context):\n    return event\n")


def unique(word="fn"):
    return f"{word}-{next(_numbers)}"


def publish(client, name, **fields):
    """Publishes and waits; what the version says of itself."""
    version = client.publish_version(FunctionName=name, **fields)["Version"]
    end = time.monotonic() + 60
    while (found := client.get_function_configuration(FunctionName=name, Qualifier=version))["State"] == "Pending":
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


class Functions:
    """The Lambda client of a server with the calls that tests repeat."""

    def __init__(self, server):
        self.server = server
        self.client = server.client("lambda")
        self.account = server.account
        self.role = ROLE.format(account=self.account)

    def create(self, package=ECHO, name=None, wait=True, **fields):
        """Creates a function, waits until it is active and returns its name."""
        name = name or unique()
        # Lambda's own is 3 s, which a busy machine may need for a start.
        self.create_response(package, name, **{"Timeout": 30, **fields})
        if wait:
            self.wait_active(name)
        return name

    def create_response(self, package=ECHO, name=None, **fields):
        fields = {"Runtime": PYTHON, "Handler": "index.handler", "Role": self.role, **fields}
        return self.client.create_function(
            FunctionName=name or unique(), Code={"ZipFile": package}, **fields)

    def wait_active(self, name):
        self.client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def wait_updated(self, name):
        self.client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def wait_busy(self, name, is_busy=True, seconds=60, **more):
        """Waits until an instance of a function runs an event, or none does, as `freehold ps` says."""
        end = time.monotonic() + seconds
        while True:
            rows = json.loads(self.server.cli("ps", "--json", **more).stdout)["Instances"]
            if is_busy == any((row["FunctionName"], row["State"]) == (name, "busy") for row in rows):
                return
            assert time.monotonic() < end, rows
            time.sleep(0.05)

    def invoke(self, name, event=None, **fields):
        """Calls a function and returns an `Answer`."""
        return Answer(self.client.invoke(
            FunctionName=name, Payload=json.dumps(event).encode(), **fields))

    def call(self, name, event=None, **fields):
        """Calls a function that must succeed and returns what it returned."""
        answer = self.invoke(name, event, **fields)
        assert answer.error is None, answer.payload
        return answer.payload

    def run(self, body, event=None, **fields):
        """Creates a Python function of `body` and calls it once."""
        return self.invoke(self.create(python(body), **fields), event)

    def public_url(self, name, **fields):
        """A function URL that anyone may call, with both of its statements."""
        url = self.client.create_function_url_config(
            FunctionName=name, AuthType="NONE", **fields)["FunctionUrl"]
        allow_public(self.client, name)
        return url


def allow_public(client, name):
    """The two statements that AWS asks for since October 2025."""
    client.add_permission(
        FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE")
    client.add_permission(
        FunctionName=name, StatementId="invoke", Action="lambda:InvokeFunction", Principal="*",
        InvokedViaFunctionUrl=True)


class Answer:
    """What Invoke answered."""

    def __init__(self, response):
        self.status = response["StatusCode"]
        self.error = response.get("FunctionError")
        self.version = response.get("ExecutedVersion")
        self.request_id = response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
        self.headers = response["ResponseMetadata"]["HTTPHeaders"]
        self.body = response["Payload"].read()
        self.log = base64.b64decode(response.get("LogResult", "")).decode(errors="replace")

    @property
    def payload(self):
        return json.loads(self.body) if self.body else None
