"""Several accounts on one node, as their operator and they themselves see them.

The operator's commands are those of the binary; the accounts are boto3's. What one account may not
see of another is looked for in answers, in log files and in metrics.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import random
import re
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from support.functions import ECHO, Functions, allow_public, python
from support.http import send, signed

SLEEPER = python("""
import time

def handler(event, context):
    print("began", event["mark"], flush=True)
    time.sleep(event["seconds"])
    return event["mark"]
""")
SPEAKER = python("""
import os

def handler(event, context):
    print("line of", os.environ["OWNER"], event)
    return {"owner": os.environ["OWNER"], "account": context.invoked_function_arn.split(":")[4],
            "event": event}
""")
REFUSED_KEY = "UnrecognizedClientException"


class Account:
    """One account with a key of its own; quacks like a `Server` for `Functions`."""

    def __init__(self, server, made):
        self.server = server
        self.account = made["tenant"]
        self.use(made)
        self.functions = Functions(self)

    def use(self, key):
        """Signs with this key from here on."""
        self.key = key["access_key_id"]
        self.secret = key["secret_access_key"]

    def client(self, service, **config):
        settings = {"retries": {"total_max_attempts": 1}, "read_timeout": 120,
                    "max_pool_connections": 64, **config}
        return boto3.client(
            service, endpoint_url=self.server.url, region_name=self.server.keys()["AWS_REGION"],
            aws_access_key_id=self.key, aws_secret_access_key=self.secret,
            config=Config(**settings))

    def cli(self, *arguments, check=True):
        env = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        return self.server.cli(*arguments, check=check, env=env)


def operate(server, *arguments):
    """A command of the operator with what it printed."""
    return json.loads(server.cli(*arguments, "--json").stdout)


def new_account(server, *arguments):
    return Account(server, operate(server, "tenants", "create", *arguments)["key"])


def row_of(server, account):
    rows = operate(server, "tenants", "list")
    return next(row for row in rows if row["tenant"] == account)


def code_of(call, *arguments, **fields):
    """The error's code, or None."""
    try:
        call(*arguments, **fields)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def until(what, seconds=30):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return found


@pytest.fixture
def one(server):
    return new_account(server, "--name", "One & co.")


@pytest.fixture
def two(server):
    return new_account(server, "--name", "Zwei")


def test_a_tenant_is_made_and_its_secret_shown_once(server):
    shown = server.cli("tenants", "create", "--name", "Orders team", "--id", "345678901234")
    values = dict(line.rsplit(None, 1) for line in shown.stdout.splitlines() if "key" in line)
    secret = values["secret access key"]
    assert len(secret) == 40 and "not shown again" in shown.stderr
    for arguments in (("tenants", "list"), ("keys", "list"), ("keys", "list", "345678901234")):
        for form in ((), ("--json",)):
            told = server.cli(*arguments, *form)
            assert secret not in told.stdout + told.stderr
    row = row_of(server, "345678901234")
    assert (row["name"], row["enabled"], row["operator"]) == ("Orders team", True, False)
    assert secret not in server.output()
    stored = b"".join(path.read_bytes() for path in server.data.glob("store/*") if path.is_file())
    assert values["access key id"].encode() in stored and secret.encode() not in stored
    keys = operate(server, "keys", "list", "345678901234")
    account = Account(server, {"tenant": "345678901234", "secret_access_key": secret,
                               "access_key_id": keys[0]["access_key_id"]})
    assert account.client("sts").get_caller_identity()["Account"] == "345678901234"


