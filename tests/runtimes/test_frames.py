"""What frames add to the Runtime API: booting ahead, rehearsing, start images, and a line that stays the runtime's own."""
import glob
import json
import os
import shutil
import subprocess
import tempfile

import frames
import pytest
from conftest import RUNTIMES
from runtime_api import WAIT_S, Function


class Booted(object):
    """A process that was executed before it is known for whom."""

    def __init__(self, runtime, environ=None, suffix=".py", stdout=None):
        self.suffix = suffix
        if runtime.transport != "frames":
            pytest.skip("only over frames")
        self.line = frames.Frames()
        environ = dict({"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}, **environ or {})
        how = self.line.dress(environ)
        self.line.host.settimeout(WAIT_S)
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(runtime.argv("/"), env=environ, cwd="/", stdin=subprocess.DEVNULL, stdout=stdout, **how)
        self.line.guest.close()

    def ask(self, kind, flags=0):
        """What it answers: kind, text's length, the rest."""
        self.line.say(kind, flags=flags)
        return self.heard()

    def heard(self):
        kind, self.flags, text, rest = self.line.read()
        return kind, text, rest

    def package(self, **files):
        for name, text in files.items():
            with open(os.path.join(self.folder.name, name + self.suffix), "w") as out:
                out.write(text)

    def tell(self, kind, **environ):
        environ = dict({"LAMBDA_TASK_ROOT": self.folder.name, "_HANDLER": "app.handler"}, **environ)
        self.line.open(kind, environ)
        return self.heard()

    def call(self, number, event=None):
        answer = self.answer(number, event)
        assert answer["path"].endswith("/response"), answer
        return json.loads(answer["body"].decode())

    def answer(self, number, event=None):
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-%012d" % number,
            "Lambda-Runtime-Deadline-Ms": "0",
            "Lambda-Runtime-Invoked-Function-Arn": "arn",
            "Lambda-Runtime-Trace-Id": "Root=1",
        }
        if not self.line.threads:
            self.line.serve()
        self.line.events.put((headers, json.dumps(event).encode()))
        return self.line.answers.get(timeout=WAIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.line.close()
        self.folder.cleanup()


HELLO, READY = (frames.HELLO, 1, b""), (frames.READY, 1, b"")


def test_booted_ahead_it_becomes_whatever_it_is_told(python):
    with Booted(python) as b:
        assert b.ask(frames.GREET) == HELLO
        assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
        b.package(app="import os, sys\nWHERE = os.getcwd()\ndef handler(e, c): return [WHERE, sys.path[0], os.environ['X'], os.popen('echo $X').read(), c.function_name, os.environ.get('_X_AMZN_TRACE_ID'), '_FREEHOLD_FRAMES' in os.environ, 'json' in sys.modules]")
        assert b.tell(frames.BEGIN, X="a=b", AWS_LAMBDA_FUNCTION_NAME="fn") == READY
        where = os.path.realpath(b.folder.name)
        assert b.call(1) == [where, b.folder.name, "a=b", "a=b\n", "fn", "Root=1", False, False]


def test_a_rehearsal_leaves_nothing_that_a_function_sees(python):
    app = (
        "import os, sys\n"
        "def handler(e, c):\n"
        "    import logging\n"
        "    root = logging.getLogger()\n"
        "    return [sorted(os.environ), sorted(sys.modules), sys.path, sorted(sys.path_importer_cache),"
        " [type(h).__name__ for h in root.handlers], root.level, logging.Formatter.converter.__name__,"
        " sorted(os.popen('env').read().split('\\n'))]\n"
    )
    seen = []
    for times, is_prepared in ((0, False), (3, False), (1, True)):
        with Booted(python) as b:
            assert b.ask(frames.GREET) == HELLO
            for _ in range(times):
                assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
            if is_prepared:
                assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
            b.package(app=app)
            assert b.tell(frames.BEGIN) == READY
            folder = b.folder.name
            seen.append(json.loads(json.dumps(b.call(1)).replace(folder, "TASK")))
    plain = seen.pop(0)
    for rehearsed in seen:
        rehearsed[3] = [entry for entry in rehearsed[3] if "freehold_runtime" not in entry]
        plain[3] = [entry for entry in plain[3] if "freehold_runtime" not in entry]
        assert rehearsed == plain


OURS = {
    "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000000",
    "Lambda-Runtime-Deadline-Ms": "0",
    "Lambda-Runtime-Invoked-Function-Arn": "arn",
    "Lambda-Runtime-Trace-Id": "Root=ours",
}


def test_an_event_of_the_platforms_is_answered_and_the_function_does_not_hear_of_it(python):
    app = (
        "import logging, os, sys\n"
        "CALLS, ASKED = [], []\n"
        "class Finder(object):\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        ASKED.append(name)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "def handler(e, c):\n"
        "    CALLS.append(c.aws_request_id)\n"
        "    return [CALLS, ASKED, sorted(os.environ), sorted(sys.modules),\n"
        "            'ours' in os.popen('env').read() or 'ours' in os.environ['_X_AMZN_TRACE_ID']]\n"
    )
    seen = []
    for is_ahead in (True, False):
        for times in (0, 1, 3):
            with Booted(python, environ=None if is_ahead else {"_HANDLER": "app.handler"}, stdout=subprocess.PIPE) as b:
                if is_ahead:
                    assert b.ask(frames.GREET) == HELLO
                b.package(app=app)
                assert b.tell(frames.BEGIN) == READY
                assert b.flags == frames.TRIES
                for _ in range(times):
                    b.line.say(frames.TRY, frames.event(OURS, b'{"a": [1, 2.5, null, "\\u00e9"]}'))
                    kind, text, rest = b.heard()
                    assert (kind, b.flags, rest[:36].decode()) == (frames.ANSWER, 0, OURS["Lambda-Runtime-Aws-Request-Id"])
                    assert json.loads(rest[36 + text :].decode()) == {"a": [1, 2.5, None, "\u00e9"]}
                answer = b.call(7)
                assert answer[0] == ["00000000-0000-4000-8000-000000000007"]
                assert answer[4] is False
                seen.append((is_ahead, answer))
                b.process.kill()
                assert b.process.stdout.read() == b""
    for is_ahead, answer in seen:
        assert answer == next(first for ahead, first in seen if ahead == is_ahead)


def test_what_is_made_after_an_image_was_prepared_lies_side_by_side(python):
    # Sizes for which an interpreter that has just imported its modules has holes.
    app = (
        "SIZES = range(64, 496, 16)\n"
        "MADE = [[bytes(size) for _ in range(4)] for size in SIZES]\n"
        "def handler(e, c):\n"
        "    apart = [[abs(id(a) - id(b)) for a, b in zip(made, made[1:])] for made in MADE]\n"
        "    return sum(max(gaps) < 4096 for gaps in apart), len(MADE)\n"
    )
    close = []
    for is_prepared in (False, True):
        with Booted(python) as b:
            b.package(app=app)
            if is_prepared:
                assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
            assert b.tell(frames.BEGIN) == READY
            together, kinds = b.call(1)
            close.append(together)
    assert close[1] >= kinds - 3, close


def test_what_was_imported_ahead_does_not_stand_before_the_functions_own(python):
    with Booted(python) as b:
        assert b.ask(frames.GREET) == HELLO
        b.package(app="import logging, random\ndef handler(e, c): return [logging.mine, random.mine]", logging="mine = 7", random="mine = 8")
        assert b.tell(frames.BEGIN) == READY
        # They have nothing of what the platform renews in the others.
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME) == READY
        assert b.call(1) == [7, 8]


def test_init_errors_end_one_that_was_booted_ahead(python):
    with Booted(python) as b:
        b.package(app="import absent")
        kind, text, rest = b.tell(frames.BEGIN)
        assert (kind, rest[:text]) == (frames.INIT_ERROR, b"Runtime.ImportModuleError")
        assert b.process.wait(WAIT_S) == 1


def test_random_state_is_its_own_from_begin_and_resume_on(python):
    with Booted(python, {"_FREEHOLD_PRELOAD": "uuid,tempfile,absent"}) as b:
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        state = "import random, uuid, tempfile\nrandom.seed(1)\nnext(tempfile._get_candidate_names())\nSEEDED = random.Random(1).random()\nNAMES = tempfile._name_sequence\nNODE = uuid.uuid1().node\n"
        b.package(app=state + "def handler(e, c): return [random.random() == SEEDED, tempfile._name_sequence is NAMES, uuid.uuid1().node == NODE]")
        assert b.tell(frames.BEGIN) == READY
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME) == READY
        assert b.call(1) == [False, False, False]


