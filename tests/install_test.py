"""`freehold install` and `uninstall`, into trees of the tests' own; nothing of this machine is touched."""

import json
import os
import re
import shutil
import subprocess

import pytest

from support import server as servers

FINE, USAGE, NOT_FOUND, REFUSED = 0, 2, 3, 4
BINARY = "usr/local/bin/freehold"
UNIT = "etc/systemd/system/freehold.service"
CONFIG = "etc/freehold/freehold.toml"
RECORD = "usr/local/share/freehold/installed.json"
LEFT = "etc/freehold/uninstalled.json"
NUMBER = 2146000000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a service")


@pytest.fixture(scope="module", autouse=True)
def binary(tmp_path_factory):
    """The binary without what only debuggers read: each install copies it."""
    global stripped
    stripped = tmp_path_factory.mktemp("binary") / "freehold"
    subprocess.run(["strip", "--strip-debug", "-o", stripped, servers.binary()], check=True)
    yield stripped
    stripped.unlink()


def run(*arguments):
    return subprocess.run([str(stripped), *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def tree(tmp_path):
    """A machine's tree: accounts, and nothing else."""
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "etc/group").write_text("root:x:0:\n")
    yield root
    shutil.rmtree(root)


def files(root):
    """Every path of a tree, links among them, and what is in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name in (BINARY, RECORD):
            found[name] = path.stat().st_size
        elif path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def install(root, *arguments):
    done = run("install", "--root", root, *arguments)
    assert done.returncode == FINE, done.stderr
    return done.stdout


def test_it_makes_binary_folders_configuration_unit_and_account(tree):
    said = install(tree)
    for path in (BINARY, UNIT, CONFIG, "var/lib/freehold", RECORD):
        assert f" /{path}" in said, said
    assert (tree / BINARY).read_bytes() == stripped.read_bytes()
    assert (tree / BINARY).stat().st_mode & 0o7777 == 0o755
    assert (tree / UNIT).stat().st_mode & 0o7777 == 0o644
    assert (tree / "var/lib/freehold").stat().st_mode & 0o7777 == 0o755
    assert os.readlink(tree / "var/lib/freehold/freehold.toml") == "/etc/freehold/freehold.toml"
    unit = (tree / UNIT).read_text()
    assert "\nExecStart=/usr/local/bin/freehold serve --data /var/lib/freehold\n" in unit
    assert "@" not in "".join(line for line in unit.splitlines() if line.startswith(("Exec", "Read")))
    assert "systemctl --root" in said
    if shutil.which("useradd"):
        assert re.search(rf"^freehold:.:{NUMBER}:{NUMBER}:", (tree / "etc/passwd").read_text(), re.M)
        assert re.search(rf"^freehold:.:{NUMBER}:", (tree / "etc/group").read_text(), re.M)


def test_a_dry_run_says_the_same_and_does_nothing(tree):
    before = files(tree)
    dry = json.loads(run("install", "--root", tree, "--dry-run", "--json").stdout)
    assert files(tree) == before and dry["dry_run"] is True
    wet = json.loads(install(tree, "--json"))
    assert [step["what"] for step in dry["steps"]] == [step["what"] for step in wet["steps"]]
    assert {step["action"] for step in dry["steps"]} <= {"make", "write", "run", "leave"}
    assert {step["action"] for step in wet["steps"]} <= {"made", "wrote", "ran", "left"}


def test_a_second_time_changes_nothing(tree):
    install(tree)
    before = files(tree)
    again = json.loads(install(tree, "--json"))
    assert files(tree) == before
    assert {step["action"] for step in again["steps"]} <= {"kept", "left"}


def test_what_an_earlier_install_wrote_is_replaced_and_what_was_changed_is_not(tree):
    install(tree)
    record = json.loads((tree / RECORD).read_text())
    # As if an earlier release had written another unit.
    (tree / UNIT).write_text("[Service]\n")
    record["files"][f"/{UNIT}"] = subprocess.run(
        ["sha256sum", tree / UNIT], capture_output=True, text=True, check=True).stdout.split()[0]
    (tree / RECORD).write_text(json.dumps(record))
    assert f"replaced  /{UNIT}" in install(tree)
    assert "ExecStart=" in (tree / UNIT).read_text()

    (tree / UNIT).write_text((tree / UNIT).read_text() + "# mine\n")
    before = files(tree)
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and done.stdout == ""
    assert f"/{UNIT} was changed since it was installed" in done.stderr
    assert files(tree) == before


def test_what_is_not_its_own_is_refused_all_at_once_and_nothing_is_done(tree):
    for name in (BINARY, UNIT):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / BINARY).symlink_to("/bin/true")
    (tree / UNIT).write_text("[Service]\nExecStart=/bin/true\n")
    (tree / "etc/passwd").write_text(f"ada:x:{NUMBER}:5::/:/bin/sh\n")
    before = files(tree)
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED
    for says in (f"/{BINARY}: it is a link", f"/{UNIT} is there, and `freehold install` did not write it",
                 f"the number {NUMBER} is that of the user ada"):
        assert says in done.stderr, done.stderr
    assert files(tree) == before


def test_a_configuration_is_the_operators_and_says_which_number_the_account_has(tree):
    (tree / CONFIG).parent.mkdir(parents=True)
    (tree / CONFIG).write_text("[server]\nuid = 4242\n")
    said = install(tree)
    assert f"kept      /{CONFIG}" in said
    assert (tree / CONFIG).read_text() == "[server]\nuid = 4242\n"
    if shutil.which("useradd"):
        assert re.search(r"^freehold:.:4242:4242:", (tree / "etc/passwd").read_text(), re.M)

    (tree / CONFIG).write_text("[server]\nuid = \"many\"\n")
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and "server.uid" in done.stderr, done.stderr


def test_a_configuration_in_the_data_folder_stays_what_the_server_reads(tree):
    own = tree / "var/lib/freehold/freehold.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[limits]\naccount_concurrency = 7\n")
    said = install(tree)
    assert "kept      /var/lib/freehold/freehold.toml" in said
    assert own.read_text() == "[limits]\naccount_concurrency = 7\n" and not own.is_symlink()
    assert not (tree / CONFIG).exists()


def test_no_link_leads_out_of_the_tree(tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "usr").symlink_to(outside)
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and "out of the tree" in done.stderr, done.stderr
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("arguments,says", [
    (["--data", "relative"], "absolute"),
    (["--data", "/srv/two words"], "letters"),
    (["--data", "/home/ada/data"], "/home is closed"),
    (["--data", "/srv/x\nExecStartPre=/bin/sh"], "letters"),
    (["--bin-dir", "/root/bin"], "/root is closed"),
    (["--start"], "cannot be used with"),
])
def test_what_a_unit_cannot_have_is_misuse(tree, arguments, says):
    before = files(tree)
    done = run("install", "--root", tree, *arguments)
    assert done.returncode == USAGE and says in done.stderr, done.stderr
    assert files(tree) == before


def test_other_folders_are_kept_to_by_the_next_install(tree):
    install(tree, "--data", "/srv/fh", "--bin-dir", "/opt/freehold/bin")
    assert "ExecStart=/opt/freehold/bin/freehold serve --data /srv/fh\n" in (tree / UNIT).read_text()
    before = files(tree)
    install(tree)
    assert files(tree) == before
    done = run("install", "--root", tree, "--data", "/srv/other")
    assert done.returncode == REFUSED and "/srv/fh" in done.stderr


def test_beside_the_package_it_refuses(tree):
    status = tree / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    other = "Package: free\nStatus: install ok installed\n\n"
    status.write_text(other + "Package: freehold\nStatus: install ok installed\nPriority: optional\n")
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and "Debian package" in done.stderr
    done = run("uninstall", "--root", tree)
    assert done.returncode == NOT_FOUND and "apt remove freehold" in done.stderr
    # Removed, with its configuration left, it is in nobody's way.
    status.write_text(other + "Package: freehold\nStatus: deinstall ok config-files\n")
    install(tree)
    status.write_text(other + "Package: freehold\nStatus: install ok half-configured\n")
    before = files(tree)
    done = run("uninstall", "--root", tree, "--purge")
    assert done.returncode == REFUSED and "may be its own" in done.stderr, done.stderr
    assert files(tree) == before


def test_a_data_folder_is_its_own(tree):
    for folder, says in (("srv", "the system's"), ("mirror", "no server has served from it")):
        (tree / folder / "packages").mkdir(parents=True)
        before = files(tree)
        done = run("install", "--root", tree, "--data", f"/{folder}")
        assert done.returncode == REFUSED and says in done.stderr, done.stderr
        assert files(tree) == before
    # What somebody puts into it before a server has served from it is not taken for Freehold's.
    install(tree, "--data", "/mirror/fh")
    (tree / "mirror/fh/packages").mkdir()
    done = run("uninstall", "--root", tree, "--purge")
    assert done.returncode == FINE and "left      /mirror/fh/packages" in done.stdout, done.stdout
    assert [path.name for path in (tree / "mirror/fh").iterdir()] == ["packages"]


def test_a_tree_that_others_may_write_to_is_refused(tree):
    tree.chmod(0o777)
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and "may write to" in done.stderr, done.stderr
    tree.chmod(0o755)
    (tree / "etc/group").rename(tree / "etc/real")
    (tree / "etc/group").symlink_to("real")
    done = run("install", "--root", tree)
    assert done.returncode == REFUSED and "etc/group is a link" in done.stderr, done.stderr


def test_uninstall_keeps_data_configuration_and_account_and_says_so(tree):
    before = files(tree)
    install(tree)
    (tree / "var/lib/freehold/root-key").write_text("secret")
    accounts = (tree / "etc/passwd").read_text()
    dry = files(tree)
    assert "remove    /" + BINARY in run("uninstall", "--root", tree, "--dry-run").stdout
    assert files(tree) == dry
    done = run("uninstall", "--root", tree)
    assert done.returncode == FINE, done.stderr
    for stays in ("/var/lib/freehold  (data)", f"/{CONFIG}  (configuration)"):
        assert f"left      {stays}" in done.stdout, done.stdout
    assert (tree / "var/lib/freehold/root-key").read_text() == "secret"
    assert (tree / "etc/passwd").read_text() == accounts
    left = set(files(tree)) - set(before)
    assert left - {"etc/passwd-", "etc/group-", "etc/shadow", "etc/gshadow"} == {
        CONFIG, LEFT, "var/lib/freehold/freehold.toml", "var/lib/freehold/root-key"}
    assert not (tree / "usr").exists()
    done = run("uninstall", "--root", tree)
    assert done.returncode == NOT_FOUND and "--purge" in done.stderr, done.stderr
    # And back, on the same data.
    install(tree)
    assert (tree / "var/lib/freehold/root-key").read_text() == "secret"
    assert not (tree / LEFT).exists()


def test_what_an_uninstall_left_goes_by_a_later_purge(tree):
    for again in (False, True):
        before = {name for name in files(tree) if not name.startswith("etc/")}
        install(tree)
        if again:
            assert run("uninstall", "--root", tree).returncode == FINE
            install(tree)
        (tree / "var/lib/freehold/root-key").write_text("secret")
        (tree / UNIT).write_text("# mine\n")
        assert run("uninstall", "--root", tree).returncode == FINE
        dry = run("uninstall", "--root", tree, "--purge", "--dry-run")
        assert dry.returncode == FINE and "remove    /var/lib/freehold" in dry.stdout, dry.stderr
        done = run("uninstall", "--root", tree, "--purge")
        assert done.returncode == FINE, done.stderr
        assert not (tree / "var/lib/freehold").exists() and not (tree / "etc/freehold").exists()
        assert not (tree / UNIT).exists()
        assert "freehold" not in (tree / "etc/passwd").read_text() + (tree / "etc/group").read_text()
        assert {name for name in files(tree) if not name.startswith("etc/")} == before
        assert run("uninstall", "--root", tree, "--purge").returncode == NOT_FOUND


def test_purge_takes_all_that_is_freeholds_and_nothing_else(tree):
    install(tree)
    data = tree / "var/lib/freehold"
    (data / "store/blobs").mkdir(parents=True)
    (data / "store/blobs/one").write_text("x")
    (data / "store/format").write_text("1")
    (data / "tls").mkdir()
    (data / "tls/key.pem").write_text("secret")
    (data / "acme/0123456789abcdef").mkdir(parents=True)
    (data / "acme/0123456789abcdef/account.json").write_text("secret")
    (data / "store/link").symlink_to(tree / "etc")
    (data / "diary").write_text("mine")
    done = run("uninstall", "--root", tree, "--purge")
    assert done.returncode == FINE, done.stderr
    assert "left      /var/lib/freehold/diary" in done.stdout
    assert [path.name for path in data.iterdir()] == ["diary"]
    assert not (tree / CONFIG).parent.exists() and not (tree / UNIT).exists()
    assert "freehold" not in (tree / "etc/passwd").read_text() + (tree / "etc/group").read_text()
    assert (tree / "etc/passwd").read_text().startswith("root:")

    (data / "diary").unlink()
    install(tree)
    assert run("uninstall", "--root", tree, "--purge").returncode == FINE
    assert not data.exists()


def test_what_was_changed_stays_behind_an_uninstall(tree):
    install(tree)
    (tree / UNIT).write_text("# mine\n")
    done = run("uninstall", "--root", tree)
    assert done.returncode == FINE and f"left      /{UNIT}" in done.stdout
    assert (tree / UNIT).read_text() == "# mine\n" and not (tree / BINARY).exists()


def test_data_under_a_server_is_not_removed(tree, server):
    """The tree's data folder is the one that a server serves from."""
    install(tree, "--data", "/srv/fh")
    served = tree / "srv/fh"
    shutil.rmtree(served)
    (tree / "srv/fh").mkdir()
    (served / "store").mkdir()
    (served / "store/lock").symlink_to(server.data / "store/lock")
    for arguments in ([], ["--purge"]):
        done = run("uninstall", "--root", tree, *arguments)
        assert done.returncode == REFUSED and "a server uses" in done.stderr, done.stderr
    assert (tree / BINARY).exists()


@pytest.mark.parametrize("text,says", [
    ("{", "does not read"),
    ('{"format":9,"release":"9","data":"/srv/x","bin_dir":"/srv/b","account":false,"files":{},"folders":[]}',
     "format 9"),
    ('{"format":1,"release":"0","data":"/","bin_dir":"/srv/b","account":true,"files":{},"folders":[]}',
     "absolute path"),
])
def test_a_record_that_is_none_is_named_and_nothing_is_done(tree, text, says):
    (tree / RECORD).parent.mkdir(parents=True)
    (tree / RECORD).write_text(text)
    before = files(tree)
    for command in (["install"], ["uninstall", "--purge"]):
        done = run(*command, "--root", tree)
        assert done.returncode == REFUSED and says in done.stderr, done.stderr
    assert files(tree) == before


def test_another_user_is_told_and_may_look(open_folder):
    shutil.copy(stripped, open_folder / "freehold")
    (open_folder / "tree").mkdir()
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(open_folder / "freehold"),
             "install", "--root", str(open_folder / "tree")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == REFUSED and "only root" in done.stderr, done.stderr
    done = subprocess.run([*words, "--dry-run"], capture_output=True, text=True, timeout=60)
    assert done.returncode == FINE and f"write     /{UNIT}" in done.stdout, done.stderr
    assert list((open_folder / "tree").iterdir()) == []
