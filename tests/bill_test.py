"""Prices and bills, as the operator and the accounts see them; every sum is added up here anew.

What is compared against is the ledger's own files, read frame by frame, and exact decimals.
"""

import collections
import csv
import decimal
import io
import json
import re
import subprocess
import time

import pytest
from support.functions import python
from support.server import binary
from tenants_test import new_account, operate

decimal.getcontext().prec = 200
D = decimal.Decimal
WORK = python("""
def handler(event, context):
    sum(i * i for i in range(event["loops"]))
    return "x" * event["bytes"]
""")
PRICES = {"tenant-month": "12.5", "invocation": "0.0000002", "gb-second": "0.0000166667",
          "cpu-second": "0.000011", "gb-out": "0.09"}
REFUSED, NOT_FOUND, USAGE = 4, 3, 2
MAGIC = b"FHSEG1\0\n"


def this_month():
    return time.strftime("%Y-%m", time.gmtime())


@pytest.fixture(autouse=True)
def not_at_the_turn_of_a_month():
    """The tests ask for the month that they began in."""
    while this_month() != time.strftime("%Y-%m", time.gmtime(time.time() + 300)):
        time.sleep(1)


def ledger(server):
    """Every entry of the ledger, out of its files: frames of a length, two sums and the entry."""
    entries = []
    for path in sorted((server.data / "store" / "ledger").glob("*/*.seg")):
        data, at = path.read_bytes(), len(MAGIC)
        assert data.startswith(MAGIC)
        while at < len(data):
            length = int.from_bytes(data[at:at + 4], "little")
            entries.append(json.loads(data[at + 12:at + 12 + length]))
            at += 12 + length
    return entries


def set_prices(server, *arguments, **prices):
    """Sets prices as the operator; the book, whose last change is in force when this returns."""
    pairs = [word for name, price in prices.items() for word in (f"--{name.replace('_', '-')}", price)]
    book = operate(server, "prices", "set", *arguments, *pairs)
    return book


def all_prices(**other):
    return {name.replace("-", "_"): price for name, price in {**PRICES, **other}.items()}


def bills(who, *arguments):
    return json.loads(who.cli("bill", *arguments, "--json").stdout)


def used(entries):
    """What the ledger says was used."""
    usage = [entry["usage"] for entry in entries]
    return {
        "invocations": len(entries),
        "billed_ms": sum(one["billed_ms"] for one in usage),
        "billed_mib_ms": sum(e["usage"]["billed_ms"] * e["memory_mib"] for e in entries),
        "cpu_us": sum(one["cpu_us"] for one in usage),
        "bytes_out": sum(one["bytes_out"] for one in usage),
    }


def cost(line, prices):
    """What a line must cost, from its counts."""
    return (D(line["invocations"]) * D(prices["invocation"])
            + D(line["billed_mib_ms"]) / 1024 / 1000 * D(prices["gb_second"])
            + D(line["cpu_us"]) / 1000000 * D(prices["cpu_second"])
            + D(line["bytes_out"]) / 2**30 * D(prices["gb_out"])
            + D(line["network_bytes_in"]) / 2**30 * D(prices["gb_in"]))


def check(bill, entries, name_of):
    """A bill against entries of the ledger: `name_of` says which line an entry belongs to."""
    groups = collections.defaultdict(list)
    for entry in entries:
        groups[name_of(entry)].append(entry)
    lines = collections.defaultdict(collections.Counter)
    total = collections.defaultdict(D)
    prices = {stretch["from"]: stretch["prices"] for stretch in bill["stretches"]}
    for line in bill["lines"]:
        holds = prices[line["from"]]
        if holds is None:
            assert line["amount"] is None and line["currency"] is None
        else:
            assert line["currency"] == holds["currency"]
            expected = D(holds["tenant_month"]) if line["kind"] == "tenant-month" else cost(line, holds)
            assert D(line["amount"]) == expected
            assert sum(map(D, line["amounts"].values())) == expected
            total[line["currency"]] += expected
        assert D(line["gb_seconds"]) == D(line["billed_mib_ms"]) / 1024000
        assert D(line["cpu_seconds"]) == D(line["cpu_us"]) / 1000000
        assert D(line["gb_out"]) == D(line["bytes_out"]) / 2**30
        assert D(line["gb_in"]) == D(line["network_bytes_in"]) / 2**30
        if line["kind"] != "tenant-month":
            name = line["function"] if line["kind"] == "function" else (line["kind"], line["tag_value"])
            for field in ("invocations", "billed_ms", "billed_mib_ms", "cpu_us", "bytes_out"):
                lines[name][field] += line[field]
    assert dict(lines) == {name: used(group) for name, group in groups.items()}
    assert {t["currency"]: D(t["amount"]) for t in bill["totals"]} == dict(total)
    for one in bill["totals"]:
        cent = D(one["amount"]).quantize(D("0.01"), decimal.ROUND_HALF_UP)
        assert D(one["rounded"]) == cent


