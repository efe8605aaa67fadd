"""Answers of the real service, compared whole with what the binary answers.

A recorded answer is JSON in which what varies is a token. `<uuid:2>` stands for one text wherever it
stands, and never for that of `<uuid:1>`: `Bindings` remembers both. A token without a number
(`<duration>`) and some bare words (`date`) stand for any text, unless the test names theirs.
Origin of the data: tests/conformance/README.md.
"""

import datetime
import json
import pathlib
import re

_FOLDER = pathlib.Path(__file__).parents[1] / "conformance" / "recorded"
CASES = {name: case for file in sorted(_FOLDER.glob("*.json"))
         for name, case in json.loads(file.read_text()).items()}
# Numbers stand behind the name, also where the name has brackets of its own: `<<code-sha-256>:1>`.
_TOKEN = re.compile(r"<<[a-z0-9-]+>:\d+>|<[a-zA-Z_][\w-]*(?::\d+|:len\(\d+\))?>|111111111111")
_NUMBERED = re.compile(r"<(.+):\d+>")
# Words that the recorder wrote for what it did not keep.
_ANYTHING = {"code-sha256", "datetime", "event-id", "function-url", "lambda-url", "log-result", "timestamp"}
# Left by the recorder for reasons of its own: no part of an answer.
_ARTEFACTS = {"CreateEventSourceMappingResponse", "HTTPHeaders", "RetryAttempts",
              "MaxAttemptsReached", "RequestId", "HostId"}


def answer(case, step):
    """The recorded answer of one step of one case."""
    return CASES[case]["answers"][step]


def cases(prefix):
    return {name: case["answers"] for name, case in CASES.items() if name.startswith(prefix)}


class Bindings:
    """What the tokens of one case stand for."""

    def __init__(self, account, region="us-east-1", **known):
        self.known = {"111111111111": account, "<region>": region, "<partition>": "aws"}
        self.name(**known)

    def name(self, **known):
        """Says what tokens stand for, `function_name_1` for `<function-name:1>`."""
        for word, value in known.items():
            word = re.sub(r"_(\d+)$", r":\1", word)
            # Some tokens were written with a low line.
            self.known |= {f"<{word}>": value, f"<{word.replace('_', '-')}>": value}

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
            found = [f"{path}.{k}: missing, recorded {wanted[k]!r}" for k in sorted(wanted.keys() - given.keys())]
            found += [f"{path}.{k}: {given[k]!r} was not recorded" for k in sorted(given.keys() - wanted.keys())]
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
        if recorded in _ANYTHING or recorded == "<stack-trace>":
            return [] if actual not in ("", None) else [f"{path}: {actual!r} is empty"]
        if isinstance(actual, (dict, list)):
            return [f"{path}: {actual!r}, recorded {recorded!r}"]
        wrong = [f"{path}: {actual!r}, recorded {self.fill(recorded)!r}"]
        match = re.fullmatch(self._pattern(recorded), str(actual), re.DOTALL)
        if match is None:
            return wrong
        for token, value in zip(self._open(recorded), match.groups()):
            kind = _NUMBERED.fullmatch(token)[1]
            if any(value == other for name, other in self.known.items()
                   if (named := _NUMBERED.fullmatch(name)) and named[1] == kind):
                return [f"{path}: {actual!r} has the value of another token, recorded {self.fill(recorded)!r}"]
            self.known[token] = value
        return []

    def _open(self, recorded):
        """The tokens of a text that are bound by what is found in their place, in order."""
        tokens = dict.fromkeys(match.group() for match in _TOKEN.finditer(recorded))
        return [token for token in tokens if self.fill(token) == token and _NUMBERED.fullmatch(token)]

    def _pattern(self, recorded):
        pattern, groups, at = "", [], 0
        for match in _TOKEN.finditer(recorded):
            pattern += re.escape(recorded[at:match.start()])
            token, at = match.group(), match.end()
            filled = self.fill(token)
            if filled != token:
                # `date` stands inside of lines, too.
                pattern += re.escape(filled)
            elif token in groups:
                pattern += rf"(?:\{groups.index(token) + 1})"
            elif _NUMBERED.fullmatch(token):
                groups.append(token)
                pattern += "(.+?)"
            else:
                pattern += ".+?"
        pattern += re.escape(recorded[at:])
        return re.sub(r"^date(?=\\\t)|(?<=\\\t)date(?=\\\t)", ".+?", pattern)

    def check(self, case, step, actual):
        """Fails unless the whole answer is the recorded one."""
        found = self.differences(answer(case, step), actual)
        assert not found, f"{case} / {step}:\n  " + "\n  ".join(found)
