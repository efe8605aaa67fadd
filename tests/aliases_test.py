"""Aliases: made, moved, split, called by every way in, deleted; as the AWS SDK and CLI know them."""

import json
import os
import re
import time

import pytest
from botocore.exceptions import ClientError

from support.functions import Functions, publish, python
from support.http import send, url_host_and_id
from support.load import Load
from support.recorded import Bindings, answer

RELEASES = int(os.environ.get("FREEHOLD_RELEASES", "20"))
MOVING = "TestLambdaAliases::test_lambda_alias_moving"
INTROSPECTION = """
import os
import re

def handler(event, context):
    return {"version_id": "version%d", "invoked_arn": context.invoked_function_arn,
            "version_from_ctx": context.function_version}
"""


def versions(functions, count, body=INTROSPECTION, **fields):
    """A function with versions 1 to `count`."""
    name = functions.create(python(body % 1), **fields)
    for number in range(1, count + 1):
        if number > 1:
            functions.client.update_function_code(FunctionName=name, ZipFile=python(body % number))
            functions.wait_updated(name)
        assert publish(functions.client, name)["Version"] == str(number)
    return name


def test_an_alias_moves_as_recorded(functions, client):
    name = versions(functions, 2)
    bind = Bindings(functions.account, function_name_1=name)

    def invoked(step, **fields):
        answered = client.invoke(FunctionName=name, Payload=b"{}", **fields)
        answered["Payload"] = json.loads(answered["Payload"].read())
        recorded = answer(MOVING, step)
        assert bind.differences(
            {key: recorded[key] for key in ("ExecutedVersion", "Payload", "StatusCode")},
            {key: answered[key] for key in ("ExecutedVersion", "Payload", "StatusCode")}) == []

    made = client.create_alias(FunctionName=name, Name="alias1", FunctionVersion="1")
    bind.check(MOVING, "create_alias_response", made)
    invoked("invocation_result_qualifier_v1", Qualifier="alias1")
    found = client.invoke(FunctionName=made["AliasArn"])
    assert (found["StatusCode"], found["ExecutedVersion"]) == (200, "1")
    moved = client.update_alias(FunctionName=name, Name="alias1", FunctionVersion="2")
    bind.check(MOVING, "update_alias_response", moved)
    invoked("invocation_result_qualifier_v2", Qualifier="alias1")
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name, Qualifier="non-existent-alias")
    bind.check(MOVING, "invocation_exc_not_existent", caught.value.response)
    with pytest.raises(ClientError) as caught:
        client.update_alias(FunctionName=name, Name="non-existent", Description="x")
    bind.check("TestLambdaAlias::test_non_existent_alias_update", "update_alias_response",
               caught.value.response)


def test_the_life_of_an_alias(functions, client, refuses):
    name = versions(functions, 2)
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    made = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="d",
                               RoutingConfig={"AdditionalVersionWeights": {"2": 0.055}})
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.055}}
    found = client.get_alias(FunctionName=name, Name="live")
    shown = {key: made[key] for key in made if key != "ResponseMetadata"}
    assert {key: found[key] for key in found if key != "ResponseMetadata"} == shown
    with refuses("ResourceConflictException", f"Alias already exists: {arn}:live", 409):
        client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    with refuses("PreconditionFailedException", "GetFunction/GetAlias API", 412):
        client.update_alias(FunctionName=name, Name="live", Description="e",
                            RevisionId="00000000-0000-4000-8000-000000000000")
    # What is not said stays; no weights are no split.
    same = client.update_alias(FunctionName=name, Name="live", Description="e",
                               RevisionId=made["RevisionId"])
    assert (same["RoutingConfig"], same["Description"]) == (made["RoutingConfig"], "e")
    whole = client.update_alias(FunctionName=name, Name="live",
                                RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in whole and whole["RevisionId"] != same["RevisionId"]
    client.create_alias(FunctionName=name, Name="head", FunctionVersion="$LATEST")
    client.create_alias(FunctionName=name, Name="zwei", FunctionVersion="2")
    pages = client.get_paginator("list_aliases").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2})
    assert [a["Name"] for page in pages for a in page["Aliases"]] == ["head", "live", "zwei"]
    of_two = client.list_aliases(FunctionName=name, FunctionVersion="2")["Aliases"]
    assert [alias["Name"] for alias in of_two] == ["zwei"]
    # A function by its alias is the version, under the alias's name.
    shown = client.get_function(FunctionName=name, Qualifier="live")["Configuration"]
    assert (shown["Version"], shown["FunctionArn"]) == ("1", f"{arn}:live")
    for number, aliases in (("1", "[live]"), ("2", "[zwei]")):
        with refuses("ResourceConflictException",
                     re.escape(f"the following aliases reference it: {aliases}"), 409):
            client.delete_function(FunctionName=name, Qualifier=number)
    deleted = client.delete_alias(FunctionName=name, Name="live")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_alias(FunctionName=name, Name="live")
    with refuses("ResourceNotFoundException", f"Cannot find alias arn: {arn}:live", 404):
        client.get_alias(FunctionName=name, Name="live")
    client.delete_function(FunctionName=name, Qualifier="1")
    client.delete_function(FunctionName=name)
    with refuses("ResourceNotFoundException", f"Function not found: {arn}", 404):
        client.list_aliases(FunctionName=name)


