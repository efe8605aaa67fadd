"""Packages that were made to do harm, or by a broken tool: each is refused by name, in bounds.

After every refusal the function does not exist, nothing is counted as stored, and nothing was
written outside: the leak check at the end of the file sees to the machine.
"""

import io
import os
import zipfile

import pytest
from botocore.exceptions import ClientError

from support.functions import ECHO, python, unique, zip_of
from support.zips import STORED, Entry, archive, zip64_that_claims

INDEX = Entry(b"index.py", b"def handler(e, c):\n    return e\n")
MIB = 1024 * 1024


def nested_bomb():
    layer = b"\0" * (20 * MIB)
    for _ in range(3):
        layer = zip_of({f"{n}.zip": layer for n in range(4)})
    return layer


def encrypted():
    entry = Entry(b"index.py", os.urandom(12) + b"secret", method=STORED, flags=1)
    return archive([entry])


def truncated(at):
    whole = zip_of({"index.py": "x = 1\n" * 1000, "data.bin": os.urandom(10_000)})
    return whole[: int(len(whole) * at)]


def corrupt():
    whole = bytearray(zip_of({"index.py": os.urandom(10_000)}))
    whole[5000] ^= 0xFF
    return bytes(whole)


LINK, DEVICE, FIFO, SOCKET = 0o120777, 0o060644, 0o010644, 0o140644
# Each is made when its turn comes: some take seconds and hundreds of megabytes.
BAD = {
    "empty": lambda: b"",
    "no-zip": lambda: b"this is no zip at all",
    "only-an-end": lambda: archive([]),
    "corrupt": corrupt,
    "truncated-early": lambda: truncated(0.3),
    "truncated-late": lambda: truncated(0.95),
    "encrypted": encrypted,
    "wrong-crc": lambda: archive([Entry(b"index.py", b"x = 1", crc=1)]),
    "absolute-path": lambda: archive([INDEX, Entry(b"/etc/freehold-was-here", b"x")]),
    "parent-path": lambda: archive([INDEX, Entry(b"../../freehold-was-here", b"x")]),
    "parent-path-inside": lambda: archive([INDEX, Entry(b"a/../../freehold-was-here", b"x")]),
    "backslash-parent": lambda: archive([INDEX, Entry(b"..\\..\\freehold-was-here", b"x")]),
    "drive-letter": lambda: archive([INDEX, Entry(b"C:\\freehold-was-here", b"x")]),
    "link-out": lambda: archive([INDEX, Entry(b"link", b"/etc", mode=LINK)]),
    "link-out-then-through": lambda: archive(
        [INDEX, Entry(b"link", b"../..", mode=LINK), Entry(b"link/freehold-was-here", b"x")]),
    "device": lambda: archive([INDEX, Entry(b"disk", b"", mode=DEVICE)]),
    "fifo": lambda: archive([INDEX, Entry(b"pipe", b"", mode=FIFO)]),
    "socket": lambda: archive([INDEX, Entry(b"sock", b"", mode=SOCKET)]),
    "duplicate-names": lambda: archive([INDEX, Entry(b"index.py", b"other = 1")]),
    "file-and-folder": lambda: archive([INDEX, Entry(b"a", b"x"), Entry(b"a/b", b"x")]),
    "folder-and-file": lambda: archive([INDEX, Entry(b"a/b", b"x"), Entry(b"a", b"x")]),
    "name-4-kb": lambda: archive([INDEX, Entry(b"n" * 4096, b"x")]),
    "path-4-kb": lambda: archive([INDEX, Entry(b"/".join([b"n" * 100] * 42), b"x")]),
    "name-not-utf-8": lambda: archive([INDEX, Entry(b"\xff\xfe\xfa", b"x")]),
    "name-with-nul": lambda: archive([INDEX, Entry(b"a\0b", b"x")]),
    "empty-name": lambda: archive([INDEX, Entry(b"", b"x")]),
    "two-names": lambda: archive([INDEX, Entry(b"shown", b"x", local_name=b"other")]),
    "size-says-less": lambda: archive([Entry(b"index.py", b"x" * 10_000, size=10)]),
    "size-says-more": lambda: archive([Entry(b"index.py", b"x" * 10, size=10_000)]),
    "packed-size-past-the-end": lambda: archive([Entry(b"index.py", b"x" * 10, packed_size=1 << 30)]),
    "descriptor-lies": lambda: archive([Entry(b"index.py", b"x" * 100, size=5, crc=5,
                                              descriptor=b"PK\x07\x08" + b"\x05\0\0\0" * 3)]),
    "unknown-method": lambda: archive([Entry(b"index.py", b"x", method=STORED), Entry(b"b", b"x", method=99)]),
    "count-lies": lambda: archive([INDEX], count=7),
    "zip64-count-lies": lambda: zip64_that_claims([INDEX], 1_000_000),
    "zip64-count-huge": lambda: zip64_that_claims([INDEX], 2**63),
    "zip64-offset-lies": lambda: zip64_that_claims([INDEX], 1, directory_offset=2**62),
    "overlapping": lambda: archive([Entry(b"%05d" % n, b"\0" * 65_536) for n in range(5000)], same_offset=True),
    "too-many-entries": lambda: archive([Entry(b"%06d" % n, b"", method=STORED) for n in range(66_000)]),
    "ratio-bomb": lambda: archive([INDEX, Entry(b"zeros", b"\0" * (251 * MIB))]),
}