SDK = {
    "botocore/__init__.py": "import string, sched, multiprocessing.process\ntry:\n    import certifi\nexcept ImportError:\n    certifi = None\nWHERE = 'sdk'\n",
    "boto3/__init__.py": "import botocore, os\nSEEN = os.environ.get('X')\n",
    "six.py": "",
}
USES = "import boto3, botocore, sched\ndef handler(e, c): return [botocore.WHERE, botocore.certifi is None, boto3.SEEN, hasattr(sched, 'mine')]"


def write(folder, files):
    for name, text in files.items():
        path = os.path.join(str(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)


@pytest.mark.parametrize("ahead", ["libraries", "", None])
def test_who_imports_the_runtimes_libraries_says_so(python, ahead, tmp_path):
    write(tmp_path, SDK)
    environ = {"PYTHONPATH": str(tmp_path)}
    environ.update({"_HANDLER": "app.handler"} if ahead is None else {"_FREEHOLD_PRELOAD": ahead})
    for files, uses in (
        ({}, 1),
        ({"botocore/__init__.py": "WHERE, certifi = 'mine', None"}, 0),
        # One that nobody imports, and one where it may search with a later event.
        ({"urllib3/__init__.py": ""}, 1),
        ({"vendor/more/boto3/__init__.py": ""}, 1),
        ({"searches.py": "import sys\nsys.path.append('/elsewhere')\n"}, 1),
    ):
        with Booted(python, environ) as b:
            b.package(app=("import searches\n" if "searches.py" in files else "") + USES)
            write(b.folder.name, files)
            assert b.tell(frames.BEGIN, X="told") == READY
            assert b.flags == frames.TRIES | uses, files
            assert b.call(1)[0] == ("mine" if "botocore/__init__.py" in files else "sdk")
        with Booted(python, environ) as b:
            b.package(app="def handler(e, c): pass")
            assert b.tell(frames.BEGIN) == READY
            # One that was booted with them has not said that they are another's.
            assert b.flags == frames.TRIES | (1 if ahead == "libraries" else 0)


def test_libraries_imported_ahead_are_those_that_a_plain_start_would_have(python, tmp_path):
    write(tmp_path, SDK)
    environ = {"PYTHONPATH": str(tmp_path), "_FREEHOLD_PRELOAD": "libraries", "X": "nobody's"}
    for files, uses, answer in (
        ({}, 1, ["sdk", True, "nobody's", False]),
        # Of what they import, or look for in vain, the function's own is what they would have got.
        ({"sched.py": "mine = True"}, 0, ["sdk", True, "told", True]),
        ({"certifi/__init__.py": ""}, 0, ["sdk", False, "told", False]),
    ):
        with Booted(python, environ) as b:
            assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
            b.package(app=USES)
            write(b.folder.name, files)
            assert b.tell(frames.BEGIN, X="told") == READY
            assert b.flags == frames.TRIES | uses, files
            assert b.call(1) == answer


def test_what_a_module_made_as_it_was_imported_is_made_anew_with_begin(python, tmp_path):
    now = "import logging, multiprocessing.process, threading\ndef now(): return [bytes(multiprocessing.current_process().authkey).hex(), logging._startTime]\n"
    write(tmp_path, {"before.py": now + "WAS = now()\nthreading.main_thread()._native_id = -1\n"})
    with Booted(python, {"PYTHONPATH": str(tmp_path), "_FREEHOLD_PRELOAD": "before"}) as b:
        b.package(app="import before, threading\ndef handler(e, c): return [before.WAS, before.now(), getattr(threading.main_thread(), 'native_id', None)]")
        assert b.tell(frames.BEGIN) == READY
        (key_was, started_was), (key, started), native_id = b.call(1)
        assert key_was != key and started_was < started
        assert native_id in (None, b.process.pid)


def test_hooks_run_before_and_after_in_lambdas_order(python):
    code = """
import os
from snapshot_restore_py import register_before_snapshot, register_after_restore
SEEN = []
register_before_snapshot(SEEN.append, 'before 1')
register_before_snapshot(SEEN.append, 'before 2')
register_after_restore(lambda: SEEN.append('after 1 ' + os.environ['K']))
register_after_restore(SEEN.append, 'after 2')
def handler(e, c): return SEEN + [c.log_stream_name]
"""
    with Booted(python) as b:
        b.package(app=code)
        assert b.tell(frames.BEGIN, K="old", AWS_LAMBDA_LOG_STREAM_NAME="a") == READY
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME, K="new", AWS_LAMBDA_LOG_STREAM_NAME="b") == READY
        assert b.call(1) == ["before 2", "before 1", "after 1 new", "after 2", "b"]