def of(account, entries):
    return [entry for entry in entries if entry["function"]["tenant"] == account.account]


def by_function(entry):
    return entry["function"]["name"]


@pytest.fixture
def own(start_server):
    """A server without prices, and an account on it."""
    server = start_server()
    return server, new_account(server)


def test_a_bill_is_the_ledger_times_the_prices(own):
    server, one = own
    two = new_account(server)
    # What is used before there is a price is on the bill, and costs nothing.
    early = one.functions.create(WORK, MemorySize=256)
    one.functions.call(early, {"loops": 10, "bytes": 1})
    [bill] = bills(one)
    assert [line["amount"] for line in bill["lines"]] == [None] and bill["totals"] == []
    done = one.cli("bill")
    assert "without prices" in done.stderr

    book = set_prices(server, currency="EUR", **all_prices())
    assert book[-1]["prices"]["gb_second"] == "0.0000166667"
    names = [early, one.functions.create(WORK, name="-2-1"), one.functions.create(WORK, MemorySize=512)]
    for number, name in enumerate(names * 3):
        one.functions.call(name, {"loops": 20000 * number, "bytes": 1000 * number})
    version = one.functions.client.publish_version(FunctionName=early)["Version"]
    one.functions.call(early, {"loops": 1, "bytes": 1}, Qualifier=version)
    other = two.functions.create(WORK)
    two.functions.call(other, {"loops": 1, "bytes": 5})
    # A function that is gone stays on the bill, and a failure costs what it took.
    one.functions.client.delete_function(FunctionName=names[2])
    assert one.functions.invoke(early, {}).error is not None

    # Prices change: what was used keeps those that it had, on a line of its own.
    set_prices(server, invocation="0.5", gb_second="0")
    one.functions.call(early, {"loops": 1, "bytes": 1})
    set_prices(server, "--tenant", one.account, currency="USD", invocation="3")
    one.functions.call(early, {"loops": 1, "bytes": 1})

    entries = ledger(server)
    [bill] = bills(one)
    check(bill, of(one, entries), by_function)
    assert [s["book"] for s in bill["stretches"]] == [None, "node", "node", "tenant"]
    lines = [line for line in bill["lines"] if line["function"] == early]
    assert [line["invocations"] for line in lines] == [1, 5, 1, 1]
    assert [line["currency"] for line in lines] == [None, "EUR", "EUR", "USD"]
    assert {t["currency"] for t in bill["totals"]} == {"EUR", "USD"}
    assert lines[2]["amounts"]["invocation"] == "0.5" and lines[2]["amounts"]["gb_second"] == "0"
    [month] = [line for line in bill["lines"] if line["kind"] == "tenant-month"]
    assert (month["amount"], bill["final"]) == ("12.5", False)

    # The operator sees the same, of each and of all; an account its own and no other's.
    seen = {bill["tenant"]: bill for bill in bills(server)}
    assert list(seen) == sorted([server.account, one.account, two.account])
    for account in (one, two):
        [mine] = bills(account)
        [named] = bills(server, "--tenant", account.account)
        for bill_ in (mine, named):
            check(bill_, of(account, entries), by_function)
        assert mine["lines"] == named["lines"] == seen[account.account]["lines"]
        assert one.account == account.account or early not in json.dumps(mine)
    done = one.cli("bill", "--tenant", two.account, check=False)
    assert done.returncode == REFUSED and "AccessDenied" in done.stderr

    # The sums of `usage` are the same, and all of it outlives the server.
    rows = json.loads(one.cli("usage", "--json").stdout)
    assert sum(row["billed_ms"] for row in rows) == sum(line["billed_ms"] for line in bill["lines"])
    server.kill()
    server.start()
    [again] = bills(one)
    assert again["lines"] == bill["lines"] and again["totals"] == bill["totals"]


