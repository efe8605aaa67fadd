"""Answers as the server encodes them, read by botocore's own parser.

    python3 -m pytest crates/wire/tests/roundtrip_test.py

Needs botocore and cargo; nothing listens anywhere.
"""

import base64
import json
import pathlib
import subprocess

import botocore.awsrequest
import botocore.parsers
import botocore.session
import pytest

ROOT = pathlib.Path(__file__).absolute().parents[3]


def answers():
    command = ["cargo", "run", "--quiet", "-p", "freehold-wire", "--example", "answers"]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in printed.decode().split("\n") if line]


@pytest.fixture(scope="module")
def session():
    return botocore.session.get_session()


def seen_by_botocore(session, answer):
    model = session.get_service_model(answer["service"])
    shape = model.operation_model(answer["operation"]).output_shape
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    response = {
        "status_code": answer["status"],
        "headers": botocore.awsrequest.HeadersDict(answer["headers"]),
        "body": base64.b64decode(answer["body"]),
    }
    parsed = parser.parse(response, shape)
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["RequestId"] == "01936d3e-0000-7000-8000-000000000000"
    if isinstance(parsed.get("Payload"), bytes):
        parsed["Payload"] = parsed["Payload"].decode()
    if answer["status"] >= 300:
        code = parsed["Error"]["Code"]
        modelled = model.shape_for_error_code(code)
        if modelled is not None:
            parsed.update(parser.parse(response, modelled))
            parsed.pop("ResponseMetadata", None)
    return parsed


def test_botocore_reads_what_is_meant(session):
    read = answers()
    assert len(read) >= 15
    for answer in read:
        seen = seen_by_botocore(session, answer)
        expected = answer["seen"]
        for name, value in expected.items():
            assert seen.get(name) == value, (answer["operation"], name)
        extra = set(seen) - set(expected) - {"message"}
        assert not extra, (answer["operation"], extra)
