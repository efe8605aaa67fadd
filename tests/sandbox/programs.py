"""The programs of the escape list's tests: built here, or where the environment says that they lie."""

import json
import os
import pathlib
import subprocess

from escape_list import FOLDER


def probe(folder):
    """The probe that is a program of its own, static; FREEHOLD_TEST_PROBE names one that was built."""
    built = os.environ.get("FREEHOLD_TEST_PROBE")
    if built:
        return pathlib.Path(built)
    program = folder / "bootstrap"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-C", "target-feature=+crt-static",
                    "-o", str(program), str(FOLDER / "probe.rs")], check=True)
    return program


def escape():
    """The example that runs a probe in a sandbox, with or without a step; or FREEHOLD_TEST_ESCAPE."""
    if os.environ.get("FREEHOLD_TEST_ESCAPE"):
        return os.environ["FREEHOLD_TEST_ESCAPE"]
    built = subprocess.run(
        ["cargo", "build", "--quiet", "--package", "freehold-sandbox", "--features", "mutation",
         "--example", "escape", "--message-format", "json"],
        cwd=FOLDER.parents[1], check=True, capture_output=True, text=True)
    messages = map(json.loads, built.stdout.splitlines())
    return next(message["executable"] for message in messages
                if message.get("executable") and message["target"]["name"] == "escape")
