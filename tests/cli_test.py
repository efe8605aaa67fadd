"""The commands of the binary: what they print, what they exit with, and that they are clients."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from support import server as servers
from support.functions import PYTHON, node_runtime, python

FINE, FUNCTION_FAILED, USAGE, NOT_FOUND, REFUSED, UNREACHABLE = range(6)
LIB = pathlib.Path(__file__).parents[1] / "scripts" / "lib.sh"
COMMANDS = ["serve", "env", "doctor", "runtimes", "new", "deploy", "invoke", "ls", "describe", "logs", "ps",
            "usage", "bill", "rm", "tenants", "keys", "prices", "install", "uninstall"]


def run(server, *arguments, **fields):
    return server.cli(*arguments, check=False, **fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(server, command):
    done = run(server, command, "--help")
    assert done.returncode == FINE
    assert re.search(rf"freehold {command}", done.stdout.split("Example")[1])


def test_the_help_names_every_command(server):
    text = run(server, "--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\s", text, re.MULTILINE), command


@pytest.mark.parametrize("arguments", [
    ("surprise",), ("invoke",), ("ls", "--surprise"), ("invoke", "x", "--payload", "{no json"),
    ("serve", "--listen", "nowhere"), ("serve", "--account", "12")])
def test_misuse_exits_with_2(server, arguments):
    done = run(server, *arguments)
    assert done.returncode == USAGE, done.stderr
    assert done.stderr.strip() and done.stdout == ""


def test_invoke(functions, server):
    name = functions.create(python("def handler(e, c):\n    print('seen')\n    return e\n"))
    done = run(server, "invoke", name, "--payload", '{"a": 1}')
    assert done.returncode == FINE, done.stderr
    assert json.loads(done.stdout) == {"a": 1}


def test_invoke_of_a_function_that_fails_exits_with_1(functions, server):
    name = functions.create(python("def handler(e, c): raise ValueError('it broke')\n"))
    done = run(server, "invoke", name)
    assert done.returncode == FUNCTION_FAILED
    assert "it broke" in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [
    ("invoke", "nope"), ("describe", "nope"), ("rm", "nope", "--yes"), ("logs", "nope")])
def test_what_is_not_there_exits_with_3(server, arguments):
    done = run(server, *arguments)
    assert done.returncode == NOT_FOUND, done.stderr
    assert "nope" in done.stderr


def test_a_refused_signature_exits_with_4(server):
    done = run(server, "ls", env={"AWS_SECRET_ACCESS_KEY": "wrong" * 8})
    assert done.returncode == REFUSED
    assert done.stderr.strip()


def test_nobody_there_exits_with_5(server):
    done = run(server, "ls", env={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert done.returncode == UNREACHABLE
    assert "127.0.0.1:1" in done.stderr


def test_without_keys_it_says_how_to_get_them(server):
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env["HOME"] = str(server.folder)
    done = subprocess.run([str(servers.binary()), "ls"], capture_output=True, text=True, env=env, timeout=30)
    assert done.returncode in (USAGE, REFUSED, UNREACHABLE)
    assert "--data" in done.stderr or "freehold env" in done.stderr


def test_a_profile_of_aws_is_read(functions, server, tmp_path):
    keys = server.keys()
    (tmp_path / "config").write_text(
        f"[profile mine]\nregion = us-east-1\nendpoint_url = {server.url}\n")
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env |= {"AWS_PROFILE": "mine", "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    name = functions.create()
    done = subprocess.run([str(servers.binary()), "ls"], capture_output=True, text=True, env=env, timeout=30)
    assert done.returncode == FINE, done.stderr
    assert name in done.stdout


def test_ls_describe_and_rm(functions, server):
    name = functions.create(Description="what it is for")
    assert name in run(server, "ls").stdout
    listed = json.loads(run(server, "ls", "--json").stdout)
    assert name in json.dumps(listed)
    assert "what it is for" in run(server, "describe", name).stdout
    assert json.loads(run(server, "describe", name, "--json").stdout)
    assert run(server, "rm", name, "--yes").returncode == FINE
    assert name not in run(server, "ls").stdout


def test_rm_goes_on_behind_what_is_not_there(functions, server):
    first, last = functions.create(), functions.create()
    done = run(server, "rm", "--yes", "--json", first, "nosuch", last)
    assert done.returncode == NOT_FOUND, done.stderr
    assert "nosuch" in done.stderr
    assert json.loads(done.stdout) == {"removed": [first, last]}
    shown = run(server, "ls").stdout
    assert first not in shown and last not in shown


def test_no_colour_without_a_terminal(functions, server):
    functions.create()
    for command in ("ls", "ps", "usage", "doctor", "runtimes"):
        assert "\x1b" not in run(server, command).stdout, command


def test_ps_shows_each_instance(functions, server):
    name = functions.create(MemorySize=192)
    functions.call(name)
    functions.call(name)
    rows = json.loads(run(server, "ps", "--json").stdout)["Instances"]
    mine = [row for row in rows if row["FunctionName"] == name]
    assert len(mine) == 1
    assert mine[0]["MemoryLimitBytes"] == 192 << 20
    assert 0 < mine[0]["MemoryBytes"] <= 192 << 20
    assert mine[0]["Invocations"] == 2
    assert mine[0]["Version"] == "$LATEST"
    shown = [line for line in run(server, "ps").stdout.splitlines() if name in line]
    assert len(shown) == 1 and "192" in shown[0]


def test_runtimes_lists_what_was_found(server):
    done = run(server, "runtimes", "--data", server.data)
    assert PYTHON in done.stdout
    assert "provided.al2023" in done.stdout
    rows = json.loads(run(server, "runtimes", "--data", server.data, "--json").stdout)
    assert re.search(r"[0-9a-f]{64}", json.dumps(rows))
    if node_runtime():
        assert node_runtime() in done.stdout


def test_doctor_says_line_by_line(server):
    done = run(server, "doctor", "--data", server.data)
    assert done.returncode in (FINE, REFUSED)
    assert len(done.stdout.strip().splitlines()) >= 8
    for word in ("seccomp", "cgroup", "namespace"):
        assert word in done.stdout.lower(), word


def test_env_is_for_eval(server):
    text = subprocess.run([str(servers.binary()), "env", "--data", str(server.data)],
                          capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(["bash", "-c", f"{text}\nenv"], capture_output=True, text=True, check=True).stdout
    assert f"AWS_ENDPOINT_URL={server.url}\n" in shown
    for line in text.splitlines():
        assert not line or line.startswith(("export ", "unset ", "#")), line


def test_env_of_a_folder_without_a_server_says_so(server, tmp_path):
    done = run(server, "env", "--data", tmp_path / "nothing")
    assert done.returncode != FINE
    assert "freehold serve" in done.stderr


def test_env_passes_nothing_on_that_a_server_could_have_made_up(server, tmp_path):
    (tmp_path / "run").mkdir()
    found = json.loads((server.data / "run" / "endpoint.json").read_text())
    found["listen"] = "x'; touch made-up; '"
    (tmp_path / "run" / "endpoint.json").write_text(json.dumps(found))
    (tmp_path / "root-key").write_text((server.data / "root-key").read_text())
    done = run(server, "env", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert "endpoint.json: listen is not http://ADDRESS:PORT" in done.stderr
    assert "touch" not in done.stderr


def script(data, line):
    """What a line prints that has scripts/lib.sh before it, as `make` runs them."""
    env = os.environ | {"FREEHOLD_DATA": str(data), "FREEHOLD_BIN": str(servers.binary())}
    done = subprocess.run(["bash", "-c", f"source {LIB}\n{line}"], capture_output=True, text=True, env=env)
    return done.stdout


def test_scripts_find_the_server_of_a_folder_and_no_other_process(server, tmp_path):
    found = json.loads((server.data / "run" / "endpoint.json").read_text())
    assert script(server.data, "server_pid") == str(found["pid"])
    assert script(server.data, "endpoint") == server.url
    (tmp_path / "run").mkdir()

    def pid_of(announced):
        (tmp_path / "run" / "endpoint.json").write_text(json.dumps(announced))
        return script(tmp_path, "server_pid")

    # Another folder's server, this very process, and words.
    assert pid_of(found) == ""
    assert pid_of(found | {"pid": os.getpid()}) == ""
    assert pid_of(found | {"pid": f"{found['pid']}; id"}) == ""
    assert script(tmp_path, "endpoint") == server.url
    pid_of(found | {"listen": "http://x'; id; '"})
    assert script(tmp_path, "endpoint") == ""
    # A process that calls itself a server of this folder, and is none.
    words = ["freehold", "serve", "--data", str(tmp_path)]
    with subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE) as liar:
        assert pid_of(found | {"pid": liar.pid}) == ""
        liar.kill()


def test_scripts_wait_for_a_server_as_long_as_it_lives_and_end_one_that_is_late(tmp_path):
    def awaited(pid, seconds):
        return script(tmp_path, f"START_SECONDS={seconds}; await_server {pid} || echo late")

    with subprocess.Popen(["sleep", "600"]) as starting:
        assert awaited(starting.pid, 1) == "late\n"
        assert starting.poll() is None
        # What a shell started and reaps: its end is seen.
        assert script(tmp_path, "sleep 600 & end_server $!; kill -0 $! || echo ended") == "ended\n"
        starting.kill()
    assert awaited(starting.pid, 600) == "late\n"


# deploy


def test_deploy_python(server, tmp_path):
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    return 'hello'\n")
    done = run(server, "deploy", folder)
    assert done.returncode == FINE, done.stderr
    assert "lambda-url" in done.stdout + done.stderr
    assert json.loads(run(server, "invoke", "greeter").stdout) == "hello"
    (folder / "app.py").write_text("def handler(event, context):\n    return 'changed'\n")
    assert run(server, "deploy", folder).returncode == FINE
    assert json.loads(run(server, "invoke", "greeter").stdout) == "changed"


def test_deploy_is_not_public_unless_told(server, tmp_path, functions):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    return 'hello'\n")
    assert run(server, "deploy", folder).returncode == FINE
    url = functions.client.get_function_url_config(FunctionName="closed")
    assert url["AuthType"] == "AWS_IAM"
    assert run(server, "deploy", folder, "--public").returncode == FINE
    assert functions.client.get_function_url_config(FunctionName="closed")["AuthType"] == "NONE"
    assert len(json.loads(functions.client.get_policy(FunctionName="closed")["Policy"])["Statement"]) == 2
    assert run(server, "deploy", folder).returncode == FINE
    assert functions.client.get_function_url_config(FunctionName="closed")["AuthType"] == "AWS_IAM"
    with pytest.raises(functions.client.exceptions.ResourceNotFoundException):
        functions.client.get_policy(FunctionName="closed")
    # What was never granted is not taken away: the trail tells of two.
    rows = [json.loads(row) for row in run(server, "audit", "--json").stdout.splitlines()]
    of_it = [row for row in rows if row["Resource"].endswith(":closed") and row["Action"] == "lambda:RemovePermission"]
    assert len(of_it) == 2 and {row["Result"] for row in of_it} == {"ok"}, of_it


def test_deploy_hands_no_keys_to_what_it_runs(server, tmp_path):
    """Build scripts of strangers run here: npm's may read the environment."""
    if node_runtime() is None:
        pytest.skip("no Node on this machine")
    folder = tmp_path / "curious"
    folder.mkdir()
    (folder / "index.js").write_text("exports.handler = async () => require('./seen.json')\n")
    (folder / "package.json").write_text(json.dumps({
        "name": "curious", "version": "1.0.0", "scripts": {
            "postinstall": "node -e \"require('fs').writeFileSync('seen.json', "
                           "JSON.stringify(Object.keys(process.env).filter(k => k.startsWith('AWS_'))))\""}}))
    (folder / "seen.json").write_text("[]")
    done = run(server, "deploy", folder)
    assert done.returncode == FINE, done.stderr
    assert json.loads(run(server, "invoke", "curious").stdout) == []


