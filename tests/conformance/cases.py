"""A recorded case as a test: which there are, which wait, and the calls that are compared.

`@recorded("Class::test")` makes a test of every recorded case of that name, with any parameters; it
is given a `Case`, and must compare every step that was recorded. What does not pass or is not run
stands by its name in waiting.toml; accounted_test.py holds the three against each other.
"""

import ast
import fnmatch
import functools
import json
import pathlib
import time
import tomllib

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from support.functions import ECHO, Functions, unique
from support.recorded import CASES, Bindings

FOLDER = pathlib.Path(__file__).parent
WAITING = tomllib.loads((FOLDER / "waiting.toml").read_text())
# Kinds whose cases are not run. A case that waits for an interpreter is run where there is one.
NOT_RUN = ("operation", "machine", "feature")
KINDS = (*NOT_RUN, "interpreter", "fails")


def waiting(*kinds):
    """{case: reason} of the cases that wait for something of these kinds."""
    return {name: entry["for"] for entry in WAITING["waiting"] if entry["kind"] in kinds
            for name in entry["cases"]}


def deviations(name, must=False):
    """The paths at which the answers of a case differ on purpose; those that must, or all."""
    return [path for entry in WAITING["difference"] if name in entry["cases"] and not (must and entry.get("may"))
            for path in entry["paths"]]


def named(test):
    """The recorded cases of a test, with any parameters."""
    return [name for name in CASES if name.split("[")[0] == test or name == test]


def recorded(*tests):
    """Makes a test of each recorded case of these names; each is given a `Case`."""
    names = [name for test in tests for name in named(test)]
    assert names, f"nothing was recorded as {tests}"

    def decorate(function):
        @functools.wraps(function)
        def test(case, **fixtures):
            function(case=case, **fixtures)
            case.done()

        params = []
        for name in names:
            marks = []
            if reason := waiting(*NOT_RUN).get(name):
                marks.append(pytest.mark.skip(reason=f"waits: {reason}"))
            elif reason := waiting("fails").get(name):
                # Once it passes, its line has to go.
                marks.append(pytest.mark.xfail(strict=True, reason=f"waits: {reason}"))
            params.append(pytest.param(name, id=name, marks=marks))
        return pytest.mark.parametrize("case", params, indirect=True)(test)
    return decorate


def recorded_by_tests():
    """The cases that the files of this folder make tests of, read from their decorators."""
    found = set()
    for file in FOLDER.glob("*_test.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "recorded":
                found |= {name for test in node.args for name in named(ast.literal_eval(test))}
    return found


def plain(value, name=""):
    """An answer as the recorder wrote it: bodies read, and documents in texts as documents."""
    if isinstance(value, StreamingBody):
        value = value.read().decode()
    if isinstance(value, dict):
        return {name: plain(one, name) for name, one in value.items()}
    if isinstance(value, str) and name in ("Payload", "Policy", "Statement", "content") and value[:1] in ("{", "["):
        return json.loads(value)
    return value


class Case:
    """One recorded case: its answers, what its tokens stand for, and which steps were compared."""

    def __init__(self, name, functions, runtimes):
        self.name, self.functions, self.client = name, functions, functions.client
        self.parameter = name.partition("[")[2].removesuffix("]")
        self.answers = json.loads(json.dumps(CASES[name]["answers"]))
        self.bind = Bindings(functions.account)
        self.open = set(self.answers)
        self.runtimes = runtimes
        self.unused = set(deviations(name, must=True))

    def use(self, server):
        """Goes to a server of the case's own."""
        self.functions = Functions(server)
        self.client = self.functions.client
        self.bind.known["111111111111"] = self.functions.account

    def log_lines(self, name, word, seconds=20):
        """The lines of a function's log that hold `word`, once there are some."""
        logs, end = self.functions.server.client("logs"), time.monotonic() + seconds
        while not (found := logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern=f'"{word}"')["events"]):
            assert time.monotonic() < end, f"no {word}"
            time.sleep(0.1)
        return [event["message"] for event in found]

    def check(self, step, actual):
        """Fails unless the whole answer is the recorded one, but for what differs on purpose."""
        wanted, actual = self.answers[step], plain(actual)
        if isinstance(wanted, dict) and "CreateFunctionResponse" in wanted:
            wanted = wanted["CreateFunctionResponse"]
        self.open.discard(step)
        found = []
        for difference in self.bind.differences(wanted, actual, step):
            allowed = [path for path in deviations(self.name)
                       if fnmatch.fnmatchcase(difference.split(": ")[0], path)]
            self.unused -= set(allowed)
            if not allowed:
                found.append(difference)
        assert not found, "\n  ".join([f"{self.name}:", *found])

    def call(self, step, operation, **fields):
        """Calls an operation, compares what it answers, and returns that."""
        answer = getattr(self.client, operation)(**fields)
        shown = plain(answer)
        self.check(step, shown)
        return shown

    def refused(self, step, operation, **fields):
        """Calls an operation that must be refused, and compares the error."""
        with pytest.raises(ClientError) as caught:
            getattr(self.client, operation)(**fields)
        self.check(step, caught.value.response)

    def create(self, step=None, package=ECHO, wait=True, **fields):
        """Creates a function with the settings of the recorder's helper and returns its name."""
        name = fields.pop("name", None) or unique("recorded")
        fields = {"Handler": "handler.handler", "Timeout": 30, "Runtime": "python3.12",
                  "Environment": {"Variables": {}}, **fields}
        fields = {key: value for key, value in fields.items() if value is not None}
        language = fields["Runtime"].rstrip("0123456789.x")
        if not any(one.startswith(language) for one in self.runtimes):
            self.exactly(fields["Runtime"])
        answer = self.functions.create_response(package, name, **fields)
        if "<function-name:1>" not in self.bind.known:
            self.bind.name(function_name_1=name)
        if step:
            self.check(step, answer)
        if wait:
            self.functions.wait_active(name)
        return name

    def exactly(self, name):
        """A runtime that the case is about; without its interpreter there is nothing to run."""
        if name not in self.runtimes:
            pytest.skip(f"this machine has no {name}")
        return name

    def done(self):
        """Every step was compared, and whatever is listed as different was."""
        assert not self.open, f"{self.name}: not compared: {sorted(self.open)}"
        assert not self.unused, f"{self.name}: no longer different: {sorted(self.unused)}"