@pytest.mark.parametrize("arguments, code, text", [
    (("tenants", "create", "--id", "345678901234"), 4, "already exists"),
    (("tenants", "create", "--id", "000000000000"), 4, "12 digits"),
    (("tenants", "create", "--id", "１１１１１１１１１１１１"), 4, "12 digits"),
    (("tenants", "create", "--name", "a\x1b[2Jb"), 4, "can be seen"),
    (("tenants", "create", "--name", "a\u202eb"), 4, "can be seen"),
    (("tenants", "create", "--name", "x" * 65), 4, "1 to 64"),
    (("tenants", "create", "--name", ""), 4, "1 to 64"),
    (("tenants", "disable", "999999999999"), 3, "not found"),
    (("tenants", "limits", "999999999999", "--concurrency", "1"), 3, "not found"),
    (("tenants", "limits", "345678901234", "--concurrency", "1000001"), 4, "concurrency"),
    (("tenants", "limits", "345678901234", "--code-storage", "9999999GiB"), 4, "code_storage_bytes"),
    (("tenants", "limits", "345678901234", "--functions", "many"), 2, "whole number"),
    (("tenants", "limits", "999999999999"), 3, "not found"),
    (("tenants", "limits", "345678901234", "--memory", "100.5MiB"), 2, "default"),
    (("tenants", "limits", "345678901234", "--sync-payload", "7MiB"), 4, "sync_payload_bytes"),
    (("tenants", "limits", "345678901234", "--requests", "0"), 4, "requests_per_s"),
    (("keys", "disable", "AKIANOBODYNOBODY2222"), 3, "not found"),
    (("keys", "rotate", "AKIANOBODYNOBODY2222", "--overlap", "9999d"), 4, "overlapSeconds"),
    (("keys", "create", "999999999999"), 3, "not found"),
])
def test_what_cannot_be_is_refused_by_name(server, arguments, code, text):
    if row_of_or_none(server, "345678901234") is None:
        server.cli("tenants", "create", "--id", "345678901234")
    done = server.cli(*arguments, check=False)
    assert done.returncode == code, done
    assert text in " ".join(done.stderr.split()), done.stderr
    assert "\x1b[2J" not in done.stderr


def row_of_or_none(server, account):
    rows = operate(server, "tenants", "list")
    return next((row for row in rows if row["tenant"] == account), None)


def test_only_the_operator_manages(server, one, two):
    before = row_of(server, two.account)
    for arguments in (
            ("tenants", "create"), ("tenants", "list"), ("tenants", "disable", two.account),
            ("tenants", "enable", two.account), ("tenants", "disable", one.account),
            ("tenants", "limits", one.account, "--concurrency", "9"),
            ("tenants", "limits", one.account),
            ("keys", "create", one.account), ("keys", "list"), ("keys", "list", one.account),
            ("keys", "rotate", one.key), ("keys", "disable", two.key), ("keys", "enable", two.key)):
        done = one.cli(*arguments, check=False)
        assert done.returncode == 4 and "AccessDeniedException" in done.stderr, done
        assert two.account not in done.stdout + done.stderr
    assert row_of(server, two.account) == before


def test_the_operator_stays(server):
    operator = server.account
    done = server.cli("tenants", "disable", operator, check=False)
    assert done.returncode == 4 and "cannot be disabled" in done.stderr
    keys = operate(server, "keys", "list", operator)
    done = server.cli("keys", "disable", keys[0]["access_key_id"], check=False)
    assert done.returncode == 4 and "cannot be disabled" in done.stderr


def test_the_same_name_in_two_accounts_is_two_functions(server, one, two):
    for account, word in ((one, "uno"), (two, "due")):
        account.functions.create(SPEAKER, "same", Tags={"whose": word},
                                 Environment={"Variables": {"OWNER": word}})
        account.url = account.functions.public_url("same")
    for account, word, other in ((one, "uno", "due"), (two, "due", "uno")):
        answered = account.functions.call("same", {"n": word})
        assert answered == {"owner": word, "account": account.account, "event": {"n": word}}
        lam = account.client("lambda")
        listed = lam.list_functions()["Functions"]
        assert [f["FunctionArn"].split(":")[4] for f in listed] == [account.account]
        arn = listed[0]["FunctionArn"]
        assert lam.get_function(FunctionName="same")["Tags"] == {"whose": word}
        assert lam.list_tags(Resource=arn)["Tags"] == {"whose": word}
        host = account.url.split("/")[2]
        answer = send(server.url, "GET", "/", {"Host": host})
        assert json.loads(answer.text)["owner"] == word
        logs = account.client("logs")
        groups = logs.describe_log_groups()["logGroups"]
        assert [g["logGroupName"] for g in groups] == ["/aws/lambda/same"]
        until(lambda: any(f"line of {word}" in e["message"] for e in logs.filter_log_events(
            logGroupName="/aws/lambda/same")["events"]))
        lines = logs.filter_log_events(logGroupName="/aws/lambda/same")["events"]
        assert not any(other in e["message"] for e in lines)
        usage = json.loads(account.cli("usage", "--json").stdout)
        # One row per function and day.
        assert {row["function"] for row in usage} == {"same"}
        assert sum(row["invocations"] for row in usage) == 2
        rows = json.loads(account.cli("ps", "--json").stdout)["Instances"]
        assert {row["FunctionName"] for row in rows} == {"same"}
    one.client("lambda").delete_function(FunctionName="same")
    assert two.functions.call("same", {})["owner"] == "due"