@pytest.mark.parametrize("files", [{}, {"notes.txt": "no code"}])
def test_deploy_of_a_folder_without_a_function_says_what_it_looked_for(server, tmp_path, files):
    folder = tmp_path / "empty"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    done = run(server, "deploy", folder)
    assert done.returncode == USAGE
    assert "handler" in done.stderr.lower()


def test_usage_by_function_and_day(functions, server):
    name = functions.create()
    functions.call(name)
    rows = json.loads(run(server, "usage", "--json").stdout)
    mine = [row for row in rows if row["function"] == name]
    assert len(mine) == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", mine[0]["day"])
    assert mine[0]["invocations"] == 1
    assert name in run(server, "usage").stdout


def test_logs_tell_the_platforms_lines_by_their_kind(server, functions):
    name = functions.create(python(
        "def handler(e, c):\n    print('REPORT RequestId: ' + c.aws_request_id + '\\tDuration: 0.01 ms')\n"))
    functions.call(name)
    lines = [json.loads(line) for line in run(server, "logs", name, "--json").stdout.splitlines()]
    kinds = [line["kind"] for line in lines if line["message"].startswith("REPORT ")]
    assert kinds == ["function", "platform"]


def test_another_architecture_is_refused_not_ignored(server, tmp_path):
    (tmp_path / "app.py").write_text("def handler(e, c): return 1\n")
    deploy = ("deploy", tmp_path, "--name", "arch", "--no-url")
    assert run(server, *deploy).returncode == FINE
    other = "arm64" if os.uname().machine == "x86_64" else "x86_64"
    done = run(server, *deploy, "--architecture", other)
    assert done.returncode == REFUSED, (done.stdout, done.stderr)
    assert other in done.stderr