def test_hooks_that_fail_say_so_and_end_the_process(python):
    code = "from snapshot_restore_py import *\ndef bad(): raise KeyError('k')\nregister_%s(bad)\ndef handler(e, c): pass"
    for when, error_type, exit_code in (("before_snapshot", b"Runtime.BeforeSnapshotError", 64), ("after_restore", b"Runtime.AfterRestoreError", 65)):
        with Booted(python) as b:
            b.package(app=code % when)
            assert b.tell(frames.BEGIN) == READY
            kind, text, rest = b.ask(frames.PREPARE)
            if when == "after_restore":
                assert kind == frames.PREPARED
                kind, text, rest = b.tell(frames.RESUME)
            assert (kind, rest[:text]) == (frames.INIT_ERROR, error_type)
            assert json.loads(rest[text:].decode())["errorType"] == "KeyError"
            assert b.process.wait(WAIT_S) == exit_code


def test_what_an_image_cannot_carry_is_named_and_the_process_goes_on(python):
    for code, says in (
        ("import threading\nthreading.Thread(target=threading.Event().wait, name='worker', daemon=True).start()", b"2 threads (worker)"),
        ("import socket\ns = socket.socket()", b"is socket:["),
        ("f = open('/tmp/' + str(id(object())), 'w')\nimport os\nos.unlink(f.name)", b"is /tmp/"),
        ("import os\nif os.fork() == 0:\n    import time; time.sleep(600)", b"child processes "),
    ):
        with Booted(python) as b:
            b.package(app=code + "\ndef handler(e, c): return 'goes on'")
            assert b.tell(frames.BEGIN) == READY
            kind, _, reason = b.ask(frames.PREPARE)
            assert (kind, says in reason) == (frames.UNFIT, True), reason
            assert b.tell(frames.RESUME) == READY
            assert b.call(1) == "goes on"
            subprocess.run(["pkill", "-P", str(b.process.pid)])


