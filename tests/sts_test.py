"""STS GetCallerIdentity."""

import re

import pytest
from botocore.exceptions import ClientError

from support.functions import python
from support.http import send


def test_the_root_is_named(server):
    answer = server.client("sts").get_caller_identity()
    assert re.fullmatch(r"\d{12}", answer["Account"])
    assert answer["Arn"] == f"arn:aws:iam::{answer['Account']}:root"
    assert answer["UserId"] == answer["Account"]


def test_an_account_given_at_the_first_start_is_kept(start_server):
    server = start_server(arguments=["--account", "210987654321", "--region", "eu-central-1"])
    assert server.client("sts").get_caller_identity()["Account"] == "210987654321"
    assert server.keys()["AWS_REGION"] == "eu-central-1"


def test_without_a_signature_nobody_is_told(server):
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    reply = send(server.url, "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body)
    assert reply.status == 403
    assert "<Code>MissingAuthenticationToken</Code>" in reply.text


def test_an_instance_is_its_role(functions):
    body = """
import boto3
def handler(e, c):
    return boto3.client('sts').get_caller_identity()['Arn']
"""
    answer = functions.invoke(functions.create(python(body), MemorySize=256, Timeout=30))
    if "No module named 'boto3'" in str(answer.payload):
        pytest.skip("no boto3 for functions: 'freehold runtimes install' had no network")
    assert answer.payload.startswith(f"arn:aws:sts::{functions.account}:assumed-role/tests/")


def test_an_operation_that_is_not_served_says_its_name(server):
    with pytest.raises(ClientError) as caught:
        server.client("sts").get_session_token()
    assert "GetSessionToken" in caught.value.response["Error"]["Message"]