@pytest.mark.parametrize("fields, code, text", [
    ({"FunctionVersion": "9"}, "ResourceNotFoundException", "Function not found: {arn}:9"),
    ({"FunctionVersion": "1", "Name": "123"}, "ValidationException",
     "Value '123' at 'name' failed to satisfy constraint: Member must satisfy regular expression "
     "pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"),
    ({"FunctionVersion": "1", "Name": "a" * 129}, "ValidationException",
     "Member must have length less than or equal to 128"),
    ({"FunctionVersion": "live"}, "ValidationException", "at 'functionVersion' failed to satisfy"),
    ({"FunctionVersion": "1", "Weights": {"1": 0.1}}, "InvalidParameterValueException",
     "Invalid function version 1. Function version 1 is already included in routing configuration."),
    ({"FunctionVersion": "1", "Weights": {"1": 0.1, "2": 0.1}}, "InvalidParameterValueException",
     "Number of items in AdditionalVersionWeights cannot be greater than 1"),
    ({"FunctionVersion": "$LATEST", "Weights": {"1": 0.1}}, "InvalidParameterValueException",
     "$LATEST is not supported for an alias pointing to more than 1 version"),
    ({"FunctionVersion": "1", "Weights": {"2": 1.5}}, "ValidationException",
     "1 validation error detected: Value '{{2=1.5}}' at 'routingConfig.additionalVersionWeights' "
     "failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less "
     "than or equal to 1.0, Member must have value greater than or equal to 0.0]"),
    ({"FunctionVersion": "1", "Weights": {"$LATEST": 0.5}}, "ValidationException",
     "1 validation error detected: Value '{{$LATEST=0.5}}' at 'routingConfig.additionalVersionWeights' "
     "failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less "
     "than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy "
     "regular expression pattern: [0-9]+]"),
    ({"FunctionVersion": "1", "Weights": {"3": 0.5}}, "ResourceNotFoundException",
     "Function not found: {arn}:3"),
    ({"FunctionVersion": "1", "FunctionName": "never-was"}, "ResourceNotFoundException",
     "Function not found: "),
])
def test_what_an_alias_may_not_be(functions, client, fields, code, text, refuses):
    name = versions(functions, 1)
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    given = {"FunctionName": name, "Name": "live", **fields}
    if weights := given.pop("Weights", None):
        given["RoutingConfig"] = {"AdditionalVersionWeights": weights}
    with refuses(code, re.escape(text.format(arn=arn))):
        client.create_alias(**given)
    assert client.list_aliases(FunctionName=name)["Aliases"] == []


def test_weights_split_the_traffic(functions, client):
    name = versions(functions, 2)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1",
                        RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}})
    ran = [functions.call(name, Qualifier="live") for _ in range(300)]
    second = sum(answered["version_id"] == "version2" for answered in ran)
    # Five deviations of 300 draws.
    assert abs(second - 90) <= 5 * (300 * 0.3 * 0.7) ** 0.5, second
    assert all(answered["invoked_arn"].endswith(f":{name}:live") for answered in ran)


