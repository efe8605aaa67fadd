"""Budgets, as the operator sets them and as whom they bind meets them.

What a budget has used is compared with the ledger's own files; nothing begins once it is used up, and
what has begun runs on.
"""

import concurrent.futures
import json
import time
import urllib.request

import pytest
from bill_test import ledger, of, set_prices
from botocore.exceptions import ClientError
from support.functions import Functions, allow_public, python
from support.http import send, url_host_and_id
from tenants_test import new_account, operate, until

WORK = python("""
import time

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return "y" * event.get("answer", 0)
""")


@pytest.fixture(autouse=True)
def not_at_the_turn_of_an_hour():
    """What a test uses, it uses within one period."""
    while time.time() % 3600 > 3600 - 90:
        time.sleep(1)


@pytest.fixture
def one(server):
    account = new_account(server)
    account.functions.create(WORK, "work", Timeout=30)
    return account


def call(account, name="work", **event):
    """None, or the answer to a call that was refused."""
    try:
        answer = account.functions.client.invoke(FunctionName=name, Payload=json.dumps(event))
        answer["Payload"].read()
    except ClientError as error:
        return error.response
    return None


def budget(server, account, *arguments):
    return operate(server, "budgets", "set", "--tenant", account.account, *arguments)


def budgets(who, *arguments):
    return {row["name"]: row for row in json.loads(who.cli("budgets", "list", *arguments,
                                                           "--json").stdout)}


