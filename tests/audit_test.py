"""The audit trail: who changed what and who was denied, by real clients and `freehold audit`."""

import concurrent.futures
import contextlib
import datetime
import itertools
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from support import server as servers
from support.functions import Functions, python, zip_of
from support.http import send, signed
from tenants_test import new_account, operate, until


def audit(server, *arguments, **more):
    done = server.cli("audit", "--json", *arguments, **more)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def about(rows, name):
    """The lines whose resource is the thing of this name."""
    return [row for row in rows if re.search(re.escape(name) + r"(?![\w-])", row["Resource"])]


def stranger(server, service="lambda", key="AKIASTRANGER00000000", secret="x" * 40):
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1",
                        aws_access_key_id=key, aws_secret_access_key=secret,
                        config=Config(retries={"total_max_attempts": 1}))


def test_every_change_is_one_line_and_reads_are_none(functions, client, server):
    name = functions.create()
    client.get_function(FunctionName=name)
    client.list_functions()
    functions.invoke(name, 1)
    tagged = client.tag_resource(
        Resource=client.get_function(FunctionName=name)["Configuration"]["FunctionArn"],
        Tags={"secret-tag": "secret-value"})
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"PASSWORD": "secret-value"}})
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    logs = server.client("logs")
    logs.put_retention_policy(logGroupName=f"/aws/lambda/{name}", retentionInDays=7)
    client.delete_function(FunctionName=name)
    arn = f"arn:aws:lambda:us-east-1:{server.account}:function:{name}"
    rows = about(audit(server), name)
    assert [(row["Action"], row["Result"], row["Resource"]) for row in rows] == [
        ("lambda:CreateFunction", "ok", arn),
        ("lambda:TagResource", "ok", arn),
        ("lambda:UpdateFunctionConfiguration", "ok", arn),
        ("logs:PutRetentionPolicy", "ok", f"arn:aws:logs:us-east-1:{server.account}:log-group:/aws/lambda/{name}"),
        ("lambda:DeleteFunction", "ok", arn)]
    for row in rows:
        assert row["Who"] == server.keys()["AWS_ACCESS_KEY_ID"] and row["Proven"]
        assert (row["Kind"], row["TenantId"], row["Source"]) == ("key", server.account, "127.0.0.1")
        assert row["Count"] == 1 and row["Error"] is None
    assert [row["RequestId"] for row in rows][1] == tagged["ResponseMetadata"]["RequestId"]
    assert [row["Time"] for row in rows] == sorted(row["Time"] for row in rows)
    assert "secret" not in json.dumps(rows)
    assert server.keys()["AWS_SECRET_ACCESS_KEY"] not in server.cli("audit").stdout


def test_a_line_names_the_revision(functions, client, server):
    name = functions.create()
    version = client.publish_version(FunctionName=name)["Version"]
    client.delete_function(FunctionName=name, Qualifier=version)
    row = about(audit(server, "--action", "lambda:DeleteFunction"), name)[-1]
    assert row["Resource"].endswith(f":function:{name}:{version}")


def test_a_change_that_failed_says_how(client, server, refuses):
    with refuses("ResourceNotFoundException"):
        client.delete_function(FunctionName="never-was")
    with refuses("NotImplementedException"):
        client.put_function_event_invoke_config(FunctionName="never-was", MaximumRetryAttempts=1)
    rows = about(audit(server), "never-was")
    assert [(row["Action"], row["Result"]) for row in rows] == [
        ("lambda:DeleteFunction", "failed"),
        ("lambda:PutFunctionEventInvokeConfig", "failed")]
    assert rows[0]["Error"] == "ResourceNotFoundException"