@pytest.fixture(autouse=True)
def nothing_was_written_outside():
    yield
    for folder in ("/etc", "/", "/tmp", "/var", "/var/lib", "/var/tmp"):
        assert not os.path.exists(os.path.join(folder, "freehold-was-here"))


def stored(client):
    usage = client.get_account_settings()["AccountUsage"]
    return usage["FunctionCount"], usage["TotalCodeSize"]


@pytest.mark.parametrize("make", [pytest.param(v, id=k) for k, v in BAD.items()])
def test_a_bad_package_is_refused_and_leaves_nothing(functions, client, make):
    package = make()
    before, name = stored(client), unique("bad")
    with pytest.raises(ClientError) as caught:
        functions.create_response(package, name)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] in (400, 413), response
    assert response["Error"]["Code"] in (
        "InvalidParameterValueException", "ValidationException", "RequestEntityTooLargeException"), response
    assert len(response["Error"]["Message"]) > 10
    assert stored(client) == before
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_over_the_unpacked_limit_answers_as_recorded(functions):
    with pytest.raises(ClientError) as caught:
        functions.create_response(BAD["ratio-bomb"]())
    assert caught.value.response["Error"]["Message"] == (
        "Unzipped size must be smaller than 262144000 bytes")


def test_a_refused_update_keeps_the_code(functions, client):
    name = functions.create(python("def handler(e, c): return 'kept'\n"))
    for package in (BAD["parent-path"](), BAD["corrupt"](), BAD["link-out"]()):
        with pytest.raises(ClientError):
            client.update_function_code(FunctionName=name, ZipFile=package)
    assert functions.call(name) == "kept"


def test_names_that_differ_in_case_alone_are_refused_or_kept_apart(functions):
    """On Linux they are two files; a package made where they are one must not lose either."""
    body = "import os\ndef handler(e, c): return sorted(os.listdir('/var/task'))\n"
    package = archive([Entry(b"index.py", body.encode()), Entry(b"Data.txt", b"A"), Entry(b"data.TXT", b"b")])
    try:
        name = functions.create(package)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidParameterValueException"
    else:
        assert functions.call(name) == ["Data.txt", "data.TXT", "index.py"]


def test_a_nested_bomb_is_data(functions):
    """A zip inside a zip is a file: nothing unpacks it."""
    name = functions.create(zip_of({"index.py": "def handler(e, c): return 1\n", "inner.zip": nested_bomb()}))
    assert functions.call(name) == 1


def test_links_inside_the_package_stay(functions):
    body = b"def handler(e, c):\n    return open('/var/task/link').read()\n"
    package = archive([Entry(b"index.py", body), Entry(b"real.txt", b"through"),
                       Entry(b"link", b"real.txt", mode=LINK)])
    assert functions.call(functions.create(package)) == "through"


def test_setuid_bits_and_owners_are_dropped(functions):
    body = b"import os\ndef handler(e, c):\n    s = os.stat('/var/task/tool')\n    return oct(s.st_mode)\n"
    package = archive([Entry(b"index.py", body), Entry(b"tool", b"x", mode=0o106755)])
    try:
        mode = functions.call(functions.create(package))
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidParameterValueException"
    else:
        assert int(mode, 8) & 0o6000 == 0


def test_a_package_made_in_a_stream_is_fine(functions):
    """Tools that write to a pipe leave the sizes to descriptors behind the data."""
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.parts = []

        def writable(self):
            return True

        def write(self, part):
            self.parts.append(bytes(part))
            return len(part)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("index.py", "def handler(e, c): return 'streamed'\n")
    assert functions.call(functions.create(b"".join(pipe.parts))) == "streamed"


def test_files_that_only_their_owner_may_read_are_readable(functions):
    package = archive([Entry(b"index.py", b"def handler(e, c): return 'read'\n", mode=0o100600)])
    assert functions.call(functions.create(package)) == "read"


def test_a_package_without_modes_is_readable(functions):
    package = archive([Entry(b"index.py", b"def handler(e, c): return 'read'\n", mode=0)])
    assert functions.call(functions.create(package)) == "read"


def test_the_package_is_read_only(functions):
    body = "def handler(e, c):\n    open('/var/task/new', 'w')\n"
    answer = functions.run(body)
    assert answer.payload["errorType"] in ("OSError", "PermissionError")


def test_a_package_over_50_mb_is_refused(functions):
    package = archive([INDEX, Entry(b"noise", os.urandom(1 << 20) * 51, method=STORED)])
    with pytest.raises(ClientError) as caught:
        functions.create_response(package)
    assert caught.value.response["Error"]["Code"] in (
        "RequestEntityTooLargeException", "InvalidParameterValueException")
    assert functions.call(functions.create(ECHO), 1) == 1