def test_what_is_anothers_is_out_of_reach_whether_it_is_there_or_not(one, two):
    two.functions.create(ECHO, "theirs")
    two.functions.public_url("theirs")
    lam = one.client("lambda")
    region = lam.meta.region_name
    for name in ("theirs", "nothing"):
        arn = f"arn:aws:lambda:{region}:{two.account}:function:{name}"
        asked = {
            "get": lambda: lam.get_function(FunctionName=arn),
            "configuration": lambda: lam.get_function_configuration(FunctionName=arn),
            "invoke": lambda: lam.invoke(FunctionName=arn),
            "event": lambda: lam.invoke(FunctionName=arn, InvocationType="Event"),
            "dry": lambda: lam.invoke(FunctionName=arn, InvocationType="DryRun"),
            "update": lambda: lam.update_function_code(FunctionName=arn, ZipFile=ECHO),
            "delete": lambda: lam.delete_function(FunctionName=arn),
            "versions": lambda: lam.list_versions_by_function(FunctionName=arn),
            "publish": lambda: lam.publish_version(FunctionName=arn),
            "url": lambda: lam.get_function_url_config(FunctionName=arn),
            "policy": lambda: lam.get_policy(FunctionName=arn),
            "permission": lambda: lam.add_permission(
                FunctionName=arn, StatementId="s", Action="lambda:InvokeFunction", Principal="*"),
            "concurrency": lambda: lam.put_function_concurrency(
                FunctionName=arn, ReservedConcurrentExecutions=1),
            "tags": lambda: lam.list_tags(Resource=arn),
            "tag": lambda: lam.tag_resource(Resource=arn, Tags={"a": "b"}),
        }
        for what, call in asked.items():
            assert code_of(call) == "AccessDeniedException", (name, what)
    logs = one.client("logs")
    for call in (lambda: logs.filter_log_events(logGroupName="/aws/lambda/theirs"),
                 lambda: logs.describe_log_streams(logGroupName="/aws/lambda/theirs"),
                 lambda: logs.delete_log_group(logGroupName="/aws/lambda/theirs")):
        assert code_of(call) == "ResourceNotFoundException"
    # A statement of the function's policy lets the other account in, and no further.
    two.client("lambda").add_permission(
        FunctionName="theirs", StatementId="one", Action="lambda:InvokeFunction",
        Principal=one.account)
    arn = f"arn:aws:lambda:{region}:{two.account}:function:theirs"
    assert json.loads(lam.invoke(FunctionName=arn, Payload=b'"x"')["Payload"].read()) == "x"
    assert code_of(lam.get_function, FunctionName=arn) == "AccessDeniedException"