def test_whoever_proves_nothing_is_denied_and_told_apart(client, server, functions):
    name = functions.create()
    with pytest.raises(ClientError):
        stranger(server).delete_function(FunctionName=name)
    forger = stranger(server, key=server.keys()["AWS_ACCESS_KEY_ID"])
    for call in (lambda: forger.get_function(FunctionName=name), lambda: forger.invoke(FunctionName=name)):
        with pytest.raises(ClientError):
            call()
    with pytest.raises(ClientError):
        stranger(server, "sts").get_caller_identity()
    request = urllib.request.Request(f"{server.url}/2015-03-31/functions/{name}")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)
    rows = of(audit(server, "--denied"), Proven=False)
    seen = [(row["Kind"], row["Action"], row["Error"], row["TenantId"]) for row in rows]
    assert ("unproven-key", "lambda:DeleteFunction", "UnrecognizedClientException", None) in seen
    # A key's id proves nothing, so nobody writes into its account's trail by naming it.
    assert ("key", "lambda:GetFunction", "InvalidSignatureException", None) in seen
    assert ("key", "lambda:InvokeFunction", "InvalidSignatureException", None) in seen
    assert ("nobody", "lambda:GetFunction", "MissingAuthenticationTokenException", None) in seen
    assert any(row[0] == "unproven-key" and row[1].startswith("sts:") for row in seen)
    assert all(row["Result"] == "denied" for row in rows)
    # Nothing of it happened, and the table marks what is not proven.
    assert client.get_function(FunctionName=name)
    assert "AKIASTRANGER00000000?" in server.cli("audit", "--denied").stdout


def test_a_url_that_refuses_names_its_function(functions, client, server):
    name = functions.create()
    url = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    host = url.removeprefix("http://").rstrip("/")
    request = urllib.request.Request(server.url + "/path", headers={"Host": host})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403
    [row] = about(audit(server, "--action", "lambda:InvokeFunctionUrl"), name)
    assert (row["Kind"], row["Result"], row["TenantId"]) == ("nobody", "denied", server.account)
    assert row["RequestId"] == refused.value.headers["x-amzn-requestid"]
    # A key that it names is kept as what stood there, known or not.
    for key in ("AKIASTRANGER00000000", server.keys()["AWS_ACCESS_KEY_ID"]):
        path, headers = signed(server, "GET", "/", key=key, secret="x" * 40, host=host)
        assert send(server.url, "GET", path, headers).status == 403
        row = about(audit(server, "--action", "lambda:InvokeFunctionUrl"), name)[-1]
        assert (row["Kind"], row["Who"], row["Proven"]) == ("unproven-key", key, False)
        assert row["TenantId"] == server.account


def test_a_link_that_opens_nothing_is_a_line_of_whose_package_it_is(server):
    one = new_account(server)
    name = one.functions.create()
    link = one.client("lambda").get_function(FunctionName=name)["Code"]["Location"].removeprefix(server.url)
    assert send(server.url, "GET", link).status == 200
    begin, tag = link.rsplit("/", 1)

    def refused(path, *arguments):
        """The lines of a refusal, without those that were there before."""
        before = audit(server, "--action", "freehold:GetCode", *arguments)
        assert send(server.url, "GET", path).status == 403
        lines = audit(server, "--action", "freehold:GetCode", *arguments)
        assert lines[:len(before)] == before
        return lines[len(before):]

    # It names an account, which nothing proves: so it is the operator's line alone.
    [row] = refused(f"{begin}/{'0' * len(tag)}")
    assert (row["TenantId"], row["Resource"], row["Kind"], row["Proven"]) == (None, "", "nobody", False)
    assert (row["Result"], row["Error"], row["Source"]) == ("denied", "AccessDeniedException", "127.0.0.1")
    operate(server, "tenants", "disable", one.account)
    [row] = refused(link, "--tenant", one.account)
    digest = begin.split("/")[-2]
    assert (row["Resource"], row["Kind"], row["Proven"]) == (f"package/{digest}", "nobody", False)
    # Who reads the trail has no link by it: this one opens again.
    assert tag not in json.dumps(audit(server))
    operate(server, "tenants", "enable", one.account)
    assert refused(begin, "--tenant", one.account) == []
    before = audit(server)
    assert send(server.url, "GET", link).status == 200
    assert audit(server) == before


