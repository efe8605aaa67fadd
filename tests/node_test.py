"""Node functions inside of their sandbox: what they find there that a plain Node would not answer."""

import json

import pytest

from support.functions import zip_of

LOOPBACK = {"address": "127.0.0.1", "netmask": "255.0.0.0", "family": "IPv4", "mac": "00:00:00:00:00:00",
            "internal": True, "cidr": "127.0.0.1/8"}


@pytest.fixture(scope="module")
def nodes(server):
    """The name of every Node runtime that the server offers."""
    listed = json.loads(server.cli("runtimes", "list", "--json", "--data", server.data).stdout)
    found = [runtime["name"] for runtime in listed["runtimes"] if runtime["name"].startswith("nodejs")]
    return found or pytest.skip("no Node on this machine")


@pytest.mark.parametrize("name, code", [
    ("index.js", "exports.handler = async () => require('os').networkInterfaces();"),
    ("index.mjs", "import { networkInterfaces } from 'node:os';\nexport const handler = async () => networkInterfaces();")])
def test_network_interfaces_are_loopback(functions, nodes, name, code):
    for runtime in nodes:
        found = functions.call(functions.create(zip_of({name: code}), Runtime=runtime))
        assert list(found) == ["lo"], runtime
        assert found["lo"][0] == LOOPBACK, runtime
        assert all(one["internal"] for one in found["lo"]), runtime
