"""What the recorded cases are given: a server, a `Case`, and the runtimes of the machine."""

import json

import pytest

from cases import Case
from support import server as servers


@pytest.fixture(scope="module")
def server():
    """A server on which the nearest version of a language stands in for one that the machine has not.

    Most cases name a runtime and are not about it; those that are ask for `Case.exactly` theirs.
    """
    one = servers.Server("[runtimes]\nsubstitute = true\n")
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(scope="module")
def runtimes(server):
    """The names of the runtimes that the machine has itself."""
    listed = server.cli("runtimes", "list", "--data", server.data, "--json").stdout
    return sorted(row["name"] for row in json.loads(listed)["runtimes"])


@pytest.fixture
def case(request, functions, runtimes):
    return Case(request.param, functions, runtimes)
