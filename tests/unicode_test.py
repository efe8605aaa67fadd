"""Names and values out of every class of Unicode, wherever a caller may put one.

Each is taken and comes back byte for byte, or it is refused by a typed error that names the field.
What is judged is every answer of a field at once, so that a fault shows all characters that have it.
"""

import base64
import concurrent.futures
import http.client
import json
import socket
import subprocess
import sys
import unicodedata
import urllib.parse

import pytest
from metrics_test import LINE
from support.functions import ECHO, PYTHON, zip_of
from support.http import Reply, send, signed
from support.server import binary
from support.zips import Entry, archive
from tenants_test import until

# Beside the classes: what turns, joins, hides, ends or folds.
ODD = [0, 0x09, 0x0A, 0x0D, 0x1B, 0x7F, 0x85, 0xA0, 0xAD, 0x130, 0x301, 0x200B, 0x200D, 0x200E, 0x2028,
       0x2029, 0x202E, 0x2066, 0x2126, 0x378, 0xD800, 0xDFFF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF,
       0xFF11, 0x1F468, 0xE0001, 0x10FFFF]
SYNTAX = [ord(c) for c in "\"'\\/{}$%&#?;<>= "]


def classes():
    """Two characters of every class, the first and one from the middle."""
    members = {}
    for code in range(sys.maxunicode + 1):
        members.setdefault(unicodedata.category(chr(code)), []).append(code)
    picked = {code for every in members.values() for code in (every[0], every[len(every) // 2])}
    assert {"Cc", "Cf", "Cn", "Co", "Cs", "Lm", "Mc", "Me", "Mn", "Nl", "Zl", "Zp"} <= set(members)
    return sorted(picked | {*ODD, *SYNTAX})


CHARACTERS = [chr(code) for code in classes()]
UNSEEN = ("Cc", "Zl", "Zp")
ALONE = [c for c in CHARACTERS if unicodedata.category(c) == "Cs"]
SHOWER_SOURCE = b"""
import os

def handler(event, context):
    if "listed" in event:
        return [os.fsencode(name).hex() for name in os.listdir(event["listed"])]
    if "environ" in event:
        return {name.decode(): value.hex() for name, value in os.environb.items() if name.startswith(b"V_")}
    if "said" in event:
        for line in event["said"]:
            os.write(1, bytes.fromhex(line) + b"\\n")
        return None
    return {"header": event["headers"].get("x-odd"), "path": event["rawPath"], "query": event["rawQueryString"],
            "parsed": event.get("queryStringParameters"), "decoded": event["requestContext"]["http"]["path"]}
"""
SHOWER = zip_of({"index.py": SHOWER_SOURCE})


def raw(text):
    """UTF-8, and a lone surrogate as if there were such a thing in it."""
    return text.encode("utf-8", "surrogatepass")


def quoted(text):
    return urllib.parse.quote(raw(text), safe="")


def shown(c):
    return f"U+{ord(c):04X} {unicodedata.category(c)}"


def each(work, over=CHARACTERS):
    """`work` of every character, some at a time: {character: what it gave}."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        return dict(zip(over, pool.map(work, over), strict=True))


class Api:
    """The lines below an SDK: nothing is judged before it is sent."""

    def __init__(self, server):
        self.server = server
        self.answers = []

    def ask(self, method, path, body=None, service="lambda", headers=None):
        data = b"" if body is None else json.dumps(body).encode()
        path, headers = signed(self.server, method, path, data, headers, service)
        answer = send(self.server.url, method, path, headers, data)
        self.answers.append(answer)
        return answer


def told(answer):
    """The error's type and its text."""
    said = json.loads(answer.body)
    code = answer.headers.get("x-amzn-ErrorType") or said.get("__type") or said.get("Code")
    return code, said.get("message") or said.get("Message") or ""


def judge(answers, came_back, *names):
    """Each was taken and came back, or was refused by a typed error that names the field. Gives those
    that were taken."""
    wrong = {}
    for c, answer in answers.items():
        if answer.status < 400:
            fine = came_back(c, answer)
        else:
            code, text = told(answer)
            # A lone surrogate makes the body no JSON at all, so that there is no field yet.
            no_json = c in ALONE and code == "SerializationException" and "hex escape" in text
            named = any(name.lower() in text.lower() for name in names)
            fine = answer.status < 500 and code and (named or no_json)
        if not fine:
            wrong[shown(c)] = (answer.status, dict(answer.headers), answer.text[:300])
    assert wrong == {}
    taken = [c for c, answer in answers.items() if answer.status < 400]
    assert len(taken) < len(answers), "none was refused"
    return taken


@pytest.fixture(scope="module")
def api(server):
    return Api(server)


@pytest.fixture(scope="module")
def name(functions):
    return functions.create(SHOWER, "shower")


@pytest.fixture(scope="module")
def create(api, functions):
    """Asks for a function of `fields`, whatever they are."""
    def ask(package=ECHO, **fields):
        return api.ask("POST", "/2015-03-31/functions", {
            "Runtime": PYTHON, "Handler": "index.handler", "Role": functions.role,
            "Code": {"ZipFile": base64.b64encode(package).decode()}, **fields})
    return ask


def test_the_name_of_a_function(api, create, functions):
    answers = each(lambda c: create(FunctionName=f"n{c}n"))
    taken = judge(answers, lambda c, answer: json.loads(answer.body)["FunctionName"] == f"n{c}n", "functionName")
    listed = {one["FunctionName"] for one in functions.client.list_functions()["Functions"]}
    assert {f"n{c}n" for c in taken} == {name for name in listed if name.startswith("n")}
    there = each(lambda c: api.ask("GET", f"/2015-03-31/functions/n{quoted(c)}n/configuration"))
    assert judge(there, lambda c, answer: json.loads(answer.body)["FunctionName"] == f"n{c}n",
                 "functionName", "path", "not found") == taken


def test_a_qualifier(api, name):
    """No version has such a name, so all that is well-formed is not found, by its name."""
    for where in (f"/2015-03-31/functions/{name}/configuration?Qualifier=a",
                  f"/2015-03-31/functions/{name}/invocations?Qualifier=a", f"/2015-03-31/functions/{name}:a"):
        method = "POST" if "invocations" in where else "GET"
        answers = each(lambda c: api.ask(method, f"{where}{quoted(c)}"))
        assert judge(answers, lambda c, answer: False, "qualifier", "functionName", "function not found") == []


def test_tags(api, functions, name):
    arn = functions.client.get_function_configuration(FunctionName=name)["FunctionArn"]
    path = f"/2017-03-31/tags/{quoted(arn)}"
    for side in ("key", "value"):
        def tag(c):
            return api.ask("POST", path, {"Tags": {f"k{c}k": "v"} if side == "key" else {f"k{ord(c)}": f"v{c}v"}})
        answers, there = {}, {}
        for at in range(0, len(CHARACTERS), 40):
            answers |= {c: tag(c) for c in CHARACTERS[at:at + 40]}
            tags = json.loads(api.ask("GET", path).body)["Tags"]
            there |= tags
            gone = "&".join(f"tagKeys={quoted(key)}" for key in tags)
            assert api.ask("DELETE", f"{path}?{gone}").status == 204
            assert json.loads(api.ask("GET", path).body)["Tags"] == {}
        taken = judge(answers, lambda c, answer: True, "tags")
        wanted = [(f"k{c}k", "v") if side == "key" else (f"k{ord(c)}", f"v{c}v") for c in taken]
        assert there == dict(wanted) and len(taken) > 20


def test_the_environment(create, functions):
    answers = each(lambda c: create(FunctionName=f"variable-{ord(c)}",
                                    Environment={"Variables": {f"V_{c}": "value"}}))
    judge(answers, lambda c, answer: json.loads(answer.body)["Environment"]["Variables"] == {f"V_{c}": "value"},
          "environment")
    refused = ["\0", *ALONE]
    assert judge(each(lambda c: create(FunctionName=f"value-{ord(c)}", Environment={
        "Variables": {"V_ODD": f"x{c}x"}}), refused), lambda c, answer: False, "V_ODD") == []
    values = {f"V_{ord(c)}": f"x{c}x" for c in CHARACTERS if c not in refused}
    functions.create(SHOWER, "values", Environment={"Variables": values})
    configured = functions.client.get_function_configuration(FunctionName="values")
    assert configured["Environment"]["Variables"] == values
    seen = functions.call("values", {"environ": True})
    assert seen == {name: raw(value).hex() for name, value in values.items()}


def test_a_log_group(api, create, server, functions):
    answers = each(lambda c: create(FunctionName=f"group-{ord(c)}", LoggingConfig={"LogGroup": f"g{c}g"}))
    taken = judge(answers, lambda c, answer: json.loads(answer.body)["LoggingConfig"]["LogGroup"] == f"g{c}g",
                  "logGroup")
    for c in taken:
        functions.wait_active(f"group-{ord(c)}")
        functions.call(f"group-{ord(c)}", {})

    def filtered(c):
        return api.ask("POST", "/", {"logGroupName": f"g{c}g"}, "logs", {
            "X-Amz-Target": "Logs_20140328.FilterLogEvents", "Content-Type": "application/x-amz-json-1.1"})
    until(lambda: all(filtered(c).status == 200 for c in taken))
    assert judge(each(filtered), lambda c, answer: json.loads(answer.body)["events"], "logGroupName") == taken
    logs = server.client("logs")
    listed = {group["logGroupName"] for group in logs.describe_log_groups(logGroupNamePrefix="g")["logGroups"]}
    assert listed == {f"g{c}g" for c in taken}


def test_what_a_function_says(server, functions, name):
    """One line each; a line's end is a line's end, and what is no UTF-8 is shown as such."""
    said = [f"said {ord(c)} {c}." for c in CHARACTERS if c not in "\n\r"]
    functions.call(name, {"said": [raw(line).hex() for line in said]})
    logs = server.client("logs")

    def lines():
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="said")["events"]
        found = [event["message"].removesuffix("\n") for event in found]
        return found if len(found) >= len(said) else None
    wanted = [raw(line).decode(errors="replace") for line in said]
    assert until(lines) == wanted


def test_the_name_of_an_account(api):
    answers = each(lambda c: api.ask("POST", "/_freehold/api/CreateTenant", {"Name": f"t{c}t"}, "freehold"))
    taken = judge(answers, lambda c, answer: json.loads(answer.body)["Tenant"]["Name"] == f"t{c}t",
                  "tenant's name")
    listed = json.loads(api.server.cli("tenants", "list", "--json").stdout)
    assert {row["name"] for row in listed} >= {f"t{c}t" for c in taken}
    assert not {"\u202e", "\u200b", "\x1b", "\u2028"} & set(taken)


def test_the_name_of_a_policy(open_folder):
    """Read before there is a server; the fault says which name, in plain letters."""
    def judged(at, text):
        file = open_folder / f"{at}.toml"
        file.write_bytes(b'[network.policies."' + text + b'"]\nallow = ["internet"]\n')
        return subprocess.run([binary(), "config", "show", "--config", file, "--data", open_folder / "none"],
                              capture_output=True, timeout=60)
    for c, done in each(lambda c: judged(ord(c), b"p\\U%08xp" % ord(c) if c not in ALONE else raw(c))).items():
        fault = done.stderr.decode()
        fine = c == "-" or (c.isascii() and (c.isdigit() or c.islower()))
        assert done.returncode == (0 if fine else 2), (shown(c), fault)
        if not fine:
            assert f"{ord(c)}.toml" in fault, (shown(c), fault)
            assert c in ALONE or "network.policies is" in fault, (shown(c), fault)
            assert not {c for c in fault if c != "\n" and unicodedata.category(c) in UNSEEN}, shown(c)


def exchanged(server, host, target, headers=b""):
    """The answer to a request of these very bytes."""
    name, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((name, int(port)), timeout=60) as line:
        line.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: " + host.encode()
                     + b"\r\nConnection: close\r\n" + headers + b"\r\n")
        response = http.client.HTTPResponse(line)
        response.begin()
        return Reply(response)


def test_a_request(server, functions, name):
    """Path, query and headers of a function's URL. What HTTP itself forbids is a 400 of the parser's."""
    host = functions.public_url(name).split("/")[2]
    for c, answer in each(lambda c: send(
            server.url, "GET", f"/p{quoted(c)}p?q={quoted(c)}", {"Host": host})).items():
        text, seen = raw(c).decode(errors="replace"), json.loads(answer.body)
        assert (answer.status, seen["path"], seen["query"]) == (200, f"/p{quoted(c)}p", f"q={quoted(c)}"), shown(c)
        assert (seen["decoded"], seen["parsed"]) == (f"/p{text}p", {"q": text}), shown(c)
    plain = {c for c in CHARACTERS if ord(c) > 0x7F and c not in ALONE}
    answers = each(lambda c: exchanged(server, host, b"/p" + raw(c) + b"p?q=" + raw(c)))
    for c, answer in answers.items():
        assert answer.status in (200, 400), shown(c)
        if answer.status == 200 and c not in "#?":
            seen = json.loads(answer.body)
            assert (seen["path"], seen["query"]) == (f"/p{c}p", f"q={c}"), shown(c)
    assert all(answers[c].status == 200 for c in plain)
    assert all(answers[c].status == 400 for c in [*ALONE, "\0", "\n", "\r", "\x1b", " "])
    answers = each(lambda c: exchanged(server, host, b"/", b"x-odd: a" + raw(c) + b"b\r\n"))
    for c, answer in answers.items():
        if c != "\t" and (ord(c) < 0x20 or c == "\x7f"):
            assert answer.status == 400, shown(c)
        else:
            # Text is what an event can hold: bytes that are none are shown as such.
            assert json.loads(answer.body)["header"] == f"a{raw(c).decode(errors='replace')}b", shown(c)


def test_the_names_in_a_package(create, functions):
    def packed(*some):
        entries = [Entry(f"d/a{at}".encode() + raw(c), b"x", flags=0x800) for at, c in enumerate(some)]
        return archive([Entry(b"index.py", SHOWER_SOURCE), *entries])
    answers = each(lambda c: create(packed(c), FunctionName=f"packed-{ord(c)}"))
    taken = judge(answers, lambda c, answer: True, 'entry "d/a0')
    assert set(CHARACTERS) - set(taken) == {c for c in CHARACTERS if unicodedata.category(c) in ("Cc", "Cs")} | {"/", "\\"}
    functions.create(packed(*taken), "packed")
    listed = functions.call("packed", {"listed": "/var/task/d"})
    assert sorted(listed) == sorted((f"a{at}".encode() + raw(c)).hex() for at, c in enumerate(taken))


def test_afterwards_trail_metrics_and_log_are_read_as_before(server, api, functions, name):
    """Runs last: what the tests above asked for is in there."""
    assert functions.call(name, {"said": []}) is None
    assert api.answers and max(answer.status for answer in api.answers) < 500
    rows = [json.loads(line) for line in server.cli("audit", "--json").stdout.split("\n") if line]
    assert len(rows) > 100 and any("n\\u{" in row["Resource"] for row in rows)
    plain = server.cli("audit").stdout
    assert sum(line[:2] == "20" and " lambda:" in line for line in plain.split("\n")) == \
        sum(row["Action"].startswith("lambda:") for row in rows)
    for text in (plain, server.output()):
        assert not {c for c in text if c != "\n" and unicodedata.category(c) in UNSEEN}
        assert not {"\u202e", "\u2066"} & set(text)
    for line in send(server.admin, "GET", "/metrics").text.split("\n"):
        assert not line or line.startswith("#") or LINE.match(line), line
