"""The configuration from outside: who goes over whom, what is refused, what a reload takes over.

Every key is taken from `freehold config show --json`, so that a new one is tried without a line here.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from botocore.exceptions import ClientError

from support import server as servers
from support.functions import Functions, python

ECHO = python("def handler(event, context):\n    return event\n")
GROWING = python("def handler(event, context):\n    return 'x' * event\n")


def run(*arguments, env=None):
    """A command of the binary, in an environment with nothing of ours but what is given."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("FREEHOLD_", "AWS_"))}
    return subprocess.run([str(servers.binary()), *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, env={**clean, **(env or {})})


class Shown:
    """What `freehold config show` says of a folder and a file."""

    def __init__(self, folder, text=None, sets=(), env=None):
        path = folder / "freehold.toml"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        flags = [part for one in sets for part in ("--set", one)]
        self.done = run("config", "show", "--json", "--data", folder, *flags, env=env)

    def keys(self):
        assert self.done.returncode == 0, self.done.stderr
        return {row["key"]: row for row in json.loads(self.done.stdout)["keys"]}

    def refused(self):
        """The faults, a line each."""
        assert self.done.returncode == 2, (self.done.returncode, self.done.stdout, self.done.stderr)
        assert self.done.stdout == ""
        first, *faults = self.done.stderr.splitlines()
        assert first.startswith("freehold: the configuration is not valid"), first
        return [fault.strip() for fault in faults]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Shown(tmp_path_factory.mktemp("keys")).keys()


def file_of(entries):
    """A file with these keys, and the line of each."""
    text, lines = "", {}
    for section in sorted({key.split(".")[0] for key in entries}):
        text += f"[{section}]\n"
        for key, value in entries.items():
            if key.split(".")[0] == section:
                text += f"{key.split('.')[1]} = {value}\n"
                lines[key] = text.count("\n")
    return text, lines


# Every key


def outside(row):
    """Numbers that the key's bounds do not hold: below, above, between two steps."""
    if "least" not in row:
        return []
    numbers = [row["most"] + 1]
    if row["least"] > 0:
        numbers.append(row["least"] - 1)
    if row["step"] > 1:
        numbers.append(row["least"] + 1)
    return numbers


def in_units(row, number):
    if row["type"] in ("count", "count or word"):
        return str(number)
    unit = {"bytes": "B", "ms": "ms"}[row["unit"]]
    return f'["{number}{unit}"]' if row["type"] == "times" else f'"{number}{unit}"'


WRONG_UNITS = {
    "size": ['"64KB"', '"5 leagues"', '"15m"', '""'],
    "time": ['"90"', "90", '"2 fortnights"', '"6MiB"', '""'],
    "time or word": ['"90"', '"adaptiv"', '"1w"'],
    "times": ['["90"]', '["1m", "1w"]', "[60]", '"1m"', "[]"],
    "count": ['"12"', '"5s"', "1.0"],
    "count or word": ['"12"', '"non"', "1.0"],
    "word": ['"fast"', '""'],
    "flag": ['"true"', "1"],
    "address": ['"127.0.0.1"', '"localhost:7070"', "7070"],
    "account": ['"123"', "123456789012", '"000000000000"'],
    "region": ['"US EAST"', '""'],
    "regions": ['"us-east-1"', '["US EAST"]', "[1]"],
    "domain": ['"a b"', '""', '"a..b"'],
    "hosts": ['"a"', '["a b"]', '["*"]', '["a:80"]'],
    "networks": ['"::1"', '["localhost"]', '["10.0.0.0/33"]'],
    "url": ['"http://acme.example.org/"', '"acme.example.org"', '"https://a@b/"', '""'],
    "mail": ['"ops"', '"@example.org"', '"a b@example.org"', '""'],
    "policy": ['"a b"', '""', '"Orders"', "1"],
    "policies": ['"orders"', "[1]"],
    "file": ['"tls.pem"', '""', '"~/tls.pem"'],
    "paths": ['"/usr/bin/python3"', "3"],
}
# How policies are written as a text; they alone have another form there.
POLICY_TEXT = "NAME=RULE RULE, as in orders=10.0.0.5:5432"


def told(faults, begins, row):
    """Whether one of them is this, and what the key allows."""
    allowed = POLICY_TEXT if row["type"] == "policies" else row["allowed"]
    return f"{begins}; allowed: {allowed}" in faults


def test_every_key_refuses_other_types_units_and_ranges_by_line(keys, tmp_path):
    rounds = {key: ["1.5", "2026-11-22", "[[1]]", *WRONG_UNITS[row["type"]],
                    *(in_units(row, number) for number in outside(row))]
              for key, row in keys.items()}
    assert len(keys) >= 50
    tried = 0
    for number in range(max(map(len, rounds.values()))):
        entries = {key: values[number] for key, values in rounds.items() if number < len(values)}
        text, lines = file_of(entries)
        faults = Shown(tmp_path, text).refused()
        assert len(faults) == len(entries), (number, faults)
        for key, line in lines.items():
            [fault] = [one for one in faults if f":{line}: " in one]
            assert fault.startswith(f"{tmp_path}/freehold.toml:{line}: {key} is "), fault
            assert fault.endswith("; allowed: " + keys[key]["allowed"]), fault
            tried += 1
    assert tried > 300


def test_every_key_refuses_them_as_variable_and_flag(keys, tmp_path):
    wrong = {key: "1w" if row["type"] != "paths" else "no-pair" for key, row in keys.items()}
    # What is a name is a right one in these letters.
    wrong |= {"server.region": "US EAST", "server.regions": "eu,US", "server.url_domain": "a b",
              "server.hosts": "a b", "network.default": "a b", "tls.acme_names": "a b"}
    faults = Shown(tmp_path, env={keys[key]["variable"]: text for key, text in wrong.items()})
    faults = faults.refused()
    assert len(faults) == len(keys)
    for key, text in wrong.items():
        assert told(faults, f'{keys[key]["variable"]}: {key} is "{text}"', keys[key]), (key, faults)
    faults = Shown(tmp_path, sets=[f"{key}={text}" for key, text in wrong.items()]).refused()
    assert len(faults) == len(keys)
    for key, text in wrong.items():
        assert told(faults, f'--set {key}: {key} is "{text}"', keys[key]), (key, faults)


def test_the_bounds_of_every_key_are_allowed_themselves(keys, tmp_path):
    # Alone each is fine; some do not go together, and are told apart by that message.
    for end in ("least", "most"):
        entries = {key: in_units(row, row[end]) for key, row in keys.items()
                   if end in row and key not in ("audit.size", "audit.file_size", "server.uid")}
        text, lines = file_of(entries)
        shown = Shown(tmp_path, text).keys()
        for key, line in lines.items():
            assert shown[key]["origin"] == f"{tmp_path}/freehold.toml:{line}"


# What is not known


def test_what_is_not_known_is_refused_with_line_and_nearest_name(keys, tmp_path):
    for key in keys:
        section, name = key.split(".")
        text = f"\n[{section}]\n{name[:-1]}{name[-1]}{name[-1]} = 1\n"
        [fault] = Shown(tmp_path, text).refused()
        assert fault == (f"{tmp_path}/freehold.toml:3: {key}{name[-1]} is no key; "
                         f"the nearest is {key}")
    text = "surprise = 1\n[sever]\n[limits]\nfunction_timeouts = 1\nheader = \"64KB\"\n"
    faults = Shown(tmp_path, text, ["limits.haeder=5", "audit.keep"],
                   {"FREEHOLD_LIMITS_HEADERS": "5", "FREEHOLD_LIMIT_HEADER": "5"}).refused()
    file = f"{tmp_path}/freehold.toml"
    assert faults[0] == "--set audit.keep: it is written section.key=value"
    assert sorted(faults[1:]) == sorted([
        f"{file}:1: surprise is no key; `freehold config show` lists all",
        f"{file}:2: [sever] is no section; the nearest is [server]",
        f"{file}:4: limits.function_timeouts is no key; the nearest is limits.function_timeout",
        f'{file}:5: limits.header is "64KB"; allowed: {keys["limits.header"]["allowed"]}',
        "FREEHOLD_LIMITS_HEADERS: FREEHOLD_LIMITS_HEADERS is no variable of a key; "
        "the nearest is FREEHOLD_LIMITS_HEADER",
        "FREEHOLD_LIMIT_HEADER: FREEHOLD_LIMIT_HEADER is no variable of a key; "
        "the nearest is FREEHOLD_LIMITS_HEADER",
        "--set limits.haeder: limits.haeder is no key; the nearest is limits.header"])


def test_parts_of_a_table_are_refused_where_they_stand(keys, tmp_path):
    text = ('[network.policies.orders]\nallow = ["10.0.0.5:5432"]\n\n[network.policies.other]\nallw = []\n'
            'allow = [\n  "10.0.0.5:1",\n  "db",\n]\n[runtimes.paths]\n"python9" = "/x"\n"python3.12" = "x"\n'
            '[audit]\nkeep = "1w"\n[network.policies."a b"]\nallow = []\n')
    file = f"{tmp_path}/freehold.toml"
    for fault, begins in zip(Shown(tmp_path, text).refused(), [
            f"{file}:5: network.policies.other.allw is no key; the nearest is network.policies.other.allow",
            f'{file}:8: network.policies.other.allow[1] is "db"; allowed: ADDRESS:PORT',
            f"{file}:11: runtimes.paths.python9 is no runtime that has an interpreter; the nearest is python3.9",
            f'{file}:12: runtimes.paths.python3.12 is "x"; allowed: a path from the root',
            f'{file}:14: audit.keep is "1w"; allowed: ' + keys["audit.keep"]["allowed"],
            f'{file}:15: network.policies is "a b"; allowed: a name of 1 to 63'], strict=True):
        assert fault.startswith(begins), fault


def test_of_a_header_that_does_not_read_one_fault_is_told(tmp_path):
    [fault] = Shown(tmp_path, "[server\nlisten = \"127.0.0.1:1\"\n").refused()
    assert fault.startswith(f"{tmp_path}/freehold.toml:1: "), fault


def test_what_a_start_refuses_of_a_file_is_refused_before_it(tmp_path):
    file = f"{tmp_path}/freehold.toml"
    # With what is wrong by itself.
    faults = Shown(tmp_path, '[server]\nadmin_listen = "127.0.0.1:7070"\ncores = 0\n').refused()
    assert [fault.split(" is ")[0] for fault in faults] == [
        f"{file}:3: server.cores", f"{file}:2: server.admin_listen"], faults
    (tmp_path / "cut.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n")
    for certificate, says in (("/nonexistent", "/nonexistent could not be read: No such file"),
                              (tmp_path / "cut.pem", 'there is no line "-----END CERTIFICATE-----"')):
        text = f'[tls]\nkey = "/nonexistent"\ncertificate = "{certificate}"\n'
        done = Shown(tmp_path, text).done
        assert done.returncode == 2 and done.stdout == "", done
        assert f"{file}:3: tls.certificate cannot be taken" in done.stderr and says in done.stderr, done.stderr


def test_an_interpreter_that_is_not_taken_is_named_with_its_reason(start_server):
    found = run("runtimes", "--json", "--data", start_server().data)
    name = next(row["name"] for row in json.loads(found.stdout)["runtimes"] if row["name"].startswith("python"))
    server = start_server(f'[runtimes.paths]\n"{name}" = "/nonexistent/python"\n')
    done = run("runtimes", "--data", server.data)
    assert re.search(rf"^{name} +not usable: .*No such file", done.stdout, re.M), done.stdout
    assert f"/nonexistent/python: {name} in runtimes.paths: No such file" in done.stdout, done.stdout
    told = json.loads(run("runtimes", "--json", "--data", server.data).stdout)
    assert name not in [row["name"] for row in told["runtimes"]]
    assert {"path": "/nonexistent/python", "configured_for": name}.items() <= told["passed_over"][-1].items()
    lines = [line for line in server.output().splitlines() if "WARN" in line and name in line]
    assert len(lines) == 1 and "/nonexistent/python" in lines[0], server.output()
    findings = json.loads(run("doctor", "--json", "--data", server.data).stdout)["findings"]
    [finding] = [one for one in findings if one["what"] == f"runtime {name}"]
    assert not finding["enforced"] and "runtimes.paths" in finding["detail"] and finding["remedy"], finding
    # Whoever wants it is told why, and nothing of the machine's folders.
    with pytest.raises(ClientError) as refused:
        Functions(server).create(ECHO, Runtime=name)
    assert "No such file" in str(refused.value) and "/nonexistent" not in str(refused.value)


def test_a_server_is_not_started_with_any_of_it(open_folder):
    path = open_folder / "freehold.toml"
    path.write_text("[limits]\nfunction_timeot = \"2h\"\n")
    done = run("serve", "--data", open_folder / "data", "--config", path,
               "--set", "audit.keep=1s", "--listen", "localhost",
               env={"FREEHOLD_EVENTS_KEEP_DON": "1d"})
    assert done.returncode == 2
    for part in (f"{path}:2: limits.function_timeot", "the nearest is limits.function_timeout",
                 "--set audit.keep: audit.keep is", '--listen: server.listen is "localhost"',
                 "FREEHOLD_EVENTS_KEEP_DON", "remedy:"):
        assert part in done.stderr, done.stderr
    assert not (open_folder / "data").exists(), "nothing was made"


def test_foreign_variables_are_told_and_let_be(tmp_path):
    foreign = {"FREEHOLD_PORT": "tcp://10.0.0.1:7070", "FREEHOLD_SERVER_SERVICE_HOST": "10.0.0.1",
               "FREEHOLD_TEAM": "orders"}
    shown = Shown(tmp_path, env={**foreign, "FREEHOLD_BIN": "x", "FREEHOLD_LOG": "info"})
    assert set(row["origin"] for row in shown.keys().values()) == {"default"}
    told = [line.split()[1] for line in shown.done.stderr.splitlines()]
    assert told == sorted(foreign)


# Who goes over whom


def test_each_source_goes_over_those_before_it(tmp_path):
    text, env, sets = "[limits]\nheader = \"10KiB\"\n", {"FREEHOLD_LIMITS_HEADER": "11KiB"}, \
        ["limits.header=12KiB"]
    file, flag = f"{tmp_path}/freehold.toml:2", "--set limits.header"
    for given, value, origin in (
            ({}, "64KiB", "default"),
            ({"text": text}, "10KiB", file),
            ({"env": env}, "11KiB", "FREEHOLD_LIMITS_HEADER"),
            ({"sets": sets}, "12KiB", flag),
            ({"text": text, "env": env}, "11KiB", "FREEHOLD_LIMITS_HEADER"),
            ({"text": text, "sets": sets}, "12KiB", flag),
            ({"env": env, "sets": sets}, "12KiB", flag),
            ({"text": text, "env": env, "sets": sets}, "12KiB", flag)):
        row = Shown(tmp_path, **given).keys()["limits.header"]
        assert (row["value"], row["origin"]) == (value, origin), given
        assert row["default"] == "64KiB"


def test_lists_and_tables_are_given_in_every_form(tmp_path):
    for given in (
            {"text": '[server]\nregions = ["eu-central-1", "x"]\n[runtimes.paths]\n'
                     '"python3.12" = "/a/python"\njava17 = "/b"\n'},
            {"env": {"FREEHOLD_SERVER_REGIONS": "eu-central-1, x",
                     "FREEHOLD_RUNTIMES_PATHS": "python3.12=/a/python,java17=/b"}},
            {"sets": ["server.regions=eu-central-1,x",
                      "runtimes.paths=python3.12=/a/python,java17=/b"]}):
        rows = Shown(tmp_path, **given).keys()
        assert rows["server.regions"]["value"] == ["eu-central-1", "x"]
        assert rows["runtimes.paths"]["value"] == {"python3.12": "/a/python", "java17": "/b"}


def test_a_running_server_says_what_it_has_and_who_said_so(start_server, monkeypatch):
    monkeypatch.setenv("FREEHOLD_AUDIT_KEEP", "2d")
    server = start_server("[limits]\nheader = \"16KiB\"\n", ["--set", "events.keep_done=3d"])
    file = server.folder / "freehold.toml"

    def show(*arguments, env=None):
        done = run("config", "show", "--json", *arguments, env=env)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return {row["key"]: row for row in answer["keys"]}, answer, done.stderr

    rows, answer, _ = show("--data", server.data, "--config", file)
    assert answer["file"] == answer["running_file"] == str(file)
    running = {key: row["running"] for key, row in rows.items()}
    assert running["limits.header"] == {"value": "16KiB", "origin": f"{file}:2"}
    assert running["audit.keep"] == {"value": "2d", "origin": "FREEHOLD_AUDIT_KEEP"}
    assert running["events.keep_done"] == {"value": "3d", "origin": "--set events.keep_done"}
    assert running["server.listen"] == {"value": "127.0.0.1:0", "origin": "--listen"}
    assert running["server.cores"] == {"value": None, "origin": "default"}
    # This shell has other variables than the server was started with.
    assert (rows["audit.keep"]["value"], rows["audit.keep"]["origin"]) == ("90d", "default")
    assert rows["limits.header"]["reload"] and not rows["server.cores"]["reload"]

    # For people: what differs stands beside it, and whose file it is is said.
    done = run("config", "show", "--data", server.data)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert re.search(r"64KiB +default +reload +16KiB \(.*freehold.toml:2\)$", lines["limits.header"])
    assert re.search(r" start$", lines["server.cores"])
    assert f"reads {file}" in done.stderr

    # By the address alone, as an operator elsewhere.
    held = json.loads(server.cli("config", "show", "--json", "--endpoint", server.url).stdout)
    assert {row["key"]: row["running"] for row in held["keys"]} == running
    # What it has is no tenant's business.
    made = json.loads(server.cli("tenants", "create", "--json").stdout)["key"]
    other = {"AWS_ACCESS_KEY_ID": made["access_key_id"],
             "AWS_SECRET_ACCESS_KEY": made["secret_access_key"]}
    for command in (("config", "show", "--endpoint", server.url), ("reload",)):
        done = server.cli(*command, check=False, env=other)
        assert done.returncode == 4 and "AccessDenied" in done.stderr, done.stderr


# Reloading


@pytest.fixture(scope="module")
def reloaded():
    """A server whose file the tests write."""
    one = servers.Server("")
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(autouse=True)
def empty_file(request):
    """Each test begins with every default."""
    yield
    if "reloaded" in request.fixturenames:
        server = request.getfixturevalue("reloaded")
        write(server, "")
        server.cli("reload")


def write(server, text):
    (server.folder / "freehold.toml").write_text(text)


def reload(server, text):
    write(server, text)
    return json.loads(server.cli("reload", "--json").stdout)


def changes(rows):
    return {row["key"]: (row["before"], row["now"]) for row in rows}


def test_a_limit_holds_for_the_very_next_request(reloaded):
    functions = Functions(reloaded)
    name, growing = functions.create(ECHO), functions.create(GROWING)
    assert functions.call(name, "x" * 5000) and functions.call(growing, 5000)
    done = reload(reloaded, "[limits]\nsync_payload = 1000\nmemory_max = \"256MiB\"\n")
    assert done["needs_restart"] == []
    assert changes(done["applied"]) == {
        "limits.sync_payload": ("6MiB", "1000B"), "limits.memory_max": ("10GiB", "256MiB")}
    assert done["applied"][0]["origin"] == f"{reloaded.folder}/freehold.toml:2"
    with pytest.raises(ClientError) as caught:
        functions.call(name, "x" * 1000)
    assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    # Of the instance that is there already, too.
    answer = functions.invoke(growing, 5000)
    assert answer.error and b"ResponseSizeTooLarge" in answer.body
    with pytest.raises(ClientError):
        functions.create_response(MemorySize=257)
    done = reload(reloaded, "[limits]\nsync_payload = \"8MiB\"\n")
    assert changes(done["applied"]) == {
        "limits.sync_payload": ("1000B", "8MiB"), "limits.memory_max": ("256MiB", "10GiB")}
    assert len(functions.call(growing, 7 << 20)) == 7 << 20
    assert len(functions.call(name, "x" * (7 << 20))) == 7 << 20
    functions.create_response(MemorySize=257)


def test_concurrency_timeouts_and_idle_times_follow(reloaded):
    functions = Functions(reloaded)
    sleeper = functions.create(python(
        "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"),
        Timeout=60)
    functions.call(sleeper, 0)
    reload(reloaded, "[limits]\naccount_concurrency = 1\nunreserved_concurrency_min = 0\n")
    functions.wait_busy(sleeper, False)
    long = threading.Thread(target=functions.call, args=(sleeper, 10))
    long.start()
    functions.wait_busy(sleeper)
    with pytest.raises(ClientError) as caught:
        functions.call(sleeper, 0)
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    reload(reloaded, "[limits]\nfunction_timeout = \"30s\"\n")
    assert functions.call(sleeper, 0) == 0
    long.join()
    with pytest.raises(ClientError):
        functions.create_response(Timeout=31)
    # Functions that have a longer one are bound by it from their next run on.
    reload(reloaded, "[limits]\nfunction_timeout = \"1s\"\n")
    cut = functions.invoke(sleeper, 30)
    assert cut.error and b"Task timed out after 1.00 seconds" in cut.body, cut.body
    reload(reloaded, "[limits]\nfunction_timeout = \"30s\"\n")
    functions.call(sleeper, 0)

    def instances():
        rows = json.loads(reloaded.cli("ps", "--json").stdout)["Instances"]
        return [row for row in rows if sleeper in json.dumps(row)]

    assert instances()
    done = reload(reloaded, "[instances]\nidle_timeout = \"100ms\"\n")
    assert changes(done["applied"])["instances.idle_timeout"] == ("adaptive", "100ms")
    end = time.monotonic() + 20
    while instances() and time.monotonic() < end:
        time.sleep(0.1)
    assert not instances(), "those that were idle already have gone"


def test_a_file_with_a_fault_changes_nothing(reloaded):
    functions = Functions(reloaded)
    name = functions.create(ECHO)
    reload(reloaded, "[limits]\nsync_payload = 2000\n")
    for text, says in (
            ("[limits]\nsync_payload = 3000\nfunction_timeot = 1\n", ":3: limits.function_timeot"),
            ("[limits]\nsync_payload = 3000\nheader = 1\n", ":3: limits.header is 1; allowed"),
            ("[limits]\nsync_payload = 3000\n[audit\n", ":3: "),
            ("[limits]\nsync_payload = 3000\n[audit]\nsize = \"256KiB\"\nfile_size = \"64KiB\"\n",
             ":4: audit.size is 256KiB; with audit.file_size = 1MiB"),
            ("[limits]\nsync_payload = 3000\n[server]\nlisten = \"0.0.0.0:1\"\ninsecure = false\n",
             None),
            ("#" * (256 << 10) + "\n", "is larger than 262144 bytes")):
        write(reloaded, text)
        done = reloaded.cli("reload", check=False)
        if says is None:
            # What a flag goes over cannot break the reload: --listen was given.
            assert done.returncode == 0, done.stderr
            reload(reloaded, "[limits]\nsync_payload = 2000\n")
            continue
        assert done.returncode == 4 and "keeps what it has" in done.stderr, done.stderr
        assert says in done.stderr, done.stderr
        assert functions.call(name, "x" * 1500)
        with pytest.raises(ClientError):
            functions.call(name, "x" * 2500)
    (reloaded.folder / "freehold.toml").unlink()
    done = reloaded.cli("reload", check=False)
    assert done.returncode == 4 and "does not exist" in done.stderr
    with pytest.raises(ClientError):
        functions.call(name, "x" * 2500)
    done = reload(reloaded, "")
    assert changes(done["applied"]) == {"limits.sync_payload": ("2000B", "6MiB")}


def test_what_needs_a_restart_is_named_each_time_and_holds_after_it(start_server):
    server = start_server("[server]\nregion = \"us-east-1\"\n")
    text = ("[server]\nregions = [\"eu-central-1\"]\ndrain_timeout = \"7s\"\n"
            "[instances]\nparked = 3\n")
    done = reload(server, text)
    waiting = {"server.regions": ("", "eu-central-1"), "instances.parked": ("64", "3")}
    assert changes(done["needs_restart"]) == waiting
    assert changes(done["applied"]) == {"server.drain_timeout": ("30s", "7s")}
    done = reload(server, text)
    assert changes(done["needs_restart"]) == waiting and done["applied"] == []
    people = server.cli("reload").stdout.splitlines()
    assert people == [
        f"needs restart server.regions: none → eu-central-1  ({server.folder}/freehold.toml:2)",
        f"needs restart instances.parked: 64 → 3  ({server.folder}/freehold.toml:5)"]
    server.restart()
    held = json.loads(server.cli("config", "show", "--json", "--endpoint", server.url).stdout)
    held = {row["key"]: row["running"]["value"] for row in held["keys"]}
    assert (held["server.regions"], held["instances.parked"]) == ("eu-central-1", "3")
    assert server.cli("reload").stdout == f"{server.folder}/freehold.toml: nothing has changed\n"


def test_environment_and_flags_stay_those_of_the_start(start_server, monkeypatch):
    monkeypatch.setenv("FREEHOLD_LIMITS_SYNC_PAYLOAD", "2000")
    server = start_server("", ["--set", "limits.memory_max=256MiB"])
    monkeypatch.delenv("FREEHOLD_LIMITS_SYNC_PAYLOAD")
    done = reload(server, "[limits]\nsync_payload = 3000\nmemory_max = \"512MiB\"\n")
    assert done["applied"] == done["needs_restart"] == []
    functions = Functions(server)
    name = functions.create(ECHO)
    with pytest.raises(ClientError):
        functions.call(name, "x" * 2500)
    with pytest.raises(ClientError):
        functions.create_response(MemorySize=512)


def test_a_signal_reloads_and_leaves_a_line_of_the_trail(reloaded):
    def lines():
        done = reloaded.cli("audit", "--json", "--action", "freehold:ReloadConfiguration")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def signalled(text):
        before = len(lines())
        write(reloaded, text)
        reloaded.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while len(lines()) == before and time.monotonic() < end:
            time.sleep(0.05)
        return lines()[before:]

    functions = Functions(reloaded)
    name = functions.create(ECHO)
    [line] = signalled("[limits]\nsync_payload = 1000\n")
    assert (line["Who"], line["Source"], line["Result"]) == ("signal", "SIGHUP", "ok")
    with pytest.raises(ClientError):
        functions.call(name, "x" * 1000)
    [line] = signalled("[limits]\nsync_payload = \"much\"\n")
    assert (line["Result"], line["Error"]) == ("failed", "ConfigurationInvalidException")
    with pytest.raises(ClientError):
        functions.call(name, "x" * 1000)
    assert 'limits.sync_payload is "much"' in reloaded.output().replace("\\", "")

    before = len(lines())
    reload(reloaded, "")
    [line] = lines()[before:]
    assert (line["Kind"], line["Result"], line["TenantId"]) == ("key", "ok", reloaded.account)
    # Showing it is none.
    reloaded.cli("config", "show", "--endpoint", reloaded.url)
    assert len(lines()) == before + 1


def minds_hangups(pid):
    """Whether SIGHUP is held or caught by the process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return bool((int(fields["SigBlk"], 16) | int(fields["SigCgt"], 16)) & 1)


def test_a_signal_during_the_start_ends_nothing_and_reloads(tmp_path):
    server = servers.Server("[limits]\nheader = \"16KiB\"\n")
    try:
        def hang_up():
            # Held or caught: before that it ends every process. It has read the file by then, or reads it now.
            end = time.monotonic() + 60
            while not (server.process and minds_hangups(server.process.pid)) and time.monotonic() < end:
                time.sleep(0.001)
            write(server, "[limits]\nheader = \"32KiB\"\n")
            server.process.send_signal(signal.SIGHUP)

        sender = threading.Thread(target=hang_up)
        sender.start()
        server.start()
        sender.join()

        def header():
            rows = json.loads(server.cli("config", "show", "--json", "--endpoint", server.url).stdout)
            [row] = [row for row in rows["keys"] if row["key"] == "limits.header"]
            return row["running"]["value"]

        end = time.monotonic() + 10
        while header() != "32KiB" and time.monotonic() < end:
            time.sleep(0.05)
        assert header() == "32KiB"
    finally:
        server.close()


def test_a_pipe_in_the_files_place_holds_up_nothing(reloaded):
    path = reloaded.folder / "freehold.toml"
    path.unlink()
    os.mkfifo(path)
    try:
        done = reloaded.cli("reload", check=False)
        assert done.returncode == 4 and "not a plain file" in done.stderr, done.stderr
    finally:
        path.unlink()
    assert changes(reload(reloaded, "[limits]\nsync_payload = 1000\n")["applied"])


def test_a_file_that_comes_after_the_start_is_missed_when_it_goes(start_server):
    server = start_server()
    path = server.data / "freehold.toml"
    assert server.cli("reload").returncode == 0
    path.write_text("[limits]\nheader = \"32KiB\"\n")
    try:
        assert "32KiB" in server.cli("reload").stdout
    finally:
        path.unlink()
    done = server.cli("reload", check=False)
    assert done.returncode == 4 and "does not exist" in done.stderr, done.stderr


def test_a_file_that_root_alone_reads_is_refused_with_the_reason(reloaded):
    if os.geteuid() != 0:
        pytest.skip("without root the server reads what its user reads")
    path = reloaded.folder / "freehold.toml"
    write(reloaded, "[limits]\nsync_payload = 1000\n")
    path.chmod(0o600)
    try:
        done = reloaded.cli("reload", check=False)
        assert done.returncode == 4 and "cannot be read" in done.stderr, done.stderr
    finally:
        path.chmod(0o644)
    assert changes(json.loads(reloaded.cli("reload", "--json").stdout)["applied"])


def test_reloads_at_once_and_under_load_come_one_after_the_other(reloaded):
    functions = Functions(reloaded)
    name = functions.create(ECHO)
    functions.call(name, 1)
    path, wrong, over = reloaded.folder / "freehold.toml", [], threading.Event()

    def call():
        client = Functions(reloaded)
        while not over.is_set():
            try:
                assert client.call(name, "x" * 900) == "x" * 900
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may have it
                wrong.append(repr(error))

    def flip(number):
        for _ in range(8):
            text = f"[limits]\nsync_payload = {10_000 + number}\nheader = \"{16 + number}KiB\"\n"
            # Whole, as editors write.
            new = path.with_suffix(f".{number}")
            new.write_text(text)
            new.rename(path)
            done = reloaded.cli("reload", "--json", check=False)
            if done.returncode != 0:
                wrong.append(done.stderr)
                continue
            now = {row["key"]: row["now"] for row in json.loads(done.stdout)["applied"]}
            # Both of one file, whoever wrote it.
            if now and not (int(now["limits.sync_payload"][:-1]) - 10_000
                            == int(now["limits.header"][:-3]) - 16):
                wrong.append(now)

    callers = [threading.Thread(target=call) for _ in range(3)]
    flippers = [threading.Thread(target=flip, args=(number,)) for number in range(4)]
    for thread in callers + flippers:
        thread.start()
    for thread in flippers:
        thread.join()
    over.set()
    for thread in callers:
        thread.join()
    assert wrong == []
    held = json.loads(reloaded.cli("config", "show", "--json", "--endpoint", reloaded.url).stdout)
    held = {row["key"]: row["running"]["value"] for row in held["keys"]}
    last = run("config", "show", "--json", "--data", reloaded.data, "--config", path)
    last = {row["key"]: row["value"] for row in json.loads(last.stdout)["keys"]}
    assert held["limits.header"] == last["limits.header"]
