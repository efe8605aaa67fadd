"""Functions that import the AWS SDK which the runtime brings: the start image that holds it, and for whom it is none."""

import pathlib
import re
import time
import urllib.request

import pytest
import six

from support import doctor
from support.functions import zip_of

# Whether an image held the SDK before anything was imported: its modules are out of sight, its classes
# are among those that theirs know.
HELD = "any(c.__module__.startswith('botocore') for c in Exception.__subclasses__())"
USES = f"AHEAD = {HELD}\n" + """
import sys
import logging, os
import boto3, botocore
S3 = boto3.client('s3')
def handler(event, context):
    if event:
        import time
        time.sleep(event)
    credentials = S3._request_signer._credentials
    return {
        'ahead': AHEAD, 'where': botocore.__file__, 'mine': getattr(sys.modules.get('six'), 'MINE', None), 'certificates': getattr(botocore, 'CERTIFICATES', None),
        'key': [credentials.access_key, os.environ['AWS_ACCESS_KEY_ID']],
        'endpoint': [S3.meta.endpoint_url, os.environ['AWS_ENDPOINT_URL']],
        'region': [S3.meta.region_name, os.environ['AWS_REGION']],
        'handlers': [type(h).__name__ for h in logging.getLogger().handlers],
        'preload': os.environ.get('_FREEHOLD_PRELOAD'),
        'stream': context.log_stream_name,
    }
"""


def metric(server, name):
    text = urllib.request.urlopen(f"{server.admin}/metrics", timeout=10).read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


@pytest.fixture(scope="module")
def quick(request):
    """A server whose instances do not stay, so that each wave starts anew."""
    from support import server as servers
    from support.functions import Functions
    one = servers.Server('[instances]\nidle_timeout = "300ms"\n')
    try:
        yield Functions(one.start())
    finally:
        one.close()


def empty(server):
    end = time.monotonic() + 60
    while (left := metric(server, "freehold_instances")):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def starts(quick, name, until=lambda answer: True, seconds=60, event=None):
    """Starts it again and again, each time on its own, until an answer is as wanted."""
    end = time.monotonic() + seconds
    while True:
        empty(quick.server)
        answer = quick.call(name, event)
        if until(answer) or time.monotonic() > end:
            return answer
        time.sleep(0.5)


def needs_sdk(answer):
    """It is fetched from the network, and functions start without it where there is none."""
    if answer.error:
        assert "No module named 'boto" in answer.payload["errorMessage"], answer.payload
        pytest.skip("the runtime has no SDK")


def needs_images(quick):
    """Of the runtime, as they are there by now wherever the machine takes any."""
    is_made = metric(quick.server, "freehold_template_bytes") > 0
    if not is_made:
        doctor.needs_images()
    assert is_made, "no start image of the runtime was made"


def fits(answer):
    assert answer["key"][0] == answer["key"][1]
    assert answer["endpoint"][0] == answer["endpoint"][1]
    assert answer["region"][0] == answer["region"][1]
    assert answer["handlers"] == ["LambdaLoggerHandler"] and answer["preload"] is None


def test_a_function_that_imports_the_sdk_starts_with_it(quick):
    name = quick.create(zip_of({"index.py": USES}), Timeout=60, MemorySize=256)
    first = quick.invoke(name)
    needs_sdk(first)
    assert first.payload["ahead"] is False
    fits(first.payload)
    later = starts(quick, name, lambda answer: answer["ahead"])
    needs_images(quick)
    assert later["ahead"] is True and later["where"] == first.payload["where"]
    fits(later)


def test_who_brings_a_part_of_it_never_does(quick):
    own = pathlib.Path(six.__file__).read_text() + "\nMINE = 'mine'\n"
    name = quick.create(zip_of({"index.py": USES, "six.py": own}), Timeout=60, MemorySize=256)
    needs_sdk(quick.invoke(name))
    for _ in range(3):
        answer = starts(quick, name)
        assert (answer["ahead"], answer["mine"]) == (False, "mine")


def test_who_searches_for_its_own_only_in_the_handler_finds_it_at_every_start(quick):
    body = (f"import sys\nAHEAD = {HELD}\nimport botocore\n"
            "def handler(event, context):\n"
            "    sys.path.insert(0, '/var/task/vendor')\n"
            "    import boto3\n"
            "    return {'ahead': AHEAD, 'mine': getattr(boto3, 'MINE', None)}\n")
    files = {"index.py": body, "vendor/boto3/__init__.py": "MINE = 'mine'\n"}
    name = quick.create(zip_of(files), Timeout=60, MemorySize=256)
    first = quick.invoke(name)
    needs_sdk(first)
    assert first.payload == {"ahead": False, "mine": "mine"}
    later = starts(quick, name, lambda answer: answer["ahead"])
    needs_images(quick)
    assert later == {"ahead": True, "mine": "mine"}


def test_who_brings_what_it_looks_for_gets_that(quick):
    # botocore asks for `certifi`, which the runtime does not bring.
    body = USES.replace("S3 =", "from botocore import httpsession\nbotocore.CERTIFICATES = httpsession.where()\nS3 =")
    package = {"index.py": body, "certifi/__init__.py": "def where(): return '/var/task/certificates'\n"}
    name = quick.create(zip_of(package), Timeout=60, MemorySize=256)
    first = quick.invoke(name)
    needs_sdk(first)
    for _ in range(4):
        answer = starts(quick, name)
        assert answer["certificates"] == "/var/task/certificates"
        fits(answer)


# All that is there as the function begins, and once it has imported the SDK and made a client.
LOOKS = f"HELD = {HELD}\n" + """
import sys
def modules():
    return {name: sorted(vars(m)) if hasattr(m, '__dict__') else None for name, m in list(sys.modules.items())}
SEEN = [modules()]
try:
    import boto3
    SEEN.append(modules())
    S3 = boto3.client('s3')
except ImportError:
    pass
import json, logging, random
SEEN.append(modules())
def handler(event, context):
    import os
    return {'ahead': HELD, 'thawed': os.readlink('/proc/self/exe') == '/runtime', 'seen': SEEN}
"""


def apart(seen, executed):
    """Modules that one of the two has, or has with something else in it, by stage."""
    return [(stage, name, sorted(set(mine.get(name) or []) ^ set(theirs.get(name) or [])), name in mine, name in theirs)
            for stage, (mine, theirs) in enumerate(zip(seen, executed))
            for name in {**mine, **theirs} if mine.get(name, 0) != theirs.get(name, 0)]


def test_a_function_finds_the_modules_of_an_executed_one(quick):
    package, fields = zip_of({"index.py": LOOKS}), {"Timeout": 60, "MemorySize": 256}
    # A variable of Python's own is for a process that is executed.
    executed = quick.call(quick.create(package, Environment={"Variables": {"PYTHONSAFEPATH": ""}}, **fields))
    assert (executed["ahead"], executed["thawed"]) == (False, False)
    name = quick.create(package, **fields)
    bare = starts(quick, name, lambda answer: answer["thawed"])
    needs_images(quick)
    assert bare["thawed"] and apart(bare["seen"], executed["seen"]) == []
    if "boto3" not in executed["seen"][-1]:
        pytest.skip("the runtime has no SDK")
    ahead = starts(quick, name, lambda answer: answer["ahead"])
    different = apart(ahead["seen"], executed["seen"])
    assert different == [], "; ".join(map(str, different))
    assert ahead["ahead"] is True
    assert len(ahead["seen"]) == len(executed["seen"]) == 3