def test_credentials_of_init_become_those_of_the_instance(python):
    library = """
class Credentials(object):
    def __init__(self, access_key, secret_key, token):
        self.access_key, self.secret_key, self.token = access_key, secret_key, token
"""
    code = """
import os, sys, credentials
sys.modules['botocore.credentials'] = credentials
of = lambda prefix: credentials.Credentials(*(os.environ[n] for n in (prefix + 'AWS_ACCESS_KEY_ID', prefix + 'AWS_SECRET_ACCESS_KEY', prefix + 'AWS_SESSION_TOKEN')))
MINE, OTHER = of(''), credentials.Credentials('other', 'o', 'o')
def handler(e, c): return [vars(MINE), OTHER.access_key]
"""
    with Booted(python) as b:
        b.package(app=code, credentials=library)
        assert b.tell(frames.BEGIN, AWS_ACCESS_KEY_ID="k1", AWS_SECRET_ACCESS_KEY="s1", AWS_SESSION_TOKEN="t1") == READY
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME, AWS_ACCESS_KEY_ID="k2", AWS_SECRET_ACCESS_KEY="s2", AWS_SESSION_TOKEN="t2") == READY
        assert b.call(1) == [{"access_key": "k2", "secret_key": "s2", "token": "t2"}, "other"]


