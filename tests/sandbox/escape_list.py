"""The escape list as data: rendered for a probe, and compared with what the probe saw."""

import errno
import json
import pathlib
import platform
import re

FOLDER = pathlib.Path(__file__).parent
NUMBERS = FOLDER.parents[1] / "crates" / "sandbox" / "src" / "seccomp" / "numbers.rs"
COLUMN = {"x86_64": 1, "aarch64": 2}


class EscapeList:
    """The lines that `probe` ("python", "java" or "custom") can try on this machine; of those `only`, and
    what holds where these lines of doctor's are `enforced`."""

    def __init__(self, probe, host_port, host_abstract, host_name=None, only=lambda line: True,
                 enforced=lambda line: True):
        listed = json.loads((FOLDER / "escape_list.json").read_text())["lines"]
        self.host = {"{host_port}": str(host_port), "{host_abstract}": host_abstract}
        self.host_name = host_name or platform.node()
        machine = platform.machine()
        rows = re.findall(r'^    \("(\w+)", (-?\d+), (-?\d+)\),$', NUMBERS.read_text(), re.M)
        self.numbers = {row[0]: int(row[COLUMN[machine]]) for row in rows}
        self.lines = [
            line for line in listed
            if probe in line["probes"] and only(line) and line.get("on", machine) == machine
            and ("needs" not in line or enforced(line["needs"]))
            and not (line["do"][0].startswith("call") and self.numbers[line["do"][1]] < 0)]

    def rendered(self):
        """lines.tsv: number, action and its arguments, one line each."""
        return "".join("\t".join([str(at), *self._fields(line["do"])]) + "\n"
                       for at, line in enumerate(self.lines))

    def _fields(self, do):
        kind, *arguments = do
        if not kind.startswith("call"):
            return [kind, *(self.host.get(argument, str(argument)) for argument in arguments)]
        name, *arguments = arguments
        return [kind, name, str(self.numbers[name]), *map(_typed, arguments)]

    def failures(self, seen):
        """What a probe saw that must not be seen, as text with the rule that should deny it."""
        assert [one["line"] for one in seen] == list(range(len(self.lines)))
        found = []
        for line, one in zip(self.lines, seen):
            fault = _fault(line, one, self.host_name)
            if fault:
                found.append(f"{line['line']}: {fault} ({line['rule']} should deny it)")
        return found


def _typed(argument):
    if isinstance(argument, int):
        return f"i:{argument}"
    if isinstance(argument, dict):
        return f"b:{argument['bytes']}"
    return f"s:{argument}"


def _fault(line, one, host_name):
    """Why `one` is not what `line` wants; None when it is."""
    name = one["errno"]
    if isinstance(name, int) and name:
        name = errno.errorcode.get(name, str(name))
    value = one["value"]
    if line["do"][0] == "list" and not name and not value:
        return None  # A mount point of the runtime's own root: what is empty shows nothing.
    if "errno" in line:
        return None if name in line["errno"] else f"wanted {line['errno']}, saw {name or value!r}"
    if "signal" in line:
        return None if one["signal"] == line["signal"] else f"ended by {one['signal'] or name}"
    if name:
        return f"could not look: {name}"
    if "match" in line and not re.search(line["match"], value):
        return f"{line['match']!r} is not in {value!r}"
    if "never" in line:
        met = re.search(line["never"], value, re.M)
        if met:
            return f"{met.group()!r} is in {value!r}"
    if "numbers_max" in line:
        numbers = [name for name in value.split() if name.isdigit()]
        if len(numbers) > line["numbers_max"]:
            return f"{len(numbers)} processes are seen"
    if line.get("not_host") == "hostname" and value.strip() == host_name:
        return f"the host's name {value.strip()!r} is seen"
    return None
