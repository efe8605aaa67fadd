"""Finds the interpreters that the bootstraps are tested with. A language without one says so as a skip."""
import atexit
import copy
import functools
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
RUNTIMES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "runtimes")
# One suite for both: what a function sees does not depend on how the platform speaks to its runtime.
TRANSPORTS = ("runtime-api", "frames")
# What the manifest of the bootstrap's jar opens.
OPENED = ["--add-opens", "java.base/java.io=ALL-UNNAMED", "--add-opens", "java.base/java.util=ALL-UNNAMED", "--add-opens", "java.base/java.nio=ALL-UNNAMED"]


class Runtime(object):
    transport = "runtime-api"

    def __init__(self, name, argv, env=None, version=()):
        self.name, self._argv, self.env, self.version = name, argv, env or {}, version

    def over(self, transport):
        """The same runtime, spoken to in another way."""
        other = copy.copy(self)
        other.transport = transport
        return other

    def like(self, argv):
        """The same runtime, started by another command."""
        other = copy.copy(self)
        other._argv = argv
        return other

    def argv(self, task):
        parts = (part.replace("{task}", task) for part in self._argv)
        return [part.replace("{modules}", modules_of(self._argv[0])) if "{modules}" in part else part for part in parts]

    def __repr__(self):
        return "%s-%s" % (self.name, self.transport)


def ask(*argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20).stdout.decode().strip()
    except OSError:
        return ""


@functools.cache
def modules_of(interpreter):
    """Our modules as the catalog lays them out for this interpreter: with their bytecode, which no start then makes anew."""
    top = tempfile.mkdtemp(prefix="freehold-test-modules-")
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    folder = os.path.join(top, "runtimes", "python")
    shutil.copytree(os.path.join(RUNTIMES, "python"), folder)
    subprocess.run([interpreter, "-I", "-S", "-m", "compileall", "-q", os.path.join(folder, "freehold_runtime")], check=True, timeout=60)
    return folder


@functools.cache
def pythons():
    found = {}
    candidates = glob.glob("/usr/bin/python3.*") + glob.glob("/usr/local/bin/python3.*")
    candidates += glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))
    for path in sorted(candidates):
        answer = ask(path, "-I", "-S", "-c", "import sys; print('%d %d' % sys.version_info[:2])").split()
        if len(answer) == 2 and answer[0] == "3" and int(answer[1]) >= 6:
            version = (3, int(answer[1]))
            entry = os.path.join("{modules}", "bootstrap.py")
            found.setdefault(version, Runtime("python3.%d" % version[1], [path, "-S", "-u", entry], version=version))
    return [found[version] for version in sorted(found)]


@functools.cache
def nodes():
    path = shutil.which("node")
    version = ask(path, "--version") if path else ""
    if not version.startswith("v") or int(version[1:].split(".")[0]) < 16:
        return []
    return [Runtime("nodejs" + version[1:].split(".")[0], [path, os.path.join(RUNTIMES, "nodejs", "index.js")])]


@functools.cache
def javas():
    found = []
    for home in sorted(glob.glob("/usr/lib/jvm/*")) + [os.environ.get("JAVA_HOME", "")]:
        home = os.path.realpath(home)
        release = os.path.join(home, "release")
        if not os.path.isfile(release) or not os.path.isfile(os.path.join(home, "bin", "javac")):
            continue
        version = next((line.split('"')[1] for line in open(release) if line.startswith("JAVA_VERSION=")), "0")
        major = int(version.split(".")[0])
        if major >= 17 and all(runtime.name != "java%d" % major for runtime in found):
            argv = [os.path.join(home, "bin", "java"), "-Xmx80m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *OPENED, "-cp", "{classes}", "freehold.Bootstrap"]
            runtime = Runtime("java%d" % major, argv, version=(major,))
            runtime.home = home
            found.append(runtime)
    return found


def parametrize(metafunc, fixture, found):
    if fixture in metafunc.fixturenames:
        found = [runtime.over(transport) for runtime in found for transport in TRANSPORTS]
        missing = [pytest.param(None, marks=pytest.mark.skip(reason="no interpreter for %s on this machine" % fixture))]
        metafunc.parametrize(fixture, found or missing, ids=str)


def pytest_generate_tests(metafunc):
    for fixture, find in (("python", pythons), ("node", nodes), ("java", javas)):
        if fixture in metafunc.fixturenames:
            parametrize(metafunc, fixture, find())
