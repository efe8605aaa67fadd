"""Folders that `freehold deploy` builds: where they lie, and what their languages need here."""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess

# A first build fetches and compiles; nothing in these tests is about how long that takes.
BUILD_SECONDS = 900


def cache():
    """Where builds and fetched tools lie, outside the clone (scripts/lib.sh)."""
    return pathlib.Path(os.environ.get("FREEHOLD_CACHE") or os.path.expanduser("~/.cache/freehold"))


def has_rust_target(*targets):
    """Whether the machine's Rust can build for one of them."""
    def is_there(target):
        done = subprocess.run(["rustc", "--print", "target-libdir", "--target", target],
                              capture_output=True, text=True)
        return done.returncode == 0 and os.path.isdir(done.stdout.strip())
    return shutil.which("rustc") is not None and any(map(is_there, targets))


# Language → programs that its README asks for. Python and Node run these tests and others.
PROGRAMS = {
    "python": ["python3"], "node": ["node"], "java": ["javac", "mvn"], "scala": ["javac", "mvn"],
    "clojure": ["javac", "mvn"], "go": ["go"], "rust": ["cargo"], "wasm": ["go"], "wasm-rust": ["cargo"],
    "ruby": ["ruby"], "php": ["php"],
}


def missing(language):
    """What the language needs to be built and is not on this machine, as a text; empty if nothing."""
    programs = [program for program in PROGRAMS[language] if shutil.which(program) is None]
    return f"not on this machine: {', '.join(programs)}" if programs else ""


def jar(sources, name, *arguments):
    """The jar that Maven makes of a project of these tests; a folder of this name in the cache keeps what it
    made, by these arguments."""
    folder = cache() / name
    # Maven writes beside its sources: a copy keeps the clone clean. Sources that an earlier commit left there are
    # not this commit's; what Maven made of them (`target`) it brings up to date itself.
    if folder.is_dir():
        for old in folder.iterdir():
            if old.name != "target":
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    done = subprocess.run(["mvn", "--batch-mode", "--quiet", *arguments, "package"], cwd=folder, capture_output=True,
                          text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "target" / "functions.jar"


class Workshop:
    """Runs commands of a project with `freehold` and this server's keys at hand.

    What is built in a folder of one path is found again by the tools that keep outputs by path
    (`freehold deploy` with Cargo), so a project's path is the same in every run; one run at a time
    uses the place.
    """

    def __init__(self, server, binary):
        self.place = cache() / "test-projects"
        self.place.mkdir(parents=True, exist_ok=True)
        self.lock = (self.place / "lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        programs = self.place / "bin"
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        (programs / "freehold").symlink_to(binary)
        self.environment = {
            **server.environment(), "PATH": f"{programs}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(self.place / "cache"), "CARGO_TARGET_DIR": str(self.place / "target"),
            "PYTHONDONTWRITEBYTECODE": "1"}

    def close(self):
        self.lock.close()

    def folder(self, name):
        """A path for a project; nothing is there."""
        folder = self.place / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def run(self, command, folder, check=True, **environment):
        """Runs one line of a shell; returns the finished process."""
        done = subprocess.run(
            ["bash", "-euc", command], cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS,
            env={**self.environment, **environment}, stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done

    def cargo_target(self):
        """Where the last `freehold deploy` of a project in Rust had Cargo keep its outputs."""
        folders = (self.place / "cache" / "freehold" / "deploy").iterdir()
        return max(folders, key=lambda folder: folder.stat().st_mtime)


def commands_of(readme):
    """The blocks of shell commands in a README: [(commands, the text of a JSON block behind them)]."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    found = []
    for at, (kind, text) in enumerate(blocks):
        if kind == "sh":
            after = blocks[at + 1] if at + 1 < len(blocks) else ("", "")
            found.append((text, after[1] if after[0] == "json" else None))
    return found