def test_a_bill_by_tag_has_the_tags_of_the_time(own):
    server, one = own
    set_prices(server, currency="EUR", **all_prices())
    client, seen = one.functions.client, {}

    def call(name, line, **fields):
        request = one.functions.invoke(name, {"loops": 1000, "bytes": 10}, **fields)
        assert request.error is None
        seen[request.request_id] = line

    def tag(name, **tags):
        client.tag_resource(Resource=arns[name], Tags=tags)

    evil = "=1+1 @a"
    orders = one.functions.create(WORK, Tags={"team": "orders", "stage": "live"})
    bare = one.functions.create(WORK)
    arns = {name: client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
            for name in (orders, bare)}
    call(orders, ("tag", "orders"))
    call(bare, ("untagged", None))
    tag(orders, team="billing")
    call(orders, ("tag", "billing"))
    call(orders, ("tag", "billing"))
    version = client.publish_version(FunctionName=orders)["Version"]
    call(orders, ("tag", "billing"), Qualifier=version)
    tag(bare, team=evil)
    call(bare, ("tag", evil))
    tag(bare, team="")
    call(bare, ("tag", ""))
    client.untag_resource(Resource=arns[orders], TagKeys=["team"])
    call(orders, ("untagged", None))
    # The tags of a server's next life are told again, and those of a deleted function stay.
    server.restart()
    one.functions.client = client = one.client("lambda")
    tag(orders, team="orders")
    call(orders, ("tag", "orders"))
    client.delete_function(FunctionName=orders)

    entries = of(one, ledger(server))
    assert {entry["id"] for entry in entries} == set(seen)
    [bill] = bills(one, "--by", "tag:team")
    check(bill, entries, lambda entry: seen[entry["id"]])
    [stage] = bills(one, "--by", "tag:stage")
    check(stage, entries, lambda entry: ("tag", "live") if by_function(entry) == orders else ("untagged", None))
    [nobody] = bills(one, "--by", "tag:nobody")
    check(nobody, entries, lambda entry: ("untagged", None))
    by_name = bills(one)[0]
    check(by_name, entries, by_function)
    assert bill["totals"] == stage["totals"] == nobody["totals"] == by_name["totals"]
    table = one.cli("bill", "--by", "tag:team").stdout
    assert "(without the tag)" in table and "(empty)" in table and evil in table

    # As CSV: what a reader of RFC 4180 finds is the same, and no cell is a formula.
    text = one.cli("bill", "--by", "tag:team", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(bill["lines"])
    for row, line in zip(rows, bill["lines"]):
        assert row["amount"] == line["amount"] and row["kind"] == line["kind"]
        assert (row["billed_ms"], row["gb_seconds"]) == (str(line["billed_ms"]), line["gb_seconds"])
        assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in row.values())
    assert "'" + evil in [row["tag_value"] for row in rows]


def test_csv_is_of_everybody_and_its_lines_end_as_the_rfc_says(own):
    server, one = own
    set_prices(server, currency="EUR", **all_prices())
    one.functions.call(one.functions.create(WORK, name="-1-1"), {"loops": 1, "bytes": 1})
    raw = subprocess.run([str(binary()), "bill", "--format", "csv"], capture_output=True, timeout=120,
                         env=server.environment()).stdout
    lines = raw.split(b"\r\n")
    assert lines[-1] == b"" and not any(b"\n" in line for line in lines)
    assert len({len(line.split(b",")) for line in lines[:-1]}) == 1
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert {row["tenant"] for row in rows} == {server.account, one.account}
    assert "'-1-1" in [row["function"] for row in rows]


