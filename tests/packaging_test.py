"""What is shipped beside the binary: unit, configuration, package, rules, dashboard."""

import gzip
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest
import yaml

from support import server as servers
from support.http import send

ROOT = pathlib.Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
NUMBER = 2146000000
needs = {tool: pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not on this machine")
         for tool in ("dpkg-deb", "systemd-analyze", "useradd")}
# Of Debian's users not all have /usr/sbin in their path.
LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
needs["logrotate"] = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not on this machine")


# The configuration

def test_the_shipped_configuration_says_nothing_and_all_that_it_suggests_is_allowed(tmp_path):
    text = (PACKAGING / "freehold.toml").read_text()
    for name, content in (("as-it-is", text), ("all-taken", re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.M))):
        path = tmp_path / f"{name}.toml"
        path.write_text(content)
        done = subprocess.run([str(servers.binary()), "config", "show", "--json", "--data", str(tmp_path / "none"),
                               "--config", str(path)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        taken = [key["key"] for key in json.loads(done.stdout)["keys"] if key["origin"] != "default"]
        assert (taken == []) is (name == "as-it-is"), taken
    assert content.count("=") > 10 and "\n#" in content


# The unit

@needs["systemd-analyze"]
def test_systemd_takes_every_line_of_the_unit(tmp_path):
    unit = tmp_path / "freehold.service"
    text = (PACKAGING / "systemd/freehold.service").read_text()
    unit.write_text(text.replace("@BIN@", "/bin/true").replace("@DATA@", "/var/lib"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "SYSTEMD_OFFLINE": "1"})
    # Of other units of this machine it may say something too.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "freehold.service" in line]
    assert done.returncode == 0 and ours == [], done.stderr
    # 9.6 for a service without a line about it; what is still open is what sandboxes are made of.
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=56", str(unit)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-200:]
    unit.write_text(unit.read_text() + "[Service]\nProtectSystme=strict\n")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "SYSTEMD_OFFLINE": "1"})
    assert "ProtectSystme" in done.stderr


def test_the_service_manager_hears_when_it_serves_and_when_it_ends(start_server, monkeypatch, open_folder):
    path = open_folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        path.chmod(0o777)
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        server = start_server()
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert send(server.admin, "GET", "/readyz").status == 200
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
        manager.settimeout(60)
        assert server.stop() == 0
        assert manager.recv(4096).startswith(b"STOPPING=1\n")


# The log