def test_a_call_of_a_url_that_its_accounts_end_or_budget_cuts_short_is_denied(server):
    one = new_account(server)
    name = one.functions.create(python("""
import time

def handler(event, context):
    time.sleep(50 if event["rawPath"] == "/slow" else 0)
    return "ran"
"""), Timeout=60)
    host = one.functions.public_url(name).split("/")[2]

    def lines():
        return audit(server, "--denied", "--tenant", one.account)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(send, server.url, "GET", "/slow", {"Host": host})
        until(lambda: "busy" in one.cli("ps", "--json").stdout)
        assert lines() == []
        operate(server, "tenants", "disable", one.account)
        cut = running.result()
    assert cut.status == 403
    operate(server, "tenants", "enable", one.account)
    assert send(server.url, "GET", "/", {"Host": host}).status == 200
    operate(server, "budgets", "set", "--tenant", one.account, "--invocations", "1", "--per", "month",
            "--then", "stop")
    stopped = send(server.url, "GET", "/", {"Host": host})
    assert stopped.status == 403
    rows = lines()
    assert [row["RequestId"] for row in rows] == [answer.headers["x-amzn-requestid"] for answer in (cut, stopped)]
    for row in rows:
        assert (row["Action"], row["Result"], row["Error"]) == (
            "lambda:InvokeFunctionUrl", "denied", "AccessDeniedException")
        assert (row["Kind"], row["Proven"], row["Source"]) == ("nobody", False, "127.0.0.1")
        assert row["Resource"].endswith(f":function:{name}")


def test_what_an_instance_may_not_do_is_denied_by_its_name(functions, server):
    name = functions.create(python("""
import boto3
def handler(event, context):
    try:
        boto3.client("lambda").delete_function(FunctionName="other")
    except Exception as error:
        return str(error)
"""), Timeout=30)
    answer = functions.call(name, 1)
    assert "AccessDenied" in str(answer), answer
    [row] = of(audit(server, "--denied"), Action="lambda:DeleteFunction", Kind="instance")
    assert row["Who"].startswith(f"{name}/") and row["Source"] == "instance" and row["Proven"]
    assert row["Resource"].endswith(":function:other") and row["Error"] == "AccessDeniedException"


def test_odd_texts_are_bounded_and_move_no_cursor(server):
    path = "/_freehold/api/" + "%1b[2J" + "x" * 3000
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nauthorization: AWS4-HMAC-SHA256 "
                    "Credential=\tAKIA\x85ODD/20261121/us-east-1/freehold/aws4_request, SignedHeaders=host, "
                    "Signature=00\r\n\r\n".encode("latin-1"))
        raw.recv(1000)
    rows = [row for row in audit(server, "--denied") if "xxxx" in row["Action"]]
    assert len(rows) == 1 and len(rows[0]["Action"].encode()) <= 512
    assert "\x1b" not in server.cli("audit", "--denied").stdout


