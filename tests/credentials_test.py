"""Credentials that an instance asks its own endpoint for, as the container providers of SDKs do."""

import contextlib
import datetime
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from snapstart_test import ON, carried, publish
from support import projects
from support.functions import java_runtime, node_runtime, python, zip_of
from support.http import send

PATH = "/_freehold/credentials"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# `ask` is an SDK's provider without the SDK: status, body, headers.
ASK = """
import json, os, urllib.error, urllib.request
URI, TOKEN = 'AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_AUTHORIZATION_TOKEN'
def ask(token=None, method='GET'):
    headers = {} if token is None else {'Authorization': token}
    request = urllib.request.Request(os.environ[URI], method=method, headers=headers)
    try:
        reply = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        return [reply.status, json.loads(reply.read()), {k.lower(): v for k, v in reply.headers.items()}]
"""
# Says its session and its token; `event` is (token, method) of what it asks, where OWN is its own
# token: calls need not come to the same instance.
TELLER = ASK + """
def handler(event, context):
    token, method = event or ['OWN', 'GET']
    asked = ask(token and token.replace('OWN', os.environ[TOKEN]), method)
    return {'asked': asked, 'own': ask(os.environ[TOKEN])[1], 'token': os.environ[TOKEN],
            'uri': os.environ[URI], 'keys': [os.environ.get(name) for name in %r]}
""" % (KEYS,)


@pytest.fixture(scope="module")
def sdk(functions):
    answer = functions.run("import boto3\ndef handler(e, c): pass\n", Timeout=30, MemorySize=256)
    if "No module named 'boto3'" in str(answer.payload):
        pytest.skip("no boto3 for functions: 'freehold runtimes install' had no network")


def session(server, told):
    """An STS client outside, with what an instance was told."""
    return boto3.client(
        "sts", endpoint_url=server.url, region_name=server.keys()["AWS_REGION"],
        aws_access_key_id=told["AccessKeyId"], aws_secret_access_key=told["SecretAccessKey"],
        aws_session_token=told["Token"], config=Config(retries={"total_max_attempts": 1}))


def test_an_sdk_without_keys_in_its_environment_asks_the_endpoint(sdk, functions):
    target = functions.create(python("def handler(e, c): return e + 1\n"))
    name = functions.create(python(f"""
import json, os
keys = {{name: os.environ.pop(name) for name in {KEYS!r}}}
import boto3
def handler(e, c):
    found = boto3.Session().get_credentials()
    client = boto3.client('lambda')
    answer = json.loads(client.invoke(FunctionName='{target}', Payload=b'41')['Payload'].read())
    who = boto3.client('sts').get_caller_identity()
    try:
        client.list_functions()
        listed = None
    except client.exceptions.ClientError as error:
        listed = error.response['Error']['Code']
    frozen = found.get_frozen_credentials()
    return [found.method, answer, who['Account'], who['Arn'], listed,
            [frozen.access_key, frozen.secret_key, frozen.token] == list(keys.values())]
"""), Timeout=30, MemorySize=256)
    method, answer, account, arn, listed, same = functions.call(name)
    assert (method, answer, account) == ("container-role", 42, functions.account)
    assert arn.startswith(f"arn:aws:sts::{functions.account}:assumed-role/tests/")
    # They are the session of the environment: no more is allowed with them.
    assert listed == "AccessDeniedException" and same


