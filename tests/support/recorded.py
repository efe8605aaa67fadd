"""Answers of the real service, compared whole with what the binary answers.

A recorded answer is JSON in which what varies is a token (`<function-name:1>`, `<uuid:2>`, `date`).
A token stands for any text, the same text wherever the same token stands: `Bindings` remembers.
Origin of the data: tests/conformance/README.md.
"""

import datetime
import json
import pathlib
import re

_FILE = pathlib.Path(__file__).parents[1] / "conformance" / "lambda.json"
_CASES = json.loads(_FILE.read_text())
_TOKEN = re.compile(r"<[a-zA-Z_<][^<>]*>+|111111111111")
# Left by the recorder for reasons of its own: no part of an answer.
_ARTEFACTS = {"CreateEventSourceMappingResponse", "HTTPHeaders", "RetryAttempts", "RequestId",
              "HostId"}


def answer(case, step):
    """The recorded answer of one step of one case."""
    return _CASES[case]["answers"][step]


def cases(prefix):
    return {name: case["answers"] for name, case in _CASES.items() if name.startswith(prefix)}


class Bindings:
    """What the tokens of one case stand for."""

    def __init__(self, account, region="us-east-1", **known):
        self.known = {"111111111111": account, "<region>": region, "<partition>": "aws"}
        self.known.update({f"<{name.replace('_', '-')}>": value for name, value in known.items()})

    def fill(self, text):
        """A recorded text with its tokens replaced; `<a:len(5)>` stands for `aaaaa`."""
        def one(match):
            token = match.group()
            if repeated := re.fullmatch(r"<(.):len\((\d+)\)>", token):
                return repeated[1] * int(repeated[2])
            return self.known.get(token, token)
        return _TOKEN.sub(one, text)

    def differences(self, recorded, actual, path="answer"):
        """Every place where `actual` is not what was recorded, as text."""
        if isinstance(recorded, dict):
            if not isinstance(actual, dict):
                return [f"{path}: {actual!r} is no object"]
            wanted = {k: v for k, v in recorded.items() if k not in _ARTEFACTS}
            given = {k: v for k, v in actual.items() if k not in _ARTEFACTS}
            found = [f"{path}.{k}: missing, recorded {wanted[k]!r}" for k in wanted.keys() - given.keys()]
            found += [f"{path}.{k}: {given[k]!r} was not recorded" for k in given.keys() - wanted.keys()]
            for name in sorted(wanted.keys() & given.keys()):
                found += self.differences(wanted[name], given[name], f"{path}.{name}")
            return found
        if isinstance(recorded, list):
            if not isinstance(actual, list) or len(actual) != len(recorded):
                return [f"{path}: {actual!r}, recorded {recorded!r}"]
            return [d for n, pair in enumerate(zip(recorded, actual))
                    for d in self.differences(*pair, f"{path}[{n}]")]
        if isinstance(recorded, str):
            return self._text(recorded, actual, path)
        return [] if recorded == actual else [f"{path}: {actual!r}, recorded {recorded!r}"]

    def _text(self, recorded, actual, path):
        if recorded == "date":
            fine = isinstance(actual, (str, datetime.datetime)) and actual != ""
            return [] if fine else [f"{path}: {actual!r} is no date"]
        if isinstance(actual, (dict, list)):
            return [f"{path}: {actual!r}, recorded {recorded!r}"]
        pattern, names, at = "", [], 0
        for match in _TOKEN.finditer(recorded):
            pattern += re.escape(recorded[at:match.start()])
            token, at = match.group(), match.end()
            filled = self.fill(token)
            if filled != token:
                pattern += re.escape(filled)
            else:
                names.append(token)
                pattern += "(.+?)"
        pattern += re.escape(recorded[at:])
        match = re.fullmatch(pattern, str(actual), re.DOTALL)
        if match is None:
            return [f"{path}: {actual!r}, recorded {self.fill(recorded)!r}"]
        self.known.update(zip(names, match.groups()))
        return []

    def check(self, case, step, actual):
        """Fails unless the whole answer is the recorded one."""
        found = self.differences(answer(case, step), actual)
        assert not found, f"{case} / {step}:\n  " + "\n  ".join(found)