def test_the_past_keeps_its_prices_and_gets_them_where_it_had_none(own):
    server, one = own
    one.functions.call(one.functions.create(WORK), {"loops": 1, "bytes": 1})
    today = time.strftime("%Y-%m-%d", time.gmtime())
    book = set_prices(server, "--from", today, currency="EUR", invocation="2")
    assert book[0]["from"] == f"{today}T00:00:00.000Z"
    [bill] = bills(one)
    assert [line["amount"] for line in bill["lines"]] == ["2"]
    for arguments in (("set", "--from", today, "--invocation", "3"), ("end", "--from", today),
                      ("set", "--from", today, "--tenant", one.account, "--currency", "EUR",
                       "--invocation", "3")):
        done = server.cli("prices", *arguments, check=False)
        assert done.returncode == REFUSED and "keeps the prices" in done.stderr, done.stderr
    operate(server, "prices", "end", "--from", "2031-01-01T00:00:00Z")
    assert operate(server, "prices", "show")[-1]["prices"] is None
    assert operate(server, "prices", "show", "--tenant", one.account) == []
    table = server.cli("prices", "show").stdout
    assert "INVOCATION" in table and "none" in table
    [again] = bills(one)
    assert again["lines"] == bill["lines"]


@pytest.mark.parametrize("arguments, code, text", [
    (("set", "--invocation", "1"), REFUSED, "need a currency"),
    (("set", "--currency", "eur", "--invocation", "1"), REFUSED, "three capital letters"),
    (("set", "--currency", "=UR"), REFUSED, "three capital letters"),
    (("set",), REFUSED, "currency"),
    (("set", "--currency", "EUR", "--invocation", "-1"), REFUSED, "not negative"),
    (("set", "--currency", "EUR", "--gb-out", "1e3"), REFUSED, "no decimal number"),
    (("set", "--currency", "EUR", "--gb-out", "0,5"), REFUSED, "no decimal number"),
    (("set", "--currency", "EUR", "--gb-second", "0.0000000000001"), REFUSED, "at most 12 digits"),
    (("set", "--currency", "EUR", "--gb-second", "1000000.000000000001"), REFUSED, "at most 1000000"),
    (("set", "--currency", "EUR", "--tenant", "999999999999"), NOT_FOUND, "not found"),
    (("set", "--currency", "EUR", "--tenant", "12"), REFUSED, "12 digits"),
    (("set", "--currency", "EUR", "--from", "2020-01-01T12:00:00Z"), REFUSED, "UTC day"),
    (("set", "--currency", "EUR", "--from", "2099-01-01"), REFUSED, "ten years"),
    (("set", "--currency", "EUR", "--from", "yesterday"), USAGE, "a time looks like"),
    (("show", "--tenant", "999999999999"), NOT_FOUND, "not found"),
])
def test_prices_that_cannot_be_are_refused_by_name(server, arguments, code, text):
    done = server.cli("prices", *arguments, check=False)
    assert done.returncode == code, done.stderr
    assert text in " ".join(done.stderr.split()), done.stderr
    assert operate(server, "prices", "show") == []


@pytest.mark.parametrize("arguments, code, text", [
    (("--month", "2026-13"), REFUSED, "no month"),
    (("--month", "november"), REFUSED, "no month"),
    (("--month", "9999-12"), REFUSED, "lies ahead"),
    (("--month", "2001-01"), REFUSED, "was made in"),
    (("--tenant", "999999999999"), NOT_FOUND, "not found"),
    (("--tenant", "1"), REFUSED, "12 digits"),
    (("--by", "region"), REFUSED, "by function, or by tag:KEY"),
    (("--by", "tag:"), REFUSED, "by function, or by tag:KEY"),
    (("--format", "xml"), USAGE, "xml"),
])
def test_bills_that_cannot_be_are_refused_by_name(server, arguments, code, text):
    done = server.cli("bill", *arguments, check=False)
    assert done.returncode == code, done.stderr
    assert text in " ".join(done.stderr.split()), done.stderr


def test_prices_are_the_operators_alone_and_changes_are_on_the_trail(server):
    one = new_account(server)
    for arguments in (("show",), ("show", "--tenant", one.account), ("end",),
                      ("set", "--currency", "EUR", "--invocation", "0")):
        done = one.cli("prices", *arguments, check=False)
        assert done.returncode == REFUSED and "operator" in done.stderr
    set_prices(server, "--tenant", one.account, currency="EUR", invocation="1")
    bills(one)
    trail = [json.loads(line) for line in server.cli("audit", "--json").stdout.splitlines()]
    lines = [line for line in trail if re.search("Prices|GetBill", line["Action"])]
    found = {(line["Action"], line["Result"]) for line in lines}
    assert ("freehold:SetPrices", "ok") in found and ("freehold:SetPrices", "denied") in found
    assert ("freehold:GetPrices", "ok") not in found and ("freehold:GetBill", "ok") not in found
