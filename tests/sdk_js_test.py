"""The AWS SDK for JavaScript v3: tests/sdk_js/lambda.test.cjs on node:test, each test one here."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.functions import PYTHON, python

FILE = pathlib.Path(__file__).parent / "sdk_js" / "lambda.test.cjs"
NAMES = re.findall(r"^test\('([^']+)'", FILE.read_text(), re.MULTILINE)
PACKAGES = {
    "echo": "def handler(e, c): return e\n",
    "fail": "def handler(e, c): raise ValueError('it broke')\n",
    "page": "def handler(e, c):\n    return {'statusCode': 201, 'headers': {'x-mine': 'yes'}, "
            "'body': e['rawPath'] + '?' + e['rawQueryString']}\n",
}


@pytest.fixture(scope="module")
def results(server, functions):
    """Runs the file once: {name: None or what went wrong}."""
    modules = os.environ.get("FREEHOLD_NODE_MODULES")
    if shutil.which("node") is None:
        pytest.skip("no Node on this machine")
    if not modules or not pathlib.Path(modules, "@aws-sdk").is_dir():
        pytest.skip("FREEHOLD_NODE_MODULES does not hold the SDK: run by make test, which fetches it")
    packages = {name: base64.b64encode(python(body)).decode() for name, body in PACKAGES.items()}
    done = subprocess.run(
        ["node", "--test", "--test-reporter=tap", str(FILE)], capture_output=True, text=True, timeout=300,
        env={**server.environment(), "NODE_PATH": modules, "TEST_PACKAGES": json.dumps(packages),
             "TEST_RUNTIME": PYTHON, "TEST_ROLE": functions.role})
    found = {}
    for block in re.split(r"^\s*# Subtest: ", done.stdout, flags=re.MULTILINE)[1:]:
        name = block.split("\n", 1)[0].strip()
        found[name] = None if re.search(r"^\s*ok \d+", block, re.MULTILINE) else block
    assert found, done.stdout + done.stderr
    return found


def test_the_file_names_its_tests():
    assert len(NAMES) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_sdk_js(results, name):
    assert name in results, "the test did not run"
    assert results[name] is None, results[name]
