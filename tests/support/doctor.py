"""What `freehold doctor` says of this machine: tests of what is not enforced everywhere ask it, and
`doctor_test.py` asks whether it is right."""

import functools
import json
import platform
import shutil
import subprocess

import pytest

from support import server as servers


@functools.cache
def findings():
    """Doctor's findings as {what: the whole finding}."""
    folder = servers.make_folder("doctor")
    try:
        done = subprocess.run([str(servers.binary()), "doctor", "--json", "--data", str(folder / "none")],
                              capture_output=True, text=True, timeout=300)
    finally:
        shutil.rmtree(folder)
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == (0 if all(one["enforced"] for one in found.values()) else 4), done
    return found


def is_enforced(line):
    return findings()[line]["enforced"]


def needs(line):
    """Skips the test where doctor says that this is not enforced."""
    if not is_enforced(line):
        pytest.skip(f"doctor says: {line}: {findings()[line]['detail']}")


def needs_images():
    """Skips the test where this machine takes no start images. Of another processor doctor says that
    nothing is missing: nobody could mend it."""
    if platform.machine() != "x86_64":
        pytest.skip("start images need x86-64")
    needs("start images")
