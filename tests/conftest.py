"""Fixtures: the real binary, one per test file, with a data folder of its own; functions on it.

When a file is done its server is stopped with SIGTERM and the machine must look as before: no
process, cgroup, mount, loop device, network namespace or temporary file of the server may remain.
"""

import contextlib
import re
import shutil

import pytest
from botocore.exceptions import ClientError

from support import server as servers
from support.functions import Functions


def pytest_collection_modifyitems(items):
    """Without a binary nothing here can speak, and a silent skip would look like success."""
    outside = [item for item in items if "server" in getattr(item, "fixturenames", ())
               or "start_server" in getattr(item, "fixturenames", ())]
    if outside and not servers.binary().is_file():
        raise pytest.UsageError(
            f"no binary at {servers.binary()}: cargo build --release, or set FREEHOLD_BIN")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Workers are given whole files, each of those that it is for."""
    if config.getoption("dist") != "loadfile":
        return None
    from support.order import Order
    return Order(config, log)


@pytest.fixture(scope="module")
def server():
    """A running server, shared by the tests of one file."""
    one = servers.Server()
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def client(functions):
    return functions.client


@pytest.fixture
def start_server():
    """Starts servers of a test's own, for those that end them or configure them."""
    started = []

    def start(config=None, arguments=(), **more):
        one = servers.Server(config, arguments, **more)
        started.append(one)
        return one.start()

    yield start
    failures = []
    for one in started:
        try:
            one.close()
        except AssertionError as error:
            failures.append(str(error))
    assert failures == []


@pytest.fixture
def open_folder():
    """An empty folder that a server which dropped root can reach; pytest's own are closed."""
    folder = servers.make_folder("open")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def refuses():
    """`with refuses("Code", "text")`: the call must fail with this error of the service."""
    @contextlib.contextmanager
    def check(code, text=None, status=None):
        with pytest.raises(ClientError) as caught:
            yield caught
        response = caught.value.response
        assert response["Error"]["Code"] == code, response["Error"]
        if text is not None:
            assert re.search(text, response["Error"]["Message"]), response["Error"]
        if status is not None:
            assert response["ResponseMetadata"]["HTTPStatusCode"] == status

    return check