@contextlib.contextmanager
def load(account, name, threads=4):
    """Calls a function without a pause; gives each caller's key, a counter and the errors."""
    stop, errors, count, signing = threading.Event(), [], [0], [None] * threads

    def call(at):
        while not stop.is_set():
            if signing[at] != account.key:
                key = account.key
                client = account.client("lambda")
                signing[at] = key
            try:
                client.invoke(FunctionName=name, Payload=b"1")
                count[0] += 1
            except Exception as error:  # noqa: BLE001: whatever it is, the test shows it
                errors.append(error)

    workers = [threading.Thread(target=call, args=(at,)) for at in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield signing, count, errors
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def more(count, calls=50):
    goal = count[0] + calls
    until(lambda: count[0] >= goal)


def test_a_rotation_under_load_refuses_no_call(server, one):
    one.functions.create(ECHO, "busy")
    with load(one, "busy") as (signing, count, errors):
        more(count)
        for overlap in ((), ("--overlap", "1h")):
            old = one.key
            made = operate(server, "keys", "rotate", old, *overlap)
            more(count)
            one.use(made)
            until(lambda: set(signing) == {one.key})
            more(count)
            operate(server, "keys", "disable", old)
            more(count)
    assert errors == []
    states = {key["access_key_id"]: key["state"]
              for key in operate(server, "keys", "list", one.account)}
    assert states == {one.key: "active", old: "disabled"}


def test_an_overlap_ends_on_its_own(server, one):
    old = one.client("sts")
    made = operate(server, "keys", "rotate", one.key, "--overlap", "10s")
    assert old.get_caller_identity()["Account"] == one.account
    one.use(made)
    until(lambda: code_of(old.get_caller_identity) == "InvalidClientTokenId", 60)
    assert one.client("sts").get_caller_identity()["Account"] == one.account
    states = [key["state"] for key in operate(server, "keys", "list", one.account)]
    assert sorted(states) == ["active", "ended"]


def test_a_disabled_key_signs_nothing_from_then_on(server, one):
    one.functions.create(SLEEPER, "slow", Timeout=30)
    url = one.client("lambda").create_function_url_config(FunctionName="slow", AuthType="AWS_IAM")
    lam, logs, sts = (one.client(service) for service in ("lambda", "logs", "sts"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(one.functions.call, "slow", {"seconds": 4, "mark": "goes on"})
        until(lambda: "busy" in one.cli("ps", "--json").stdout)
        server.cli("keys", "disable", one.key)
        # The command has returned: not one call more, on connections that stand open either.
        for call in (lam.list_functions, lam.get_account_settings,
                     lambda: lam.invoke(FunctionName="slow"),
                     lambda: lam.invoke(FunctionName="slow", InvocationType="Event"),
                     logs.describe_log_groups):
            assert code_of(call) == REFUSED_KEY
        assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
        done = one.cli("ls", check=False)
        assert done.returncode == 4 and REFUSED_KEY in done.stderr
        assert signed_url_call(one, url["FunctionUrl"]) == 403
        assert running.result() == "goes on", "what runs is not the key's any more"
    server.cli("keys", "enable", one.key)
    assert lam.list_functions()["Functions"][0]["FunctionName"] == "slow"


def signed_url_call(account, url):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    host = url.split("/")[2]
    request = AWSRequest("POST", f"http://{host}/", data=b"{}", headers={"Host": host})
    region = account.server.keys()["AWS_REGION"]
    SigV4Auth(Credentials(account.key, account.secret), "lambda", region).add_auth(request)
    return send(account.server.url, "POST", "/", dict(request.headers.items()), b"{}").status


def trail(account):
    """The lines of the audit trail that the account may read."""
    return [json.loads(line) for line in account.cli("audit", "--json").stdout.splitlines()]


def test_a_refused_call_of_a_url_is_a_line_of_its_owners_alone(server, one, two):
    one.functions.create(ECHO, "very-secret-name")
    url = one.client("lambda").create_function_url_config(
        FunctionName="very-secret-name", AuthType="AWS_IAM")["FunctionUrl"]
    assert signed_url_call(two, url) == 403
    stranger, host = "AKIASTRANGER00000000", url.split("/")[2]
    for key in (two.key, stranger):
        path, headers = signed(server, "GET", "/", key=key, secret="x" * 40, host=host)
        assert send(server.url, "GET", path, headers).status == 403
    path, headers = signed(server, "GET", "/2015-03-31/functions/forged-name", key=two.key,
                           secret="x" * 40)
    assert send(server.url, "GET", path, headers).status == 403
    refused = [row for row in trail(one) if row["Action"] == "lambda:InvokeFunctionUrl"]
    assert [row["Who"] for row in refused] == [two.key, two.key, stranger]
    for row in refused:
        assert row["Resource"].endswith(":function:very-secret-name")
        assert (row["Kind"], row["Proven"], row["TenantId"]) == (
            "unproven-key", False, one.account)
    # By a host alone nobody learns whose function answers, nor under which name, and who knows
    # an id of a key writes nothing into its trail.
    theirs = json.dumps(trail(two))
    for text in ("very-secret-name", one.account, "InvokeFunctionUrl", "forged-name", "denied"):
        assert text not in theirs, text


def test_what_the_operator_does_to_a_tenant_is_on_its_trail(server, one, two):
    operate(server, "tenants", "limits", one.account, "--concurrency", "5")
    second = operate(server, "keys", "create", one.account)["access_key_id"]
    server.cli("keys", "disable", second)
    third = operate(server, "keys", "rotate", one.key)["access_key_id"]
    done = [("freehold:CreateTenant", f"{one.account}/{one.key}"),
            ("freehold:SetTenantLimits", one.account),
            ("freehold:CreateKey", f"{one.account}/{second}"),
            ("freehold:DisableKey", second),
            ("freehold:RotateKey", f"{one.key} -> {third}")]
    rows = trail(one)
    assert [(row["Action"], row["Resource"]) for row in rows] == done
    for row in rows:
        assert (row["Kind"], row["Who"], row["Source"]) == ("platform", "operator", "operator")
        assert (row["Result"], row["TenantId"], row["RequestId"]) == ("ok", one.account, None)
    # Neither the operator's key nor its account.
    operator = server.keys()["AWS_ACCESS_KEY_ID"]
    assert operator not in json.dumps(rows) and server.account not in json.dumps(rows)
    assert [row["Action"] for row in trail(two)] == ["freehold:CreateTenant"]
    own = [json.loads(line) for line in server.cli(
        "audit", "--json", "--tenant", server.account).stdout.splitlines()]
    own = [row for row in own if (row["Action"], row["Resource"]) in done]
    assert [(row["Action"], row["Resource"]) for row in own] == done
    assert {(row["Kind"], row["Who"]) for row in own} == {("key", operator)}


def test_a_disabled_tenant_stops_and_comes_back(server, one, two):
    one.functions.create(SLEEPER, "slow", Timeout=60)
    one.functions.create(ECHO, "quick")
    two.functions.create(ECHO, "quick")
    host = one.functions.public_url("quick").split("/")[2]
    one.client("lambda").add_permission(
        FunctionName="quick", StatementId="two", Action="lambda:InvokeFunction",
        Principal=two.account)
    quick = f"arn:aws:lambda:{server.keys()['AWS_REGION']}:{one.account}:function:quick"
    assert send(server.url, "GET", "/", {"Host": host}).status == 200
    link = one.client("lambda").get_function(FunctionName="quick")["Code"]["Location"]
    lam, theirs = one.client("lambda"), two.client("lambda")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(code_of, lam.invoke, FunctionName="slow",
                              Payload=json.dumps({"seconds": 50, "mark": "m"}))
        until(lambda: "busy" in one.cli("ps", "--json").stdout)
        # One event runs, the others wait behind it.
        lam.put_function_concurrency(FunctionName="quick", ReservedConcurrentExecutions=0)
        for _ in range(3):
            lam.invoke(FunctionName="quick", InvocationType="Event", Payload=b'"queued"')
        row = operate(server, "tenants", "disable", one.account)
        assert row["enabled"] is False
        assert send(server.url, "GET", "/", {"Host": host}).status == 403
        assert code_of(lam.invoke, FunctionName="quick") == REFUSED_KEY
        assert code_of(theirs.invoke, FunctionName=quick) == "AccessDeniedException"
        assert code_of(theirs.invoke, FunctionName=quick, InvocationType="Event") \
            == "AccessDeniedException"
        assert send(server.url, "GET", link.removeprefix(server.url)).status == 403
        assert running.result() == "AccessDeniedException", "it was ended, not waited for"
    for client in (one.client("logs").describe_log_groups, lam.list_functions):
        assert code_of(client) == REFUSED_KEY
    assert theirs.invoke(FunctionName="quick", Payload=b"1")["StatusCode"] == 200

    server.restart()
    assert row_of(server, one.account)["enabled"] is False
    assert send(server.url, "GET", "/", {"Host": host}).status == 403
    row = operate(server, "tenants", "enable", one.account)
    assert row["enabled"] is True
    lam = one.client("lambda")
    lam.delete_function_concurrency(FunctionName="quick")
    assert send(server.url, "GET", "/", {"Host": host}).status == 200
    assert one.functions.server.client("lambda").invoke(
        FunctionName="quick", Payload=b'"back"')["StatusCode"] == 200

    def ran():
        usage = json.loads(one.cli("usage", "--json").stdout)
        return sum(row["invocations"] for row in usage if row["function"] == "quick") >= 6
    until(ran, 120)


def test_an_instance_of_a_disabled_tenant_is_gone_with_its_credentials(server, one):
    package = python("""
import os

def handler(event, context):
    return {name: os.environ[name] for name in
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
""")
    one.functions.create(package, "teller")
    session = one.functions.call("teller")
    sts = boto3.client(
        "sts", endpoint_url=server.url, region_name=server.keys()["AWS_REGION"],
        aws_access_key_id=session["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=session["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=session["AWS_SESSION_TOKEN"],
        config=Config(retries={"total_max_attempts": 1}))
    assert sts.get_caller_identity()["Account"] == one.account
    server.cli("tenants", "disable", one.account)
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    server.cli("tenants", "enable", one.account)
    # Another instance has other credentials; these died with theirs.
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    assert one.functions.call("teller")["AWS_ACCESS_KEY_ID"] != session["AWS_ACCESS_KEY_ID"]


def set_ones(limits):
    return {name: value for name, value in limits.items() if value is not None}


def test_a_tenants_limits_are_its_own(server, one, two):
    row = operate(server, "tenants", "limits", one.account, "--concurrency", "2",
                  "--code-storage", "1MiB", "--functions", "2")
    own = {"concurrency": 2, "code_storage_bytes": 1 << 20, "functions": 2}
    assert set_ones(row["own_limits"]) == own and row["limits"] | own == row["limits"]
    shown = server.cli("tenants", "limits", one.account).stdout
    assert re.search(r"^functions +2\*", shown, re.M) and re.search(r"^memory +10GiB ", shown, re.M)
    assert row_of(server, one.account) == row
    settings = one.client("lambda").get_account_settings()["AccountLimit"]
    assert (settings["ConcurrentExecutions"], settings["TotalCodeSize"]) == (2, 1 << 20)
    settings = two.client("lambda").get_account_settings()["AccountLimit"]
    assert settings["ConcurrentExecutions"] == 1000

    one.functions.create(SLEEPER, "slow", Timeout=30)
    incompressible = random.Random(7).randbytes(1 << 20).hex()
    with pytest.raises(ClientError) as large:
        one.functions.create_response(python(f"x = '{incompressible}'"), "large")
    assert large.value.response["Error"]["Code"] == "CodeStorageExceededException"
    one.functions.create(ECHO, "second")
    with pytest.raises(ClientError) as third:
        one.functions.create_response(ECHO, "third")
    assert third.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert "2 functions" in third.value.response["Error"]["Message"]

    def calls():
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            lam = one.client("lambda")
            event = json.dumps({"seconds": 8, "mark": "m"})
            done = [pool.submit(code_of, lam.invoke, FunctionName="slow", Payload=event)
                    for _ in range(6)]
            return sorted(str(call.result()) for call in done)
    assert calls() == ["None"] * 2 + ["TooManyRequestsException"] * 4
    operate(server, "tenants", "limits", one.account, "--concurrency", "default",
            "--functions", "default")
    assert calls() == ["None"] * 6
    one.functions.create_response(ECHO, "third")
    server.restart()
    row = row_of(server, one.account)
    assert set_ones(row["own_limits"]) == {"code_storage_bytes": 1 << 20}
    settings = one.client("lambda").get_account_settings()["AccountLimit"]
    assert (settings["ConcurrentExecutions"], settings["TotalCodeSize"]) == (1000, 1 << 20)


def test_the_operators_key_file_follows_a_rotation(server):
    old = server.keys()["AWS_ACCESS_KEY_ID"]
    made = operate(server, "keys", "rotate", old)
    assert server.cli("keys", "disable", old).returncode == 0

    def followed():
        server._keys = None
        return server.keys()["AWS_ACCESS_KEY_ID"] == made["access_key_id"]
    until(followed)
    assert server.client("sts").get_caller_identity()["Account"] == server.account
    mode = (server.data / "root-key").stat().st_mode
    assert mode & 0o777 == 0o600
    server.restart()
    assert server.keys()["AWS_ACCESS_KEY_ID"] == made["access_key_id"]
    assert operate(server, "tenants", "list")


# Two accounts against each other


class Party:
    """An account whose every name, payload and line carries a mark that nothing else has."""

    def __init__(self, account, mark, rng):
        self.account, self.mark, self.rng = account, mark, rng
        self.lam, self.logs = account.client("lambda"), account.client("logs")
        self.names, self.urls, self.answers = [], {}, []
        self.other = self.guarded = None

    def say(self):
        return f"{self.mark}-{self.rng.randrange(1 << 30)}"

    def ask(self, call, *arguments, **fields):
        """A call whose whole answer, error or not, is kept."""
        try:
            answer = call(*arguments, **fields)
            if "Payload" in answer:
                answer["Payload"] = answer["Payload"].read().decode()
        except ClientError as error:
            answer = error.response
        self.answers.append(json.dumps(answer, default=str))
        return answer

    def a_name(self):
        return self.rng.choice(self.names) if self.names else f"{self.mark}-none"

    def create(self):
        if len(self.names) < 4:
            name = f"{self.mark}-{len(self.names)}"
            self.account.functions.create(
                SPEAKER, name, Description=self.say(), Tags={self.mark: self.say()},
                Environment={"Variables": {"OWNER": self.say()}})
            self.names.append(name)
            if self.guarded is None:
                made = self.lam.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
                self.guarded = made["FunctionUrl"].split("/")[2]

    def invoke(self):
        kind = self.rng.choice(["RequestResponse", "Event", "DryRun"])
        self.ask(self.lam.invoke, FunctionName=self.a_name(), InvocationType=kind,
                 LogType="Tail", Payload=json.dumps({"say": self.say()}))

    def describe(self):
        name = self.a_name()
        for call in (self.lam.get_function, self.lam.get_function_concurrency,
                     self.lam.list_versions_by_function, self.lam.get_policy):
            self.ask(call, FunctionName=name)

    def listing(self):
        self.ask(self.lam.list_functions)
        self.ask(self.lam.get_account_settings)
        self.ask(self.account.client("sts").get_caller_identity)

    def read_logs(self):
        self.ask(self.logs.describe_log_groups)
        group = f"/aws/lambda/{self.a_name()}"
        self.ask(self.logs.filter_log_events, logGroupName=group)
        self.ask(self.logs.describe_log_streams, logGroupName=group)

    def publish(self):
        self.ask(self.lam.publish_version, FunctionName=self.a_name(), Description=self.say())

    def url(self):
        name = self.a_name()
        if name not in self.urls and name in self.names[1:]:
            made = self.lam.create_function_url_config(FunctionName=name, AuthType="NONE")
            allow_public(self.lam, name)
            self.urls[name] = made["FunctionUrl"].split("/")[2]
        if name in self.urls:
            answer = send(self.account.server.url, "POST", f"/{self.say()}",
                          {"Host": self.urls[name]}, self.say().encode())
            self.answers.append(answer.text)

    def own(self):
        for command in (("ps", "--json"), ("usage", "--json"), ("ls", "--json")):
            done = self.account.cli(*command, check=False)
            self.answers.append(done.stdout + done.stderr)

    def trail(self):
        """Its lines of the audit trail, without what is its to know: what it asked of the other's
        account itself (`pry`), and whose key its own URL refused."""
        rows = trail(self.account)
        for row in rows:
            asked = f":{self.other.account.account}:function:{self.mark}-guess"
            row["Resource"] = row["Resource"].replace(asked, "")
            if row["Action"] == "lambda:InvokeFunctionUrl" and row["Kind"] == "unproven-key":
                row["Who"] = ""
        self.answers.append(json.dumps(rows))

    def knock(self):
        """Calls a URL of the other's that it may not, under its own name, the other's, a
        stranger's and none."""
        if self.other.guarded is None:
            return
        base, host = self.account.server.url, self.other.guarded
        for key, secret in ((self.account.key, self.account.secret), (self.account.key, "x" * 40),
                            (self.other.account.key, "x" * 40), ("AKIASTRANGER00000000", "x")):
            path, headers = signed(self.account.server, "POST", "/", b"{}", key=key,
                                   secret=secret, host=host)
            answer = send(base, "POST", path, headers, b"{}")
            assert answer.status == 403
            self.answers.append(answer.text)
        assert send(base, "GET", "/", {"Host": host}).status == 403

    def pry(self):
        """Asks for the other's by its ARN. What is asked comes back in the refusal, so the names
        are guesses: they carry this account's mark."""
        region = self.lam.meta.region_name
        arn = f"arn:aws:lambda:{region}:{self.other.account.account}:function:"
        guess = f"{self.mark}-guess"
        for call, fields in (
                (self.lam.get_function, {"FunctionName": arn + guess}),
                (self.lam.invoke, {"FunctionName": arn + guess}),
                (self.lam.list_tags, {"Resource": arn + guess}),
                (self.logs.filter_log_events, {"logGroupName": f"/aws/lambda/{guess}"})):
            answer = self.ask(call, **fields)
            # Its own question is no answer.
            self.answers[-1] = self.answers[-1].replace(self.other.account.account, "")
            assert answer["ResponseMetadata"]["HTTPStatusCode"] >= 400

    def has_lines(self):
        try:
            events = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{self.names[0]}")
        except ClientError:
            return False
        return any(self.mark in event["message"] for event in events["events"])

    STEPS = (create, invoke, invoke, invoke, describe, listing, read_logs, publish, url, own, pry,
             knock, trail)


@pytest.mark.parametrize("seed", [20261122, 1, 2])
def test_no_byte_of_one_account_is_in_what_another_sees(server, one, two, seed):
    rng = random.Random(seed)
    parties = [Party(account, f"{word}{rng.randrange(1 << 40):x}", rng)
               for account, word in ((one, "plum"), (two, "pear"))]
    parties[0].other, parties[1].other = parties[1], parties[0]
    for party in parties:
        party.create()
    for _ in range(80):
        party = rng.choice(parties)
        rng.choice(Party.STEPS)(party)
    for party in parties:
        party.ask(party.lam.invoke, FunctionName=party.names[0], Payload=f'"{party.mark}"')
        until(lambda party=party: party.has_lines())
        for step in (Party.listing, Party.read_logs, Party.own, Party.pry, Party.knock):
            step(party)
    for party in parties:
        party.trail()
    marks = {party.mark: {party.mark, party.account.account, party.account.key,
                          party.account.secret, party.guarded, *party.urls.values()}
             for party in parties}
    for party in parties:
        assert any(party.mark in answer for answer in party.answers), "it sees its own"
        foreign = marks[party.other.mark]
        for answer in party.answers:
            found = [mark for mark in foreign if mark in answer]
            assert found == [], f"seed {seed}: {found} in {answer[:2000]}"
    metrics = send(server.admin, "GET", "/metrics").text
    assert not any(mark in metrics for all_of in marks.values() for mark in all_of)
    files = [path for path in pathlib.Path(server.data, "store", "logs").rglob("*")
             if path.is_file()]
    seen = set()
    for path in files:
        content = path.read_bytes()
        owners = {owner for owner, own in marks.items()
                  if any(mark.encode() in content for mark in own)}
        assert len(owners) <= 1, f"seed {seed}: {path} has lines of both"
        seen |= owners
    assert seen, "lines were written"
