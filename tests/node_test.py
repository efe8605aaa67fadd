"""Node functions inside of their sandbox: what they find there that a plain Node would not answer."""

import base64
import json
import pathlib

import pytest

from support.functions import zip_of

# What the book shows for packages that bring their compiled code.
BOOK = (pathlib.Path(__file__).parents[1] / "docs/book/starts.md").read_text()
WITH_CACHE = BOOK.split("```js\n")[1].split("```")[0]

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


def test_a_package_may_bring_compiled_code(functions, nodes):
    app = "exports.handler = async () => [require('path').basename(__filename), module.exports === exports];"
    files = {"index.js": WITH_CACHE, "app.js": app}

    def compiled(name):
        said = functions.call(name)
        functions.client.update_function_configuration(FunctionName=name, Handler="index.handler")
        functions.wait_updated(name)
        assert functions.call(name) == ["app.js", True]
        return said

    for runtime in nodes:
        how = {"Runtime": runtime, "Handler": "index.compiled"}
        made = compiled(functions.create(zip_of(files), **how))
        assert made.get("refused") is None, runtime
        files["app.js.cache"] = base64.b64decode(made["cache"])
        assert compiled(functions.create(zip_of(files), **how))["refused"] is False, runtime
        # V8's flags follow the memory.
        other = functions.create(zip_of(files), **how, MemorySize=512)
        assert compiled(other)["refused"] is True, runtime
        del files["app.js.cache"]