def test_a_flood_of_denied_calls_is_counted(start_server):
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    calls = 600

    def flood(n):
        with socket.create_connection((host, int(port))) as raw:
            for _ in range(n):
                raw.sendall(b"GET /2015-03-31/functions/x HTTP/1.1\r\nhost: localhost\r\n\r\n")
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += raw.recv(65536)
                assert b" 403 " in answer.split(b"\r\n", 1)[0]
                length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = answer.split(b"\r\n\r\n", 1)[1]
                while len(body) < length:
                    body += raw.recv(65536)

    threads = [threading.Thread(target=flood, args=(calls // 4,)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    # Somebody who proves who it is has lines of its own all the same.
    Functions(server).create()
    # The end of the server writes what is not counted in a line yet.
    server.restart()
    rows = audit(server)
    assert len(of(rows, Action="lambda:CreateFunction", Result="ok")) == 1
    denied = of(rows, Result="denied", TenantId=None)
    counts = of(denied, Kind="several")
    assert sum(row["Count"] for row in denied) == calls
    # A minute has thirty; the flood may straddle two of them.
    assert 30 <= len(denied) - len(counts) <= 60
    assert 1 <= len(counts) <= 4


def test_a_flood_of_failed_calls_is_counted(start_server, refuses):
    """Calls that change nothing push nobody's lines out."""
    server = start_server()
    client, calls = server.client("lambda"), 200
    for _ in range(calls):
        with refuses("ResourceNotFoundException"):
            client.delete_function(FunctionName="never-was")
    server.restart()
    failed = of(audit(server), Result="failed", TenantId=server.account)
    counts = of(failed, Kind="several")
    assert sum(row["Count"] for row in failed) == calls
    # A minute has thirty; the flood may straddle a few of them.
    assert 30 <= len(failed) - len(counts) <= 120 and counts


def test_an_instance_is_denied_what_is_not_served_and_its_flood_is_counted(start_server):
    server, calls = start_server(), 200
    functions = Functions(server)
    name = functions.create(python("""
import boto3
from botocore.config import Config

def handler(event, context):
    config = Config(retries={"total_max_attempts": 1})
    client = {name: boto3.client(name, config=config) for name in ("lambda", "logs", "sts")}
    asked = {
        "lambda": lambda: client["lambda"].put_function_event_invoke_config(
            FunctionName="other", MaximumRetryAttempts=1),
        "logs": lambda: client["logs"].create_log_group(logGroupName="other"),
        "sts": lambda: client["sts"].assume_role(
            RoleArn="arn:aws:iam::111111111111:role/other", RoleSessionName="other")}
    codes = {}
    for name in event["asked"]:
        try:
            asked[name]()
        except Exception as error:
            codes[name] = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return codes
"""), Timeout=120)
    answer = functions.call(name, {"asked": ["lambda", "logs"] + ["sts"] * calls})
    # As the JSON protocol of that service has it, a refusal is a 400.
    assert answer == {"lambda": 403, "logs": 400, "sts": 403}
    server.restart()
    rows = of(audit(server), Result="denied", TenantId=server.account)
    actions = {row["Action"] for row in rows}
    assert {"lambda:PutFunctionEventInvokeConfig", "logs:CreateLogGroup", "sts:AssumeRole"} <= actions
    counts = of(rows, Kind="several")
    assert sum(row["Count"] for row in rows) == calls + 2
    assert 30 <= len(rows) - len(counts) <= 120 and counts


def test_a_kill_loses_no_line_whose_answer_was_sent(start_server):
    server = start_server()
    client = Functions(server).client
    answered, lock = [], threading.Lock()
    names = [Functions(server).create() for _ in range(3)]

    def change(name):
        for n in itertools.count():
            try:
                done = client.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=n % 50)
            except Exception:
                return
            with lock:
                answered.append(done["ResponseMetadata"]["RequestId"])

    threads = [threading.Thread(target=change, args=(name,)) for name in names]
    [thread.start() for thread in threads]
    while len(answered) < 60:
        time.sleep(0.01)
    server.kill()
    [thread.join() for thread in threads]
    server.start()
    rows = of(audit(server), Action="lambda:PutFunctionConcurrency")
    ids = [row["RequestId"] for row in rows]
    assert len(ids) == len(set(ids))
    assert set(answered) <= set(ids)


def test_a_kill_in_the_middle_of_a_change_leaves_its_line(start_server):
    server = start_server()
    # So much that it is unpacked for a moment.
    large = zip_of({f"{n}.bin": os.urandom(1 << 20).hex() for n in range(12)}
                   | {"index.py": "def handler(event, context):\n    return event\n"})

    def create():
        with contextlib.suppress(Exception):
            functions = Functions(server)
            while True:
                functions.create_response(large)

    change = threading.Thread(target=create)
    change.start()
    noted, end = server.data / "store" / "audit-under-way", time.monotonic() + 30
    while not list(noted.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.001)
    server.kill()
    change.join()
    server.start()
    *whole, row = of(audit(server), Action="lambda:CreateFunction")
    assert {row["Result"] for row in whole} <= {"ok"}
    assert row["Result"] in ("unheard", "ok") and row["RequestId"], row
    assert not list(noted.iterdir())


def test_a_caller_that_hangs_up_leaves_its_line(server, functions, client):
    """No change is made without its line, although nobody hears of it. What the server had not
    begun when the connection ended is neither made nor told."""
    name = functions.create()
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    keys = server.keys()
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    host, port = server.url.removeprefix("http://").split(":")
    for n in range(20):
        path, body = f"/2017-03-31/tags/{arn}", json.dumps({"Tags": {f"tag-{n}": "x"}})
        request = AWSRequest("POST", server.url + path, data=body)
        SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
        head = "".join(f"{key}: {value}\r\n" for key, value in request.headers.items())
        head += f"host: {host}:{port}\r\ncontent-length: {len(body)}\r\n"
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n{body}".encode())
            time.sleep(n * 0.0003)
    # An ordinary change behind them, so that they are over.
    time.sleep(1)
    client.tag_resource(Resource=arn, Tags={"last": "x"})
    made = client.list_tags(Resource=arn)["Tags"]
    rows = about(of(audit(server), Action="lambda:TagResource"), name)
    assert len(made) > 1 and len(made) <= len(rows) <= 21
    assert {row["Result"] for row in rows} <= {"ok", "unheard"}


def test_lines_are_chosen_by_time_action_and_tenant(server, functions, client):
    name = functions.create()
    client.delete_function(FunctionName=name)
    mine = about(audit(server), name)
    assert len(mine) == 2
    moment = mine[1]["Time"]
    later = about(audit(server, "--since", moment), name)
    assert mine[1] in later
    assert of(audit(server, "--until", "2026-01-01", "--since", "2025-01-01"), Count=1) == []
    deleted = audit(server, "--action", "lambda:Delete*")
    assert deleted and {row["Action"].split(":")[1][:6] for row in deleted} == {"Delete"}
    assert audit(server, "--tenant", server.account)
    assert audit(server, "--tenant", "999999999999") == []
    assert "no such line" in server.cli("audit", "--tenant", "999999999999").stderr
    for wrong in (["--since", "yesterday"], ["--since", "1h", "--until", "2h"]):
        assert server.cli("audit", *wrong, check=False).returncode == 2
    done = server.cli("audit", "--tenant", "12", check=False)
    assert done.returncode == 4 and "TenantId" in done.stderr


def test_following_shows_what_comes(server, functions, client):
    follow = subprocess.Popen([str(servers.binary()), "audit", "--json", "-f", "--since", "1m"],
                              stdout=subprocess.PIPE, text=True, env=server.environment())
    try:
        name = functions.create()
        seen = []
        for line in follow.stdout:
            seen.append(json.loads(line))
            if about(seen[-1:], name):
                break
        assert seen[-1]["Action"] == "lambda:CreateFunction"
        client.delete_function(FunctionName=name)
        for line in follow.stdout:
            seen.append(json.loads(line))
            if about(of(seen[-1:], Action="lambda:DeleteFunction"), name):
                break
        ids = [row["RequestId"] for row in seen if row["RequestId"]]
        assert len(ids) == len(set(ids)), "each line once"
    finally:
        follow.kill()
        follow.wait()


def test_the_trail_is_read_over_many_pages_by_signed_http(server, functions, client):
    name = functions.create()
    for n in range(12):
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=n)
    found, token = [], None
    while True:
        asked = {"Limit": 5, "Action": "lambda:PutFunctionConcurrency", **({"Token": token} if token else {})}
        page = own(server, "GetAudit", asked)
        assert len(page["Lines"]) <= 5
        found += about(page["Lines"], name)
        token = page["Token"]
        if not page["More"]:
            break
    assert len(found) == 12
    for wrong in ({"Token": "00" * 36}, {"TenantId": "x"}, {"Nonsense": 1}, {"Limit": -1}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            own(server, "GetAudit", wrong)
        assert refused.value.code == 400


def own(server, operation, asked):
    """An operation of Freehold's own, signed as an SDK would."""
    keys = server.keys()
    url, body = f"{server.url}/_freehold/api/{operation}", json.dumps(asked)
    asking = AWSRequest("POST", url, data=body)
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "freehold", "us-east-1").add_auth(asking)
    request = urllib.request.Request(url, body.encode(), dict(asking.headers), method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def trail_bytes(server):
    """What the trail takes; of a file that goes meanwhile nothing."""
    total = 0
    for path in (server.data / "store" / "audit").glob("*/*.seg"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_an_account_that_changes_things_without_end_costs_nobody_else_a_line(start_server):
    server = start_server('[audit]\nsize = "256KiB"\nfile_size = "64KiB"\n[limits]\nmanagement = "none"\n')
    quiet, loud = (new_account(server, "--name", word) for word in ("quiet", "loud"))
    name = quiet.functions.create()
    quiet.client("lambda").delete_function(FunctionName=name)
    with pytest.raises(ClientError):
        stranger(server).delete_function(FunctionName=name)

    def others():
        """Everybody's lines but its own, and those that say what went."""
        rows = [row for row in audit(server) if row["TenantId"] != loud.account]
        return [row for row in rows if row["Action"] != "freehold:TrimAudit"]

    before, own = others(), audit(quiet)
    assert {"freehold:CreateTenant", "lambda:CreateFunction", "lambda:DeleteFunction"} <= {row["Action"] for row in before}
    assert any(not row["Proven"] for row in before) and len(own) >= 3
    target, client = loud.functions.create(), loud.client("lambda")
    first = audit(loud)

    def change():
        for n in range(150):
            client.put_function_concurrency(FunctionName=target, ReservedConcurrentExecutions=n % 100)

    def early_bytes():
        told = [row["Resource"] for row in of(audit(server), Action="freehold:TrimAudit")]
        return sum(int(re.match(r"(\d+) bytes before", text)[1]) for text in told)

    end = time.monotonic() + 300
    while early_bytes() < 2 * (256 << 10):
        assert time.monotonic() < end, early_bytes()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            [done.result() for done in [pool.submit(change) for _ in range(4)]]
    until(lambda: trail_bytes(server) <= 336 << 10)
    assert others() == before and audit(quiet) == own
    mine = audit(loud)
    assert len(mine) > 100 and not any(row in mine for row in first), "it has lost its own, and kept the newest"
    # It is so for the next process too, which shows all parts as one, in the order in which they were written.
    shown = audit(server)
    server.stop()
    server.start()
    assert others() == before and audit(quiet) == own
    again = audit(server)
    assert [row for row in again if row in shown] == [row for row in shown if row in again]
    times = [datetime.datetime.fromisoformat(row["Time"]) for row in again]
    # A line is stamped when its answer is ready, just before it is written.
    assert all(later - one > datetime.timedelta(seconds=-1) for one, later in itertools.pairwise(times))
    assert len({row["TenantId"] for row in again}) == 4 and len(again) > 100


def test_what_an_account_may_ask_of_freehold_and_change_of_its_logs_in_a_second(start_server):
    server = start_server()
    one, other = new_account(server), new_account(server)
    logs = one.client("logs")

    def lines(account):
        path, headers = signed(server, "POST", "/_freehold/api/GetAudit", b"{}", service="freehold",
                               key=account.key, secret=account.secret)
        return send(server.url, "POST", path, headers, b"{}")

    def retention(_):
        try:
            logs.put_retention_policy(logGroupName="/aws/lambda/none", retentionInDays=7)
        except ClientError as error:
            return error.response

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: lines(one), range(200)))
        refused = [answer for answer in answers if answer.status != 200]
        assert {answer.status for answer in refused} == {429} and len(answers) - len(refused) >= 10
        text = json.loads(refused[0].body)
        assert text["Reason"] == "CallerRateLimitExceeded" and "10 calls of Freehold's own" in text["message"], text
        assert int(refused[0].headers["retry-after"]) >= 1
        answers = [answer for answer in pool.map(retention, range(200)) if answer]
    throttled = [answer["Error"] for answer in answers if answer["Error"]["Code"] == "ThrottlingException"]
    assert throttled and throttled[0]["Message"] == "Rate exceeded"
    statuses = {answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers}
    assert statuses == {400} and len(answers) - len(throttled) >= 10
    # Neither counts on the other, nor on anybody else's; the operator manages without one.
    assert lines(other).status == 200 and lines(one).status == 200
    for _ in range(30):
        own(server, "GetAudit", {"Limit": 1})
    page = send(server.admin, "GET", "/metrics").text
    for limit in ("own", "logs_changes"):
        assert int(float(re.search(rf'^freehold_refusals_total{{limit="{limit}"}} ([\d.]+)$', page, re.M)[1])) > 0


def test_the_oldest_goes_when_the_trail_is_as_large_as_it_may_be(start_server):
    server = start_server('[audit]\nsize = "256KiB"\nfile_size = "64KiB"\nkeep = "1h"\n')
    client = Functions(server).client
    name = Functions(server).create()
    first = audit(server)[0]

    def size():
        return trail_bytes(server)

    def change():
        for n in range(200):
            client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=n % 100)

    for _ in range(3):
        threads = [threading.Thread(target=change) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        # When a file is finished, not once a minute: one more may be begun meanwhile.
        end = time.monotonic() + 10
        while size() > 336 << 10:
            assert time.monotonic() < end, size()
            time.sleep(0.5)
    rows = audit(server)
    assert first not in rows and len(rows) > 100
    assert "went before their time" in server.output()
    # The trail itself says so.
    trimmed = of(rows, Action="freehold:TrimAudit")
    assert trimmed and all("bytes before their time" in row["Resource"] for row in trimmed)
    assert {(row["Kind"], row["Who"], row["TenantId"]) for row in trimmed} == {
        ("platform", "audit", None)}


def test_a_configuration_that_keeps_nothing_is_refused(start_server):
    with pytest.raises(servers.NotReady) as refused:
        start_server('[audit]\nsize = "1MiB"\n')
    assert "audit.size" in str(refused.value)