class Rotation:
    """logrotate with the shipped file, for a log of ours in place of the one that it names."""

    def __init__(self, log, folder):
        text = (PACKAGING / "logrotate/freehold").read_text()
        assert text.count("/var/log/freehold.log") == 1
        self.log, self.config, self.state = log, folder / "logrotate", folder / "state"
        self.config.write_text(text.replace("/var/log/freehold.log", str(log)))
        # Others may not write to it, or it is not believed.
        self.config.chmod(0o644)

    def run(self, *arguments):
        done = subprocess.run([LOGROTATE, "--state", str(self.state), *arguments, str(self.config)],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "error" not in done.stderr, done.stderr

    def files(self):
        """What became of the log, newest first, as logrotate numbers it."""
        found = {path.name.removeprefix(self.log.name): path for path in self.log.parent.glob(f"{self.log.name}*")}
        return dict(sorted(found.items(), key=lambda one: int(re.sub(r"\D", "", one[0]) or 0)))

    def bytes(self, suffix=""):
        data = self.files()[suffix].read_bytes()
        return gzip.decompress(data) if suffix.endswith(".gz") else data


def marks(data):
    """The marks that lines of the log bear, in their order."""
    assert b"\0" not in data, "a hole"
    return [int(number) for number in re.findall(rb"/mark-(\d+)-end\b", data)]


@needs["logrotate"]
def test_the_log_is_rotated_below_a_server_that_goes_on_writing(start_server, monkeypatch, tmp_path):
    monkeypatch.setenv("FREEHOLD_LOG", "info,freehold_api=trace")
    server = start_server()
    rotation, sent = Rotation(server.log, tmp_path), 0

    def write(count):
        nonlocal sent
        for _ in range(count):
            send(server.url, "GET", f"/mark-{sent}-end")
            sent += 1
        # A request's line is written before its answer.
        return list(range(sent - count, sent))

    before = write(50)
    size = server.log.stat().st_size
    rotation.run("--force")
    assert list(rotation.files()) == ["", ".1"]
    assert marks(rotation.bytes(".1")) == before and server.log.stat().st_size == 0

    # The server writes where the file ends now, not where it ended: no hole, nothing twice.
    after = write(3)
    assert marks(rotation.bytes()) == after
    assert server.log.stat().st_size < size / 4 and server.log.stat().st_blocks * 512 <= 2 * size

    # While it writes, lines that come between copy and cut are lost, and no other, nor half of one.
    rotations, ended = 4, threading.Event()

    def go_on():
        while not ended.is_set():
            write(1)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for _ in range(rotations):
            time.sleep(0.5)
            rotation.run("--force")
    finally:
        ended.set()
        writer.join()
    last = write(1)
    files = list(rotation.files())
    assert files == ["", ".1", *(f".{n}.gz" for n in range(2, rotations + 2))]
    kept = [mark for suffix in reversed(files) for mark in marks(rotation.bytes(suffix))]
    assert kept == sorted(set(kept)) and kept[0] == 0 and kept[-1:] == last
    gaps = [(one, other) for one, other in itertools.pairwise(kept) if other != one + 1]
    assert len(gaps) <= rotations, gaps
    for suffix in files:
        for line in rotation.bytes(suffix).splitlines():
            assert re.match(rb"\S*\d{4}-\d\d-\d\dT", line) or b"/mark-" not in line, (suffix, line)
    assert server.stop() == 0


@needs["logrotate"]
def test_eight_logs_are_kept_and_one_that_is_too_large_does_not_wait_for_its_week(tmp_path):
    log = tmp_path / "freehold.log"
    rotation = Rotation(log, tmp_path)
    # A log that is not there, or empty, is no fault and is not rotated.
    rotation.run("--force")
    log.touch()
    rotation.run("--force")
    assert list(rotation.files()) == [""]
    for number in range(10):
        log.write_text(f"{number}\n")
        rotation.run("--force")
    assert list(rotation.files()) == ["", ".1", *(f".{n}.gz" for n in range(2, 9))]
    assert [rotation.bytes(suffix) for suffix in (".1", ".2.gz", ".8.gz")] == [b"9\n", b"8\n", b"2\n"]

    log.write_text("small\n")
    rotation.run()
    assert log.read_text() == "small\n", "it was rotated this week"
    os.truncate(log, (100 << 20) + 1)
    rotation.run()
    assert log.stat().st_size == 0 and rotation.files()[".1"].stat().st_size == (100 << 20) + 1


# The package

@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deb")
    done = subprocess.run([str(PACKAGING / "deb/build.sh"), str(servers.binary()), str(folder)],
                          capture_output=True, text=True, timeout=300, env={**os.environ, "DEB_LEVEL": "0"})
    assert done.returncode == 0, done.stderr
    path = pathlib.Path(done.stdout.strip())
    yield path
    path.unlink()


def field(package, name):
    return subprocess.run(["dpkg-deb", "--field", str(package), name], capture_output=True, text=True,
                          check=True).stdout.strip()


@needs["dpkg-deb"]
def test_the_package_says_what_it_needs(package):
    depends = field(package, "Depends")
    dynamic = b"ld-linux" in subprocess.run(["readelf", "-l", servers.binary()], capture_output=True).stdout
    assert bool(re.search(r"libc6 \(>= 2\.\d+\)", depends)) is dynamic, depends
    assert re.match(r"\d+\.\d+\.\d+", field(package, "Version"))
    listed = subprocess.run(["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert {row[1] for row in rows} == {"root/root"}
    modes = {row[5]: row[0] for row in rows}
    for path, mode in (("usr/bin/freehold", "-rwxr-xr-x"), ("etc/freehold/freehold.toml", "-rw-r--r--"),
                       ("usr/lib/systemd/system/freehold.service", "-rw-r--r--"),
                       ("usr/share/freehold/prometheus/freehold.rules.yml", "-rw-r--r--"),
                       ("usr/share/freehold/grafana/freehold.json", "-rw-r--r--"),
                       ("usr/share/doc/freehold/libraries", "-rw-r--r--")):
        assert modes[f"./{path}"] == mode, path


@needs["dpkg-deb"]
@needs["useradd"]
def test_the_package_comes_goes_and_is_purged(package, tmp_path):
    """Into a tree of its own: with DPKG_ROOT the scripts run here and start nothing."""
    root = tmp_path / "root"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc", "var/log"):
        (root / folder).mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "etc/group").write_text("root:x:0:\n")

    def dpkg(*arguments):
        done = subprocess.run(["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends",
                               "--force-confdef", "--force-confold", *map(str, arguments)],
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    dpkg("--install", package)
    data, config = root / "var/lib/freehold", root / "etc/freehold/freehold.toml"
    # Without a shadow file in the tree the second field is another.
    assert re.search(rf"^freehold:.:{NUMBER}:{NUMBER}:", (root / "etc/passwd").read_text(), re.M)
    assert re.search(rf"^freehold:.:{NUMBER}:", (root / "etc/group").read_text(), re.M)
    assert os.readlink(data / "freehold.toml") == "/etc/freehold/freehold.toml"
    unit = (root / "usr/lib/systemd/system/freehold.service").read_text()
    assert "\nExecStart=/usr/bin/freehold serve --data /var/lib/freehold\n" in unit and "@BIN@" not in unit
    said = subprocess.run([str(root / "usr/bin/freehold"), "--version"], capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout.startswith("freehold "), said.stderr

    # What the operator wrote outlives an upgrade, and both outlive a removal.
    config.write_text("[limits]\naccount_concurrency = 7\n")
    (data / "store").mkdir()
    (data / "store/meta.db").write_text("data")
    (data / "diary").write_text("mine")
    dpkg("--install", package)
    dpkg("--remove", "freehold")
    assert not (root / "usr/bin/freehold").exists()
    assert config.read_text() == "[limits]\naccount_concurrency = 7\n"
    assert (data / "store/meta.db").read_text() == "data"

    assert "has something of yours in it" in dpkg("--purge", "freehold")
    assert [path.name for path in data.iterdir()] == ["diary"]
    assert not config.parent.exists()
    assert "freehold" not in (root / "etc/passwd").read_text() + (root / "etc/group").read_text()

    # A configuration that was in the data folder before the package came stays the server's.
    (data / "freehold.toml").write_text("[limits]\naccount_concurrency = 9\n")
    assert "which is yours" in dpkg("--install", package)
    assert (data / "freehold.toml").read_text() == "[limits]\naccount_concurrency = 9\n"
    dpkg("--purge", "freehold")
    shutil.rmtree(root)


@needs["dpkg-deb"]
def test_the_same_binary_gives_the_same_package(package, tmp_path):
    time.sleep(1.1)
    again = subprocess.run([str(PACKAGING / "deb/build.sh"), str(servers.binary()), str(tmp_path)],
                           capture_output=True, text=True, timeout=300, check=True,
                           env={**os.environ, "DEB_LEVEL": "0"}).stdout.strip()
    same = pathlib.Path(again).read_bytes() == package.read_bytes()
    pathlib.Path(again).unlink()
    assert same


# Rules and dashboard

def expressions():
    """Every expression with where it stands, and the names that rules record."""
    rules = yaml.safe_load((PACKAGING / "prometheus/freehold.rules.yml").read_text())
    all_rules = [rule for group in rules["groups"] for rule in group["rules"]]
    found = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in all_rules]
    dashboard = json.loads((PACKAGING / "grafana/freehold.json").read_text())
    for panel in dashboard["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found.append((variable["name"], variable["query"]["query"]))
    return found, {rule["record"] for rule in all_rules if "record" in rule}


def test_every_metric_that_rules_and_dashboard_name_is_exported(server):
    text = send(server.admin, "GET", "/metrics").text
    series = {}
    for line in text.splitlines():
        match = re.match(r"([a-zA-Z_:]+)(?:\{(.*)\})? ", line)
        if match and not line.startswith("#"):
            series.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")))
    found, recorded = expressions()
    assert len(found) > 40 and len(recorded) >= 3
    named = set()
    for where, expression in found:
        for name, labels in re.findall(r"\b(freehold[a-z0-9_:]*)(?:\{([^}]*)\})?", expression):
            if name in recorded or name == "freehold":
                continue
            named.add(name)
            assert name in series, f"{where}: no node exports {name}"
            for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', labels):
                if label in ("job", "instance"):
                    continue
                known = {one.get(label) for one in series[name]}
                assert set(value.split("|")) <= known, f"{where}: {name} has no {label} {value}, but {known}"
        for name in re.findall(r"\bfreehold:[a-z0-9_:]+", expression):
            assert name in recorded, f"{where}: nothing records {name}"
    assert len(named) > 25, named


def test_alerts_say_what_to_do():
    rules = yaml.safe_load((PACKAGING / "prometheus/freehold.rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 10
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule["alert"]