def metric(server, name):
    with urllib.request.urlopen(f"{server.admin}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_at_80_percent_it_is_told_and_at_100_nothing_begins(server, one):
    two = new_account(server)
    two.functions.create(WORK, "work")
    row = budget(server, one, "--invocations", "5", "--per", "hour")
    assert (row["used"], row["limit"], row["state"]) == ("0", "5", "open")
    lam = one.client("lambda")
    lam.create_function_url_config(FunctionName="work", AuthType="NONE")
    allow_public(lam, "work")
    url = lam.get_function_url_config(FunctionName="work")["FunctionUrl"]
    before = [metric(server, f'freehold_budgets_reached_total{{percent="{percent}"}}')
              for percent in (80, 100)]
    assert [call(one) for _ in range(5)] == [None] * 5
    before_it = time.time()
    told = call(one)
    after_it = time.time()
    assert told["Error"]["Code"] == "TooManyRequestsException"
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert told["Reason"] == "BudgetExceeded" and "freehold budgets list" in told["Error"]["Message"]
    wait = int(told["ResponseMetadata"]["HTTPHeaders"]["retry-after"])
    full = (before_it // 3600 + 1) * 3600
    assert before_it - 1 <= full - wait <= after_it + 1, "until the full hour"
    _, name = url_host_and_id(url)
    by_url = send(server.url, "GET", f"/_freehold/url/{name}/")
    assert by_url.status == 429 and json.loads(by_url.text)["Reason"] == "BudgetExceeded"
    done = one.cli("invoke", "work", check=False)
    assert "shows when its period is over; the node's operator raises it" in " ".join(done.stderr.split()), done.stderr
    # An event is kept until it may run.
    lam.invoke(FunctionName="work", InvocationType="Event", Payload="{}")
    assert call(two) is None
    assert len(of(one, ledger(server))) == 5
    own = budgets(one)["invocations-hour"]
    assert (own["used"], own["state"], own["tenant"]) == ("5", "throttled", one.account)
    assert "invocations-hour" in one.cli("budgets", "list").stdout
    assert budgets(two) == {} and budgets(server)["invocations-hour"] == own
    after = [metric(server, f'freehold_budgets_reached_total{{percent="{percent}"}}')
             for percent in (80, 100)]
    assert after == [before[0] + 1, before[1] + 1]
    assert metric(server, "freehold_budgets_closed") >= 1

    def lines():
        shown = one.cli("audit", "--action", "freehold:BudgetReached", "--json").stdout
        return sorted(json.loads(row)["Resource"] for row in shown.splitlines())
    until(lambda: lines() == ["invocations-hour 100%", "invocations-hour 80%"])
    assert "a budget is used up" in server.output()
    # Raised, it lets go on what is kept, too.
    budget(server, one, "--invocations", "7", "--per", "hour")
    assert call(one) is None
    until(lambda: len(of(one, ledger(server))) == 7, 300)
    assert call(one)["Reason"] == "BudgetExceeded"
    server.cli("budgets", "rm", "--tenant", one.account, "invocations-hour")
    assert call(one) is None and budgets(one) == {}


def test_what_has_begun_runs_on_and_no_more_than_that(server, one):
    budget(server, one, "--function", "work", "--invocations", "4", "--per", "day")
    one.functions.create(WORK, "other")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        told = list(pool.map(lambda _: call(one, seconds=1), range(24)))
    ran = [entry for entry in of(one, ledger(server)) if entry["function"]["name"] == "work"]
    assert len(ran) == told.count(None)
    instances = len({entry["instance"] for entry in ran})
    assert 4 <= len(ran) <= 4 + instances, (len(ran), instances)
    assert call(one)["Reason"] == "BudgetExceeded" and call(one, "other") is None


def test_a_stop_outlasts_a_kill_until_it_is_raised(start_server):
    server = start_server()
    one = new_account(server)
    one.functions.create(WORK, "work", MemorySize=1024)
    budget(server, one, "--egress", "2000B", "--per", "day", "--then", "stop")
    budget(server, one, "--gb-seconds", "100000", "--per", "month")
    assert call(one, answer=1000) is None and call(one, answer=996) is None
    told = call(one)
    # Not yet written down that it has stopped, as far as anybody knows.
    server.kill()
    assert told["Error"]["Code"] == "AccessDeniedException"
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "stopped" in told["Error"]["Message"] and "freehold budgets" in told["Error"]["Message"]
    server.start()
    # It listens elsewhere now.
    one.functions = Functions(one)
    assert call(one)["Error"]["Code"] == "AccessDeniedException"
    own = budgets(one)
    assert own["egress-day"]["state"] == "stopped"
    entries = of(one, ledger(server))
    assert int(own["egress-day"]["used"]) == sum(e["usage"]["bytes_out"] for e in entries) == 2000
    exact = sum(e["usage"]["billed_ms"] * e["memory_mib"] for e in entries) / 1024000
    assert float(own["gb-seconds-month"]["used"]) == pytest.approx(exact, abs=1e-12)
    raised = budget(server, one, "--egress", "3000B", "--per", "day", "--then", "stop")
    assert raised["state"] == "open" and call(one) is None
    # A function that is made again has used what its name has.
    one.functions.client.delete_function(FunctionName="work")
    one.functions.create(WORK, "work")
    budget(server, one, "--function", "work", "--invocations", "3", "--per", "month")
    assert call(one)["Reason"] == "BudgetExceeded"


def test_a_cost_is_the_bills(start_server):
    server = start_server()
    one = new_account(server)
    one.functions.create(WORK, "work")
    refused = server.cli("budgets", "set", "--tenant", one.account, "--cost", "1", "--per", "day",
                         check=False)
    assert refused.returncode == 4 and "currency" in refused.stderr
    set_prices(server, currency="EUR", invocation="0.25", gb_out="1")
    time.sleep(0.01)
    row = budget(server, one, "--cost", "1.5", "--per", "day")
    assert (row["currency"], row["limit"]) == ("EUR", "1.5")
    assert [call(one, answer=100) for _ in range(2)] == [None] * 2
    set_prices(server, invocation="0.5")
    time.sleep(0.01)
    assert budgets(one)["cost-day"]["used"].startswith("0.5000")
    assert [call(one) for _ in range(2)] == [None] * 2
    assert call(one)["Reason"] == "BudgetExceeded"
    [bill] = json.loads(one.cli("bill", "--json").stdout)
    assert [total["amount"] for total in bill["totals"]] == [budgets(one)["cost-day"]["used"]]
    assert "1.500000" in one.cli("budgets", "list").stdout


@pytest.mark.parametrize("arguments, code, text", [
    (("set", "--invocations", "5"), 2, "--per"),
    (("set", "--per", "hour"), 2, "--cost"),
    (("set", "--per", "hour", "--invocations", "5", "--egress", "1GiB"), 2, "cannot be used"),
    (("set", "--per", "week", "--invocations", "5"), 2, "week"),
    (("set", "--per", "hour", "--invocations", "-5"), 2, "-5"),
    (("set", "--per", "hour", "--invocations", "0"), 4, "more than nothing"),
    (("set", "--per", "hour", "--gb-seconds", "1e3"), 4, "no number of GB-seconds"),
    (("set", "--per", "hour", "--cost", "-1", "--currency", "EUR"), 4, "not negative"),
    (("set", "--per", "hour", "--cost", "1", "--currency", "eur"), 4, "capital letters"),
    (("set", "--per", "hour", "--invocations", "5", "--then", "explode"), 2, "explode"),
    (("set", "--per", "hour", "--invocations", "5", "--tenant", "999999999999"), 3, "not found"),
    (("set", "--per", "hour", "--invocations", "5", "--tenant", "12"), 4, "12 digits"),
    (("set", "--per", "hour", "--invocations", "5", "--function", "no way"), 4, "function's name"),
    (("rm", "invocations-hour"), 3, "not found"),
])
def test_what_cannot_be_is_refused_by_name(server, arguments, code, text):
    done = server.cli("budgets", *arguments, check=False)
    assert done.returncode == code, done
    assert text in " ".join(done.stderr.split()), done.stderr


def test_only_the_operator_sets_them(server, one):
    for arguments in (("set", "--invocations", "5", "--per", "day"),
                      ("rm", "invocations-day"),
                      ("set", "--tenant", server.account, "--invocations", "5", "--per", "day"),
                      ("list", "--tenant", server.account)):
        done = one.cli("budgets", *arguments, check=False)
        assert done.returncode == 4 and "AccessDeniedException" in done.stderr, done
