"""Every recorded case is run or listed with what it waits for, and no list says what is not so."""

import json
import pathlib

import pytest

from cases import FOLDER, KINDS, NOT_RUN, WAITING, recorded_by_tests, waiting
from support.recorded import CASES

BOOK = pathlib.Path(__file__).parents[2] / "docs" / "book"
LISTED = [name for entry in WAITING["waiting"] for name in entry["cases"]]
DIFFERENT = [name for entry in WAITING["difference"] for name in entry["cases"]]


def test_there_are_as_many_as_were_given():
    counts = {file.stem: len(json.loads(file.read_text())) for file in (FOLDER / "recorded").glob("*.json")}
    assert counts == {"api": 113, "invoke": 55, "runtimes-common": 52, "runtimes": 19}
    assert len(CASES) == 239


def test_every_case_is_run_or_listed():
    left = sorted(CASES.keys() - recorded_by_tests() - set(waiting(*NOT_RUN)) - set(waiting("interpreter")))
    assert left == []


def test_the_lists_name_cases_once():
    assert sorted(LISTED) == sorted(set(LISTED))
    assert set(LISTED + DIFFERENT) <= CASES.keys()
    assert {entry["kind"] for entry in WAITING["waiting"]} <= set(KINDS)


def test_what_is_run_has_a_test():
    ran = set(waiting("fails")) | set(DIFFERENT)
    assert sorted(ran - recorded_by_tests()) == []


@pytest.mark.parametrize("entry", [e for e in WAITING["waiting"] if e["kind"] == "operation"],
                         ids=lambda entry: entry["for"])
def test_what_waits_for_an_operation_waits_still(entry):
    served = (BOOK / "what-is-served.md").read_text().split("## CloudWatch Logs")[0]
    assert f"\n- {entry['for']}\n" not in served, "it is served by now: write its cases"


@pytest.mark.parametrize("entry", WAITING["difference"], ids=lambda entry: entry["cases"][0])
def test_a_difference_is_in_the_book_or_the_service_changed(entry):
    if "book" in entry:
        assert entry["book"] in (BOOK / "differences.md").read_text()
    else:
        assert entry["newer"]