def test_credentials_that_init_asked_for_are_asked_for_anew(python):
    """As botocore keeps them, of now and with the header of before 1.33."""
    library = """
import datetime
class Credentials(object): pass
class RefreshableCredentials(Credentials):
    def __init__(self, method, refresh):
        self.method, self._access_key, self._refresh_using = method, 'k1', refresh
        self._expiry_time = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)
"""
    code = """
import os, sys, credentials
sys.modules['botocore.credentials'] = credentials
def provider(headers): return lambda: headers['Authorization']
TOKEN = 'AWS_CONTAINER_AUTHORIZATION_TOKEN'
NEW = credentials.RefreshableCredentials('container-role', lambda: os.environ[TOKEN])
OLD = credentials.RefreshableCredentials('container-role', provider({'Authorization': os.environ[TOKEN]}))
OTHER = credentials.RefreshableCredentials('assume-role', provider({'Authorization': 'other'}))
def handler(e, c): return [[one._expiry_time.year, one._refresh_using()] for one in (NEW, OLD, OTHER)]
"""
    with Booted(python) as b:
        b.package(app=code, credentials=library)
        assert b.tell(frames.BEGIN, AWS_CONTAINER_AUTHORIZATION_TOKEN="t1") == READY
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME, AWS_CONTAINER_AUTHORIZATION_TOKEN="t2") == READY
        assert b.call(1) == [[1970, "t2"], [1970, "t2"], [2099, "other"]]


def test_what_init_did_to_its_variables_outlives_a_restore(python):
    code = """
import os
os.environ['PASSWORD'] = os.environ['PASSWORD'].upper()
del os.environ['GONE']
def handler(e, c): return [os.environ.get(n) for n in ('PASSWORD', 'GONE', 'SET')]
"""
    with Booted(python) as b:
        b.package(app=code)
        assert b.tell(frames.BEGIN, PASSWORD="sealed", GONE="1", SET="a") == READY
        for given in ("b", "c"):
            assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
            assert b.tell(frames.RESUME, PASSWORD="sealed", GONE="1", SET=given) == READY
        assert b.call(1) == ["SEALED", None, "c"]


def test_a_heap_of_proxies_can_be_carried(python):
    library = "class Credentials(object): pass"
    code = """
import sys, weakref, credentials
sys.modules['botocore.credentials'] = credentials
class Thing(object): pass
class Lazy(object):
    @property
    def __class__(self): raise RuntimeError('not configured yet')
DEAD, LAZY = weakref.proxy(Thing()), Lazy()
LAZY.me = LAZY
def handler(e, c): return 'fine'
"""
    with Booted(python) as b:
        b.package(app=code, credentials=library)
        assert b.tell(frames.BEGIN) == READY
        assert b.ask(frames.PREPARE) == (frames.PREPARED, 0, b"")
        assert b.tell(frames.RESUME) == READY
        assert b.call(1) == "fine"


def test_node_booted_ahead_becomes_whatever_it_is_told(node):
    with Booted(node, suffix=".js") as b:
        assert b.ask(frames.GREET) == HELLO
        assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
        b.package(app="const where = process.cwd(); exports.handler = async (e, c) => [where, process.env.X, require('child_process').execSync('echo $X').toString(), c.functionName, '_FREEHOLD_FRAMES' in process.env, process.env._X_AMZN_TRACE_ID];")
        assert b.tell(frames.BEGIN, X="a=b", AWS_LAMBDA_FUNCTION_NAME="fn") == READY
        kind, _, reason = b.ask(frames.PREPARE)
        assert kind == frames.UNFIT and b"threads" in reason
        assert b.tell(frames.RESUME, X="c") == READY
        assert b.call(1) == [os.path.realpath(b.folder.name), "c", "c\n", "fn", False, "Root=1"]


# What a rehearsal could leave behind: variables, globals, modules, methods of the console, output.
TRACES = """
const seen = () => [Object.keys(globalThis), Reflect.ownKeys(globalThis).map(String).filter((k) => k.includes('aws')), Object.keys(process.env).filter((k) => k.includes('AMZN') || k.includes('TELEMETRY') || k.includes('REHEARS')), process.env.WHO, process.cwd() === process.env.LAMBDA_TASK_ROOT, Object.keys(console).length,
  Object.keys(require.cache).filter((k) => k.includes('rehears')).map((k) => require('path').basename(k)), module.parent.children.length];
exports.handler = async () => seen();
"""


