"""`freehold new` and examples/baskets: every language that can be built here, deployed and called.

The commands are taken out of the README of a new project, and so is the answer that it promises.
"""

import json
import os
import pathlib
import re
import shutil
import stat

import pytest

from support import server as servers
from support.projects import PROGRAMS, Workshop, commands_of, has_rust_target, missing

FINE, FUNCTION_FAILED, USAGE, REFUSED = 0, 1, 2, 4
BASKETS = pathlib.Path(__file__).parents[1] / "examples" / "baskets"
GREET = BASKETS.parent / "wasm-greet"
LANGUAGES = sorted(PROGRAMS)


@pytest.fixture(scope="module")
def workshop(server):
    one = Workshop(server, servers.binary())
    yield one
    one.close()


def new(server, *arguments, check=False):
    return server.cli("new", *arguments, check=check)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_project_does_what_its_readme_says(server, workshop, language):
    reason = missing(language)
    if reason:
        pytest.skip(reason)
    folder = workshop.folder(f"hello-{language}")
    made = json.loads(new(server, language, folder, "--json", check=True).stdout)
    assert sorted(made["files"]) == files_of(folder)
    readme = (folder / "README.md").read_text()
    blocks = commands_of(readme)
    assert sum("freehold deploy" in commands for commands, _ in blocks) == 1
    is_buildable = language != "wasm-rust" or has_rust_target("wasm32-wasip2", "wasm32-wasip1")
    answers = 0
    for commands, answer in blocks:
        if "freehold" in commands and not is_buildable:
            continue
        done = workshop.run(commands, folder)
        if answer is not None:
            assert json.loads(done.stdout) == json.loads(answer), commands
            answers += 1
    assert answers >= 1
    if not is_buildable:
        pytest.skip(f"{language} was run here and not deployed: Rust has no target wasm32-wasip2 on this machine")
    # The README says that its line is in the log, and the folder names the function.
    name = folder.name
    assert f"`freehold logs {name}`" in readme
    assert "greeting Ada" in server.cli("logs", name).stdout
    # Whoever names nobody is the world's.
    answer = server.cli("invoke", name, "--payload", "{}").stdout
    assert json.loads(answer) == {"message": "Hello, world!"}


def test_the_example_in_webassembly_greets(server, workshop):
    """Built and run as a program of this machine's, and deployed where Rust has the target."""
    reason = missing("wasm-rust")
    if reason:
        pytest.skip(reason)
    folder = workshop.folder(GREET.name)
    shutil.copytree(GREET, folder, ignore=shutil.ignore_patterns("target"))
    workshop.run("cargo build --release --locked --quiet", folder)
    url = {"version": "2.0", "queryStringParameters": {"name": "Ada"}}
    for event, answer in (({"name": "Ada"}, "Hello, Ada!"), ({}, "Hello, world!"),
                          (url, {"statusCode": 200, "body": "Hello, Ada!"})):
        done = workshop.run(f"echo '{json.dumps(event)}' | $CARGO_TARGET_DIR/release/wasm-greet", folder,
                            FREEHOLD_REQUEST_ID="r-1")
        assert json.loads(done.stdout) == answer
        assert done.stderr == "greeting in request r-1\n"
    if not has_rust_target("wasm32-wasip2", "wasm32-wasip1"):
        pytest.skip("the example ran here and was not deployed: Rust has no target wasm32-wasip2 on this machine")
    workshop.run("freehold deploy . --runtime wasm", folder)
    answer = server.cli("invoke", GREET.name, "--payload", '{"name": "Ada"}').stdout
    assert json.loads(answer) == "Hello, Ada!"


def test_it_prints_the_commands_that_come_next(server, tmp_path):
    done = new(server, "python", tmp_path / "a b" / "hello", check=True)
    folder = f"{tmp_path}/a b/hello"
    commands = [line.strip() for line in done.stdout.splitlines() if line.startswith("  freehold")]
    assert commands == [f"freehold deploy '{folder}'", f"freehold invoke hello --payload '@{folder}/event.json'"]
    assert files_of(tmp_path / "a b" / "hello") == [
        ".freeholdignore", "README.md", "app.py", "event.json", "freehold.toml"]
    assert "{{" not in (tmp_path / "a b" / "hello" / "README.md").read_text()
    made = json.loads(new(server, "ruby", tmp_path / "gem", "--json", check=True).stdout)
    assert made["next"][0] == f"sh {tmp_path}/gem/bundle.sh"
    assert (made["function"], made["language"]) == ("gem", "ruby")
    mode = (tmp_path / "gem" / "bootstrap").stat().st_mode
    assert mode & stat.S_IXUSR and not (tmp_path / "gem" / "README.md").stat().st_mode & stat.S_IXUSR


def test_a_folder_is_named_by_its_language_unless_told(server, tmp_path):
    workdir = os.getcwd()
    os.chdir(tmp_path)
    try:
        made = json.loads(new(server, "golang", "--json", check=True).stdout)
        (tmp_path / "here").mkdir()
        os.chdir(tmp_path / "here")
        here = json.loads(new(server, "python", ".", "--json", check=True).stdout)
    finally:
        os.chdir(workdir)
    assert (made["function"], made["folder"]) == ("hello-go", "hello-go")
    assert (tmp_path / "hello-go" / "go.mod").is_file()
    assert here["function"] == "here" and (tmp_path / "here" / "app.py").is_file()


