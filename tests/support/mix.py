"""Functions of every kind that the machine runs, called at random, each answer judged.

What a call may come to while processes die around it is listed here; anything else is a wrong answer.
"""

import pathlib
import shutil
import subprocess
import tempfile
import time

from botocore.exceptions import ClientError

from support.functions import java_runtime, node_runtime, python, zip_of

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = """
def handler(event, context):
    if event == 'raise': raise ValueError('as told')
    if event == 'exit': raise SystemExit(1)
    return event
"""
NODE = """
exports.handler = async event => {
  if (event === 'raise') throw new Error('as told')
  if (event === 'exit') process.exit(1)
  return event
}
"""
JAVA = """
public class Echo {
    public Object handle(Object event) {
        if ("raise".equals(event)) throw new IllegalStateException("as told");
        if ("exit".equals(event)) Runtime.getRuntime().halt(1);
        return event;
    }
}
"""
# What init makes, the handler finds: also after a restore.
SNAPSHOT = """
import os
born = list(range(1000))
def handler(event, context):
    if event == 'raise': raise ValueError('as told')
    if event == 'exit': os._exit(1)
    return event if len(born) == 1000 else 'lost'
"""
# Errors of a function that was killed, or told to end, and of the platform that lost it.
KILLED = {"Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout"}
LOST = {"ServiceException", "TooManyRequestsException", "ServiceUnavailableException",
        "ResourceNotReadyException"}


class Mix:
    """Functions of every kind that this machine runs, and what each answers."""

    def __init__(self, functions):
        self.functions, self.kinds, self.missed = functions, {}, []
        self.add("python", functions.create(python(PYTHON), Timeout=5))
        if node_runtime():
            self.add("node", functions.create(
                zip_of({"index.js": NODE}), Runtime=node_runtime(), Timeout=5))
        else:
            self.missed.append("node")
        if java_runtime():
            self.add("java", functions.create(
                self.java(), Runtime=java_runtime(), Handler="Echo::handle", Timeout=10, MemorySize=256))
        else:
            self.missed.append("java")
        if shutil.which("rustc"):
            name = functions.create(self.rust(), Runtime="provided.al2023", Handler="any", Timeout=5)
            self.add("rust", name, answer={"hello": "world"})
        else:
            self.missed.append("rust")
        wasm = (ROOT / "tests" / "functions" / "wasm" / "echo.wasm").read_bytes()
        self.add("wasm", functions.create(
            zip_of({"function.wasm": wasm}), Runtime="wasm", Handler="function.wasm", Timeout=5))
        name = functions.create(python(SNAPSHOT), Timeout=5, SnapStart={"ApplyOn": "PublishedVersions"})
        self.snapshot = name
        self.add("snapstart", name, Qualifier=self.publish())

    def add(self, kind, name, answer=None, **fields):
        self.kinds[kind] = (name, answer, fields)

    def publish(self):
        """Another version, whose start image is made while others are in use; None when its init was
        killed, which is how a function that ends in its init looks."""
        client = self.functions.client
        version = client.publish_version(FunctionName=self.snapshot)["Version"]
        end = time.monotonic() + 120
        while (found := client.get_function_configuration(
                FunctionName=self.snapshot, Qualifier=version))["State"] == "Pending":
            assert time.monotonic() < end, "a version stays pending"
            time.sleep(0.2)
        if found["State"] == "Active":
            return version
        assert "signal 9" in found["StateReason"], (found["State"], found["StateReason"])
        client.delete_function(FunctionName=self.snapshot, Qualifier=version)
        return None

    def republish(self, number):
        """Publishes other code under the same name; the version before goes, if that went well."""
        name, answer, fields = self.kinds["snapstart"]
        client = self.functions.client
        client.update_function_code(FunctionName=name, ZipFile=python(SNAPSHOT + f"# {number}\n"))
        self.functions.wait_updated(name)
        version = self.publish()
        if version is not None:
            self.kinds["snapstart"] = (name, answer, {"Qualifier": version})
            client.delete_function(FunctionName=name, Qualifier=fields["Qualifier"])
        return version is not None

    @staticmethod
    def java():
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "Echo.java")
            source.write_text(JAVA)
            subprocess.run(["javac", "-d", folder, source], check=True, timeout=120)
            return zip_of({"Echo.class": pathlib.Path(folder, "Echo.class").read_bytes()})

    @staticmethod
    def rust():
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder, "bootstrap")
            subprocess.run(["rustc", "--edition", "2021", "-O", "-C", "target-feature=+crt-static",
                            "-o", made, ROOT / "benches" / "functions" / "hello.rs"],
                           check=True, timeout=300, capture_output=True)
            return zip_of({"bootstrap": made.read_bytes()}, executable=("bootstrap",))

    def call(self, chosen):
        """One call; what came of it in a word, or an AssertionError for what may never come."""
        kind = chosen.choice(list(self.kinds))
        name, answer, fields = self.kinds[kind]
        event = chosen.choices(["fine", "raise", "exit"], [90, 6, 4])[0] if answer is None else "fine"
        if kind == "wasm":
            event = "fine"
        try:
            found = self.functions.invoke(name, event, **fields)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            # A version that is replaced is gone for who asks late.
            assert code in LOST or (kind, code) == ("snapstart", "ResourceNotFoundException"), (kind, error)
            return f"{kind}: {code}"
        if found.error is None:
            expected = answer if answer is not None else event
            assert event == "fine" and found.payload == expected, (kind, event, found.payload)
            return f"{kind}: fine"
        error = found.payload.get("errorType")
        as_told = event == "raise" and error not in KILLED
        assert as_told or error in KILLED, (kind, event, found.payload)
        return f"{kind}: {'as told' if as_told else error}"