def test_a_rehearsal_of_node_leaves_no_trace(node):
    def seen(rehearses):
        with tempfile.TemporaryFile() as printed, Booted(node, {"_LAMBDA_TELEMETRY_LOG_FD": "1", "WHO": "me"}, suffix=".js", stdout=printed) as b:
            assert b.ask(frames.GREET) == HELLO
            for _ in range(2 if rehearses else 0):
                assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
            b.package(app=TRACES)
            assert b.tell(frames.BEGIN) == READY
            found = b.call(1)
            printed.seek(0)
            return found, printed.read()
    (plain, nothing), (rehearsed, printed) = seen(False), seen(True)
    # The module itself stays, and it is not the function's.
    assert rehearsed.pop(6) == ["rehearsal.js"] and plain.pop(6) == []
    assert (rehearsed, printed) == (plain, nothing)


def test_a_rehearsal_of_node_is_of_the_real_thing(node):
    """What was loaded for it is found by neither kind of loader in the function that comes."""
    with Booted(node, suffix=".mjs") as b:
        assert b.ask(frames.GREET) == HELLO
        assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
        b.package(app="import { of } from './part.mjs';\nexport const handler = async () => of();", part="export const of = () => 'mine';")
        assert b.tell(frames.BEGIN) == READY
        assert b.call(1) == "mine"


def test_what_fails_to_load_in_a_rehearsed_node_is_told(node):
    for rehearses in (False, True):
        with Booted(node, suffix=".js") as b:
            assert b.ask(frames.GREET) == HELLO
            if rehearses:
                assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
            b.package(app="require('./absent.js')")
            kind, text, rest = b.tell(frames.BEGIN)
            assert (kind, rest[:text]) == (frames.INIT_ERROR, b"Runtime.ImportModuleError")
            assert b.process.wait(WAIT_S) == 129


JAVA = """
import java.io.*; import java.nio.file.*;
public class app {
    public Object traces(Object event) throws Exception {
        ClassLoader own = Thread.currentThread().getContextClassLoader();
        Object known;
        try { known = own.loadClass("rehearsed.Hello"); } catch (ClassNotFoundException e) { known = "none"; }
        return new Object[] {own == app.class.getClassLoader(), known.toString(), System.getProperty("com.amazonaws.xray.traceHeader"), System.getenv("WHO"), Files.list(Path.of("/proc/self/fd")).map(f -> { try { return f.toRealPath().toString(); } catch (IOException e) { return ""; } }).anyMatch(f -> f.contains("interfaces.jar"))};
    }
    public Object handler(Object event) throws Exception {
        Process child = new ProcessBuilder("/bin/sh", "-c", "echo $X; pwd").start();
        String said = new String(child.getInputStream().readAllBytes());
        String read = Files.readString(Path.of("file")) + new BufferedReader(new FileReader("file")).readLine();
        return new Object[] {System.getenv("X"), said, read, new File("file").getAbsolutePath(), Path.of("file").toAbsolutePath().toString()};
    }
}
"""


@pytest.fixture(scope="module")
def java_built(tmp_path_factory):
    """What the catalog makes of the sources, once for a JDK."""
    made = {}

    def build(java):
        if java.transport != "frames" or shutil.which("rustc") is None:
            pytest.skip("only over frames, and with a compiler for the native part")
        if java.name not in made:
            folder = tmp_path_factory.mktemp("java")
            sources = os.path.join(RUNTIMES, "java")
            javac = [os.path.join(java.home, "bin", "javac"), "--release", "17", "-nowarn", "-d"]
            for name, to in (("src", "classes"), ("rehearsal", "rehearsal")):
                subprocess.run(javac + [str(folder / to)] + glob.glob(os.path.join(sources, name, "**", "*.java"), recursive=True), check=True)
            (folder / "rehearsal" / "lib").mkdir()
            jar = [os.path.join(java.home, "bin", "jar"), "--create", "--file", "lib/interfaces.jar", "com"]
            subprocess.run(jar, cwd=str(folder / "rehearsal"), check=True)
            shutil.rmtree(str(folder / "rehearsal" / "com"))
            native = str(folder / "native.so")
            rustc = ["rustc", "--edition=2024", "--crate-type=cdylib", "--crate-name=n", "-Cpanic=abort", "-o", native]
            subprocess.run(rustc + [os.path.join(sources, "native.rs")], check=True)
            made[java.name] = folder, javac
        return made[java.name]

    return build


def java_booted(java, built, folder, **how):
    os.chmod(folder, 0o755)
    options = ["-Dfreehold.native=%s/native.so" % built, "-Dfreehold.rehearsal=%s/rehearsal" % built, "-Duser.dir=" + folder]
    argv = [part.replace("{classes}", str(built / "classes")) for part in java._argv]
    return Booted(java.like(argv[:1] + options + argv[1:]), **how)