@pytest.mark.parametrize("word, nearest", [("pyhton", "python"), ("scalla", "scala"), ("wasm-rsut", "wasm-rust")])
def test_a_language_that_is_not_there_is_told_the_nearest(server, tmp_path, word, nearest):
    done = new(server, word, tmp_path / "x")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert f"'{nearest}'" in done.stderr.split("similar value")[1], done.stderr
    for language in LANGUAGES:
        assert re.search(rf"\b{language}\b", done.stderr), language
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["my function", "a.b", "ä", "x" * 65])
def test_a_folder_whose_name_no_function_can_have_is_refused(server, tmp_path, name):
    done = new(server, "python", tmp_path / name)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "1 to 64 letters, digits" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_written_over(server, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, word in [("full", "is not empty: it has .hidden"), ("file", "is not a folder"), ("link", "link")]:
        done = new(server, "node", tmp_path / name)
        assert done.returncode in (REFUSED, USAGE) and done.stdout == "", name
        assert word in " ".join(done.stderr.split()), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link"]
    assert files_of(tmp_path / "full") == [".hidden"] and (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert new(server, "node", tmp_path / "empty").returncode == FINE


def test_a_package_without_its_interpreter_says_what_is_missing(server, tmp_path):
    new(server, "ruby", tmp_path / "unbundled", check=True)
    server.cli("deploy", tmp_path / "unbundled", "--no-url")
    assert server.cli("invoke", "unbundled", check=False).returncode == FUNCTION_FAILED
    assert "no ruby in the package: run bundle.sh" in server.cli("logs", "unbundled").stdout


@pytest.mark.parametrize("language", ["ruby", "php"])
def test_a_failing_handler_is_told_with_its_type_and_serves_on(server, workshop, language):
    reason = missing(language)
    if reason:
        pytest.skip(reason)
    folder = workshop.folder(f"fails-{language}")
    new(server, language, folder, check=True)
    source = folder / {"ruby": "function.rb", "php": "function.php"}[language]
    line = {"ruby": 'raise ArgumentError, "no name" if name == "nobody"',
            "php": "if ($name === 'nobody') { throw new InvalidArgumentException('no name'); }"}[language]
    text, count = re.subn(r"(?m)^( *\$?name = .*)$", lambda found: f"{found[1]}\n{line}", source.read_text())
    assert count == 1
    source.write_text(text)
    workshop.run("sh bundle.sh; freehold deploy . --no-url", folder)
    done = server.cli("invoke", folder.name, "--payload", '{"name": "nobody"}', check=False)
    error = json.loads(done.stdout)
    wanted = {"ruby": "ArgumentError", "php": "InvalidArgumentException"}[language]
    assert (done.returncode, error["errorType"], error["errorMessage"]) == (FUNCTION_FAILED, wanted, "no name")
    answer = server.cli("invoke", folder.name, "--payload", '{"name": "Zoë"}')
    assert json.loads(answer.stdout) == {"message": "Hello, Zoë!"}


# What a basket that cannot be priced is called: in Java's world by its class.
INVALID = {"scala": "baskets.InvalidBasket", "clojure": "clojure.lang.ExceptionInfo",
           "go": "InvalidBasket", "rust": "InvalidBasket"}


def basket_folder(workshop, language, *left_out):
    """A copy of the example in that language, without the files and folders of these names.

    Its path is that of the new project, so that Cargo finds the libraries that it compiled for that;
    each file has the time of now, so that it does not take the old sources' program for this one's.
    """
    return shutil.copytree(
        BASKETS / language, workshop.folder(f"hello-{language}"), copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns(*left_out))


@pytest.mark.parametrize("language", sorted(INVALID))
def test_a_basket_is_priced_in_every_language(server, functions, workshop, language):
    reason = missing(language)
    if reason:
        pytest.skip(reason)
    # Maven would compile tests that it is told not to run.
    folder = basket_folder(workshop, language, "test")
    workshop.run("freehold deploy . --no-url", folder)
    name = f"basket-{language}"
    assert functions.call(name, json.loads((BASKETS / "basket.json").read_text())) == json.loads(
        (BASKETS / "receipt.json").read_text())
    for case in json.loads((BASKETS / "refused.json").read_text()):
        answer = functions.invoke(name, case["basket"])
        assert (answer.error, answer.payload["errorType"], answer.payload["errorMessage"]) == (
            "Unhandled", INVALID[language], case["message"]), case
    assert "priced 2 rates of tax" in server.cli("logs", name).stdout
    # What was compiled for the deployment need not be compiled again.
    if language == "go":
        workshop.run("go test ./...", folder, GOFLAGS="-trimpath", CGO_ENABLED="0")
    if language == "rust":
        workshop.run("cargo test --release --locked --quiet", folder, CARGO_TARGET_DIR=str(workshop.cargo_target()))


@pytest.mark.languages
@pytest.mark.parametrize("language", ["clojure", "scala"])
def test_a_basket_passes_its_own_tests(workshop, language):
    if missing(language):
        pytest.skip(missing(language))
    done = workshop.run("mvn --batch-mode test", basket_folder(workshop, language))
    assert re.search(r"Tests run: 5, Failures: 0|Ran 4 tests containing 5 assertions", done.stdout), done.stdout[-2000:]
