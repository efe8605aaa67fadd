"""AddPermission, RemovePermission and GetPolicy for functions."""

import json

import pytest
from botocore.exceptions import ClientError

from support.recorded import Bindings, answer

S3 = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
      "SourceArn": "arn:aws:s3:::a-bucket"}
EXCEPTIONS = "TestLambdaPermissions::test_permission_exceptions"


def test_statements_come_back_as_recorded(functions, client):
    name = functions.create()
    case = "TestLambdaPermissions::test_create_multiple_lambda_permissions"
    bind = Bindings(functions.account, resource_1=name)
    for step, service in (("add_permission_response_1", "logs"), ("add_permission_response_2", "kinesis")):
        added = client.add_permission(FunctionName=name, StatementId=service,
                                      Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com")
        added["Statement"] = json.loads(added["Statement"])
        bind.check(case, step, added)
    policy = client.get_policy(FunctionName=name)
    policy["Policy"] = json.loads(policy["Policy"])
    bind.check(case, "policy_after_2_add", policy)


def test_conditions_come_back_as_recorded(functions, client):
    name = functions.create()
    added = client.add_permission(FunctionName=name, **S3)
    added["Statement"] = json.loads(added["Statement"])
    Bindings(functions.account, resource_1="a-bucket", function_name_1=name).check(
        "TestLambdaPermissions::test_lambda_permission_fn_versioning", "add_permission", added)


def test_an_account_becomes_its_root(functions, client):
    name = functions.create()
    added = client.add_permission(FunctionName=name, StatementId="x", Action="lambda:GetFunction",
                                  Principal="123456789012", SourceAccount="123456789012")
    statement = json.loads(added["Statement"])
    assert statement["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert statement["Condition"] == {"StringEquals": {"AWS:SourceAccount": "123456789012"}}


def test_a_version_has_a_policy_of_its_own(functions, client, refuses):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.add_permission(FunctionName=name, **S3)
    with refuses("ResourceNotFoundException", "The resource you requested does not exist.", 404):
        client.get_policy(FunctionName=name, Qualifier="1")
    client.add_permission(FunctionName=name, Qualifier="1", **S3)
    policy = json.loads(client.get_policy(FunctionName=name, Qualifier="1")["Policy"])
    assert policy["Statement"][0]["Resource"].endswith(f":function:{name}:1")


def test_remove(functions, client, refuses):
    name = functions.create()
    client.add_permission(FunctionName=name, **S3)
    client.remove_permission(FunctionName=name, StatementId="s3")
    with refuses("ResourceNotFoundException", status=404):
        client.get_policy(FunctionName=name)


def test_a_revision_id_guards_a_policy(functions, client):
    name = functions.create()
    client.add_permission(FunctionName=name, **S3)
    with pytest.raises(ClientError) as caught:
        client.add_permission(FunctionName=name, **{**S3, "StatementId": "s3_2"},
                              RevisionId="00000000-0000-4000-8000-000000000000")
    Bindings(functions.account).check(
        "TestLambdaPermissions::test_lambda_permission_fn_versioning",
        "add_permission_alias_revision_exception", caught.value.response)
    current = client.get_policy(FunctionName=name)["RevisionId"]
    client.add_permission(FunctionName=name, **{**S3, "StatementId": "s3_2"}, RevisionId=current)
    assert client.get_policy(FunctionName=name)["RevisionId"] != current


@pytest.mark.parametrize("step, operation, fields", [
    ("add_permission_conflicting_statement_id", "add_permission", S3),
    ("add_permission_fn_doesnotexist", "add_permission", {**S3, "FunctionName": "doesnotexist"}),
    ("add_permission_fn_qualifier_invalid", "add_permission",
     {**S3, "Qualifier": "invalid-qualifier-with-?-char"}),
    ("add_permission_fn_qualifier_latest", "add_permission", {**S3, "Qualifier": "$LATEST"}),
    ("add_permission_fn_qualifier_mismatch", "add_permission",
     {**S3, "FunctionName": "{n}:alias-not-42", "Qualifier": "42"}),
    ("add_permission_fn_qualifier_valid_doesnotexist", "add_permission",
     {**S3, "Qualifier": "valid-with-$-but-doesnotexist"}),
    ("add_permission_fn_version_doesnotexist", "add_permission", {**S3, "Qualifier": "42"}),
    ("add_permission_invalid_statement_id", "add_permission", {**S3, "StatementId": "example.com"}),
    ("add_permission_principal_invalid", "add_permission",
     {**S3, "StatementId": "other", "Principal": "invalid.nonaws.com"}),
    ("get_policy_fn_doesnotexist", "get_policy", {"FunctionName": "doesnotexist"}),
    ("get_policy_fn_version_doesnotexist", "get_policy", {"Qualifier": "42"}),
    ("remove_permission_fn_doesnotexist", "remove_permission",
     {"FunctionName": "doesnotexist", "StatementId": "s3"}),
    ("remove_permission_policy_doesnotexist", "remove_permission",
     {"FunctionName": "{bare}", "StatementId": "s3"}),
])
def test_what_is_wrong_answers_as_recorded(functions, client, step, operation, fields):
    name = functions.create(wait=False)
    bare = functions.create(wait=False)
    client.add_permission(FunctionName=name, **S3)
    given = {"FunctionName": name, **fields}
    given["FunctionName"] = given["FunctionName"].format(n=name, bare=bare)
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**given)
    Bindings(functions.account, function_name=name).check(EXCEPTIONS, step, caught.value.response)