def test_what_is_told_is_the_session_of_the_instance(server, functions):
    name = functions.create(python(TELLER))
    told = functions.call(name)
    assert told["uri"] == f"http://127.0.0.1:9002{PATH}"
    status, body, headers = told["asked"]
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "no-store")
    # An init that made a client could not be carried in an image with the socket on which it asked.
    assert headers["connection"] == "close"
    assert sorted(body) == ["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]
    assert [body["AccessKeyId"], body["SecretAccessKey"], body["Token"]] == told["keys"]
    ends = datetime.datetime.strptime(body["Expiration"], "%Y-%m-%dT%H:%M:%S%z")
    left = ends - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(hours=11) < left <= datetime.timedelta(hours=12)
    assert session(server, body).get_caller_identity()["Account"] == functions.account


def test_without_the_instances_own_token_nothing_is_told(server, functions):
    one, other = (functions.create(python(TELLER)) for _ in range(2))
    token, others = functions.call(one)["token"], functions.call(other)["token"]
    assert token != others and len(token) == len(others) == 64
    for wrong in (None, "", "x" * 64, "OWN0", "0OWN", "Bearer OWN", others):
        status, body, _ = functions.call(one, [wrong, "GET"])["asked"]
        assert (status, sorted(body), body["code"]) == (401, ["code", "message"], "Unauthorized"), wrong
        assert body["message"] and "Key" not in json.dumps(body)
    for method in ("POST", "PUT", "DELETE"):
        status, body, headers = functions.call(one, ["OWN", method])["asked"]
        assert (status, body["code"], headers["allow"]) == (405, "MethodNotAllowed", "GET")
    # Its own goes on being told.
    again = functions.call(one)
    assert again["asked"][0] == 200
    # The trail has the refusals, and nothing has the tokens.
    trail = server.cli("audit", "--json", "--denied").stdout
    rows = [row for row in map(json.loads, trail.splitlines())
            if row["Action"] == "freehold:GetInstanceCredentials"]
    assert rows and {(row["TenantId"], row["Source"], row["Error"]) for row in rows} == {
        (functions.account, "instance", "Unauthorized")}
    for secret in (token, others, again["own"]["Token"]):
        assert secret not in trail + server.output()


def test_nobody_outside_is_told(server, functions):
    told = functions.call(functions.create(python(TELLER)))
    for token in (None, told["token"]):
        headers = {"Authorization": token} if token else {}
        reply = send(server.url, "GET", PATH, headers)
        assert reply.status in (400, 403), reply.text
        assert told["own"]["AccessKeyId"] not in reply.text and "AccessKeyId" not in reply.text


def test_what_was_told_ends_with_its_instance(server, functions):
    name = functions.create(python(TELLER))
    sts = session(server, functions.call(name)["own"])
    assert sts.get_caller_identity()["Account"] == functions.account
    functions.client.delete_function(FunctionName=name)
    end = time.monotonic() + 30
    while True:
        try:
            sts.get_caller_identity()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidClientTokenId"
            return
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("variable", ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
def test_a_function_that_names_its_own_provider_has_no_token_of_ours(functions, variable):
    name = functions.create(
        python("import os\ndef handler(e, c):\n"
               "    return {k: v for k, v in os.environ.items() if k.startswith('AWS_CONTAINER_')}\n"),
        Environment={"Variables": {variable: "http://localhost:1/mine"}})
    assert functions.call(name) == {variable: "http://localhost:1/mine"}


def test_a_version_with_a_provider_of_its_own_keeps_its_keys(server, functions):
    """It would have no credentials at all."""
    name = functions.create(
        python("import os\ndef handler(e, c):\n"
               "    names = 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'\n"
               "    return dict(zip(('AccessKeyId', 'SecretAccessKey', 'Token'), map(os.environ.get, names)))\n"),
        SnapStart=ON, Timeout=20, Environment={"Variables": {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/tmp/token"}})
    version = publish(functions.client, name)["Version"]
    told = functions.call(name, Qualifier=version)
    assert session(server, told).get_caller_identity()["Account"] == functions.account


def test_a_version_with_snapstart_asks_for_its_session(server, functions):
    name = functions.create(python(TELLER), SnapStart=ON, Timeout=20)
    version = publish(functions.client, name)["Version"]
    told = functions.call(name, Qualifier=version)
    assert told["keys"] == [None, None, None]
    assert session(server, told["own"]).get_caller_identity()["Account"] == functions.account
    # The head has both.
    head = functions.call(name)
    assert head["keys"] == [head["own"][name] for name in ("AccessKeyId", "SecretAccessKey", "Token")]
    assert head["token"] != told["token"]


def test_a_client_that_an_image_brings_asks_anew(sdk, server, functions):
    name = functions.create(python(ASK + """
import boto3
sts = boto3.client('sts')
held = sts._request_signer._credentials
of_init = [os.environ[TOKEN], held.method, held._access_key]
def handler(event, context):
    account = sts.get_caller_identity()['Account']
    return [of_init, account, held._access_key, ask(os.environ[TOKEN])[1]['AccessKeyId'],
            os.environ[TOKEN], ask(of_init[0])[0]]
"""), SnapStart=ON, Timeout=30, MemorySize=256)
    version = carried(publish(functions.client, name))
    (token, method, key), account, used, own, own_token, status = functions.call(name, Qualifier=version)
    assert (method, account) == ("container-role", functions.account)
    # What lies in the image is of an instance that has ended, and opens nothing.
    assert used == own != key
    assert own_token != token and status == 401


def test_the_init_of_an_image_is_told_a_near_end(functions):
    """Whatever keeps it asks again in an instance that is thawed minutes, or hours, later."""
    name = functions.create(python(ASK + """
import time
def told(): return [ask(os.environ[TOKEN])[1]['Expiration'], time.time()]
of_init = [told(), told()]
def handler(event, context):
    return [of_init, told()]
"""), SnapStart=ON, Timeout=20)
    of_init, own = functions.call(name, Qualifier=carried(publish(functions.client, name)))

    def left(told):
        ends, now = told
        return datetime.datetime.strptime(ends, "%Y-%m-%dT%H:%M:%S%z").timestamp() - now
    # In whole seconds.
    assert all(118 < left(told) <= 120 for told in of_init), of_init
    assert 11 * 3600 < left(own) <= 12 * 3600
    # An init that no image is made of has a session like any other.
    assert 11 * 3600 < left(functions.call(name)[0][0]) <= 12 * 3600


@pytest.fixture(scope="module")
def sdk_jar():
    if java_runtime() is None or shutil.which("mvn") is None:
        pytest.skip("no JDK or no Maven on this machine")
    return projects.jar(pathlib.Path(__file__).parent / "functions" / "java_sdk", "test-java-sdk")


def test_the_sdk_for_javascript_asks_the_endpoint(functions):
    """By its default chain, for a client of init and another one of the handler."""
    if node_runtime() is None:
        pytest.skip("no Node on this machine")
    name = functions.create(zip_of({"index.js": f"""
const keys = {json.dumps(KEYS)}.map((name) => {{
  const value = process.env[name];
  delete process.env[name];
  return value;
}});
let sts;
try {{
  sts = require('@aws-sdk/client-sts');
}} catch (error) {{
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
}}
const client = sts && new sts.STSClient({{}});
const ofInit = sts && client.send(new sts.GetCallerIdentityCommand({{}}));
exports.handler = async () => {{
  if (!sts) return null;
  const own = new sts.STSClient({{}});
  const who = await own.send(new sts.GetCallerIdentityCommand({{}}));
  const held = await own.config.credentials();
  return {{
    account: who.Account, arn: who.Arn, arnOfInit: (await ofInit).Arn,
    expires: held.expiration.getTime() / 1000 - Date.now() / 1000,
    same: JSON.stringify([held.accessKeyId, held.secretAccessKey, held.sessionToken]) === JSON.stringify(keys),
  }};
}};
"""}), Runtime=node_runtime(), Timeout=30, MemorySize=512)
    told = functions.call(name)
    if told is None:
        pytest.skip("no SDK for Node functions: 'freehold runtimes install' had no network")
    assert told["account"] == functions.account and told["arn"] == told["arnOfInit"]
    assert told["arn"].startswith(f"arn:aws:sts::{functions.account}:assumed-role/tests/")
    assert told["same"] and 11 * 3600 < told["expires"] <= 12 * 3600


def test_the_sdk_for_java_asks_the_endpoint(functions, sdk_jar):
    fields = {"Runtime": java_runtime(), "MemorySize": 512, "Timeout": 60}
    jar = sdk_jar.read_bytes()
    name = functions.create(jar, Handler="test.Asks$Container::handle", **fields)
    plain = functions.call(name)
    assert plain["variables"] == list(KEYS)
    # A version with SnapStart has nothing but the endpoint, and its SDK's own chain finds it.
    name = functions.create(jar, Handler="test.Asks$Default::handle", SnapStart=ON, **fields)
    version = functions.call(name, Qualifier=publish(functions.client, name)["Version"])
    assert version["variables"] == []
    for told in (plain, version):
        assert told["from"] == "ContainerCredentialsProvider" and told["key"].startswith("ASIA")
        assert told["account"] == functions.account and told["arn"] == told["arnOfInit"]
        assert told["arn"].startswith(f"arn:aws:sts::{functions.account}:assumed-role/tests/")
    assert plain["key"] != version["key"]


@contextlib.contextmanager
def telling(ahead_s):
    """An endpoint that tells a session which ends so soon: its environment, and who asked."""
    asked = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=ahead_s)
            told = json.dumps({"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t",
                               "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *told):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        yield asked, {
            **environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_port}/c",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t0k3n", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1", "HOME": "/nonexistent"}
        server.shutdown()


def taking_twice(language, request):
    """A program that takes an SDK's credentials twice."""
    if language == "python":
        return [sys.executable, "-c", "import botocore.session\n"
                "held = botocore.session.get_session().get_credentials()\n"
                "held.get_frozen_credentials(), held.get_frozen_credentials()"], {}
    if language == "java":
        return ["java", "-cp", str(request.getfixturevalue("sdk_jar")), "test.Asks"], {}
    modules = os.environ.get("FREEHOLD_NODE_MODULES")
    if shutil.which("node") is None or not modules or not pathlib.Path(modules, "@aws-sdk").is_dir():
        pytest.skip("no Node, or FREEHOLD_NODE_MODULES does not hold the SDK: run by make test, which fetches it")
    return ["node", "-e", "const { defaultProvider } = require('@aws-sdk/credential-provider-node');"
            "const take = defaultProvider(); take().then(() => take());"], {"NODE_PATH": modules}


@pytest.mark.parametrize("language", ["python", "node", "java"])
def test_sdks_ask_again_when_the_end_that_they_were_told_is_near(language, request):
    """As the init of an image is told it; and not when it is as far as it is for others."""
    command, more = taking_twice(language, request)
    counts = []
    for ahead_s in (120, 12 * 3600):
        with telling(ahead_s) as (asked, environment):
            done = subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert set(asked) == {"t0k3n"}
            counts.append(len(asked))
    near, far = counts
    assert near >= 2 and far == 1, counts