def test_java_booted_ahead_becomes_whatever_it_is_told(java, java_built):
    built, javac = java_built(java)
    with tempfile.TemporaryDirectory() as folder, java_booted(java, built, folder) as b:
        assert b.ask(frames.GREET) == HELLO
        assert b.ask(frames.REHEARSE) == (frames.REHEARSED, 0, b"")
        with open(os.path.join(folder, "app.java"), "w") as out:
            out.write(JAVA)
        subprocess.run(javac + [folder, os.path.join(folder, "app.java")], check=True)
        with open(os.path.join(folder, "file"), "w") as out:
            out.write("text")
        assert b.tell(frames.BEGIN, LAMBDA_TASK_ROOT=folder, _HANDLER="app::handler", X="a=b") == READY
        kind, _, reason = b.ask(frames.PREPARE)
        assert kind == frames.UNFIT and b"threads" in reason
        assert b.tell(frames.RESUME, X="c") == READY
        file = os.path.join(folder, "file")
        assert b.call(1) == ["c", "c\n%s\n" % folder, "texttext", file, file]


def test_a_rehearsal_of_java_leaves_no_trace(java, java_built):
    built, javac = java_built(java)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed, java_booted(java, built, folder, environ={"WHO": "me"}, stdout=printed) as b:
        assert b.ask(frames.GREET) == HELLO
        # Briefly, and the rest when there is time.
        for flags in (1, 0, 0):
            assert b.ask(frames.REHEARSE, flags) == (frames.REHEARSED, 0, b"")
            assert b.flags == flags
        with open(os.path.join(folder, "app.java"), "w") as out:
            out.write(JAVA)
        subprocess.run(javac + [folder, os.path.join(folder, "app.java")], check=True)
        assert b.tell(frames.BEGIN, LAMBDA_TASK_ROOT=folder, _HANDLER="app::traces") == READY
        assert b.call(1) == [True, "none", "Root=1", "me", False]
        printed.seek(0)
        assert printed.read() == b""


def test_node_without_its_line_ends(node):
    code = "const cp = require('child_process'); exports.handler = async (e) => { if (e) require('fs').closeSync(3); return cp.execSync('ls -l /proc/self/fd | grep -c socket:; true', { stdio: ['ignore', 'pipe', 'ignore'] }).toString(); };"
    with function(node, code, "index.js", "index.handler") as f:
        assert f.call() == "0\n"
        f.send(True)
        assert f.exit_code() == 1
        assert "The line to the platform is gone" in f.log()


def test_node_large_events_and_answers_in_pieces(node):
    with function(node, "exports.handler = async (e) => e + e;", "index.js", "index.handler") as f:
        for size in (10, 65000, 66000, 1000000, 2900000):
            assert f.call("\u00fc" * (size // 2)) == "\u00fc" * (size // 2 * 2)


def function(runtime, code, name="app.py", handler="app.handler"):
    if runtime.transport != "frames":
        pytest.skip("only over frames")
    return Function(runtime, {name: code}, handler)


def test_nobody_else_holds_the_line(python):
    code = """
import os, subprocess, sys
def handler(event, context):
    shown = lambda fds: [f for f in fds.split() if f.startswith('socket:')]
    listing = "import os; print(' '.join(os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f) or True and os.path.islink('/proc/self/fd/' + f)))"
    executed = subprocess.run([sys.executable, '-S', '-c', listing], stdout=subprocess.PIPE, close_fds=False).stdout.decode()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(3, b'\\0' * 8)
            os.write(write, b'forged')
        except OSError:
            os.write(write, b'closed')
        os._exit(0)
    os.waitpid(pid, 0)
    return [shown(executed), os.read(read, 9).decode()]
"""
    if python.version < (3, 7):
        pytest.skip("3.6 has no hook at a fork")
    with function(python, code) as f:
        assert f.call() == [[], "closed"]
        assert f.call() == [[], "closed"]


def test_a_function_that_closes_the_line_ends_itself(python):
    with function(python, "import os\ndef handler(e, c): os.close(3)") as f:
        f.send(None)
        assert f.exit_code() == 1
        assert "The line to the platform is gone" in f.log()