def test_an_alias_has_a_url_and_a_policy_of_its_own(functions, client, refuses):
    def asked(url):
        host, _ = url_host_and_id(url)
        answered = send(functions.server.url, "GET", "/", {"Host": host})
        return answered.status, json.loads(answered.body)

    name = versions(functions, 2)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = client.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    assert made["FunctionArn"].endswith(f":{name}:live")
    client.add_permission(
        FunctionName=name, Qualifier="live", StatementId="open", Principal="*",
        Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
    assert f":{name}:live" in client.get_policy(FunctionName=name, Qualifier="live")["Policy"]
    with refuses("ResourceNotFoundException"):
        client.get_policy(FunctionName=name)
    status, ran = asked(made["FunctionUrl"])
    assert (status, ran["version_id"]) == (200, "version1")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    status, ran = asked(made["FunctionUrl"])
    assert (status, ran["version_id"]) == (200, "version2")
    client.delete_alias(FunctionName=name, Name="live")
    assert asked(made["FunctionUrl"])[0] == 404


def test_an_event_goes_where_its_alias_points_when_it_runs(functions, client):
    body = "def handler(event, context):\n    print('ran', %d, context.invoked_function_arn)\n"
    name = versions(functions, 2, body)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")
    accepted = client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event")
    assert accepted["StatusCode"] == 202
    end = time.monotonic() + 30
    logs = functions.server.client("logs")
    while True:
        try:
            lines = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            lines = []  # Its first line makes the group.
        ran = [line["message"].split() for line in lines if line["message"].startswith("ran")]
        if ran:
            break
        assert time.monotonic() < end
        time.sleep(0.1)
    [(_, number, arn)] = ran
    assert number == "2" and arn.endswith(f":{name}:live")
    with pytest.raises(ClientError, match="Function not found"):
        client.invoke(FunctionName=name, Qualifier="beta", InvocationType="Event")


def test_the_trail_names_the_alias(functions, client, server):
    name = versions(functions, 1)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.update_alias(FunctionName=name, Name="live", Description="x")
    client.delete_alias(FunctionName=name, Name="live")
    rows = [json.loads(line) for line in server.cli("audit", "--json").stdout.splitlines()]
    rows = [row for row in rows if row["Resource"].endswith(f":{name}:live")]
    assert [row["Action"] for row in rows] == [
        "lambda:CreateAlias", "lambda:UpdateAlias", "lambda:DeleteAlias"]


def test_an_alias_moves_only_to_what_starts(functions, client, refuses):
    name = versions(functions, 1)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.update_function_code(FunctionName=name, ZipFile=python("raise ValueError('a bad build')\n"))
    functions.wait_updated(name)
    assert publish(client, name)["Version"] == "2"
    for fields in ({"FunctionVersion": "2"},
                   {"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}}):
        with refuses("InvalidParameterValueException", "Version 2 does not start", 400):
            client.update_alias(FunctionName=name, Name="live", **fields)
    assert functions.call(name, Qualifier="live")["version_id"] == "version1"
    # What it moves to has an instance before its first call.
    client.update_function_code(FunctionName=name, ZipFile=python(INTROSPECTION % 3))
    functions.wait_updated(name)
    assert publish(client, name)["Version"] == "3"
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="3")
    rows = json.loads(functions.server.cli("ps", "--json").stdout)["Instances"]
    assert "3" in [row["Version"] for row in rows if row["FunctionName"] == name]
    assert functions.call(name, Qualifier="live")["version_id"] == "version3"


def test_releases_drop_nothing(start_server):
    """The alias moves on under load, and the version before it is deleted at once."""
    server = start_server()
    functions = Functions(server)
    client = functions.client
    name = versions(functions, 1, "def handler(event, context):\n    return %d\n", Timeout=60)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    settled = [(1, time.monotonic())]
    with Load(lambda _: functions.call(name, Qualifier="live"), rate=40, workers=16) as load:
        for number in range(2, RELEASES + 2):
            client.update_function_code(
                FunctionName=name,
                ZipFile=python(f"def handler(event, context):\n    return {number}\n"))
            functions.wait_updated(name)
            assert publish(client, name)["Version"] == str(number)
            client.update_alias(FunctionName=name, Name="live", FunctionVersion=str(number))
            settled.append((number, time.monotonic()))
            client.delete_function(FunctionName=name, Qualifier=str(number - 1))
            # Each release has callers before the next.
            load.wait_for(len(load.outcomes) + 20)
        load.stop()
    failed = [outcome for _, _, outcome in load.outcomes if isinstance(outcome, Exception)]
    assert failed == []
    at = 0
    for _, started, outcome in sorted(load.outcomes, key=lambda o: o[1]):
        while at + 1 < len(settled) and settled[at + 1][1] < started:
            at += 1
        assert outcome >= settled[at][0], f"ran {outcome} after {settled[at][0]} was live"
    assert len(load.outcomes) >= 20 * RELEASES
