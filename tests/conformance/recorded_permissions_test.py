"""Recorded cases of permissions, tags and reserved concurrency."""

from cases import recorded
from support.functions import publish, python, unique

INVOKE = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


def arn_of(case, name):
    return f"arn:aws:lambda:us-east-1:{case.functions.account}:function:{name}"


# Permissions


@recorded("TestLambdaPermissions::test_create_multiple_lambda_permissions")
def test_two_statements(case):
    name = case.create(wait=False)
    case.bind.name(resource_1=name)
    for number, service in ((1, "logs"), (2, "kinesis")):
        case.call(f"add_permission_response_{number}", "add_permission", FunctionName=name, StatementId=service,
                  Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com")
    case.call("policy_after_2_add", "get_policy", FunctionName=name)


@recorded("TestLambdaPermissions::test_add_lambda_permission_optional_fields")
def test_optional_members(case):
    # The answers were not recorded; what they hold follows from the conditions that AWS documents.
    name = case.create(wait=False)
    made = case.client.add_permission(
        FunctionName=name, StatementId="urlPermission", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE", SourceAccount="123456789012", EventSourceToken="token")
    assert '"lambda:EventSourceToken":"token"' in made["Statement"].replace(" ", "")
    made = case.client.add_permission(
        FunctionName=name, StatementId="org", Action="lambda:InvokeFunction", Principal="*",
        PrincipalOrgID="o-1234567890")
    assert '"aws:PrincipalOrgID":"o-1234567890"' in made["Statement"].replace(" ", "")


@recorded("TestLambdaPermissions::test_lambda_permission_versioning")
def test_a_version_has_its_own_policy(case):
    name = case.create()
    case.bind.name(resource_1=name, resource_2="a-bucket")
    s3 = {"FunctionName": name, **INVOKE, "SourceArn": "arn:aws:s3:::a-bucket"}
    case.call("add_permission", "add_permission", **s3, StatementId="s3")
    case.call("get_policy", "get_policy", FunctionName=name)
    publish(case.client, name)
    case.refused("get_policy_after_publishing_new_version", "get_policy", FunctionName=name, Qualifier="1")
    case.call("get_policy_after_publishing_latest", "get_policy", FunctionName=name)
    case.client.add_permission(**s3, StatementId="s3", Qualifier="1")
    case.call("get_policy_after_adding_to_new_version", "get_policy", FunctionName=name)
    case.client.add_permission(**s3, StatementId="s3_2")
    case.call("get_policy_after_adding_2", "get_policy", FunctionName=name)


@recorded("TestLambdaPermissions::test_lambda_permission_fn_versioning")
def test_a_version_and_an_alias_have_their_own_policies(case):
    name = case.create()
    case.bind.name(resource_1="a-bucket", function_name_1=name)
    s3 = {"FunctionName": name, **INVOKE, "SourceArn": "arn:aws:s3:::a-bucket"}
    case.call("add_permission", "add_permission", **s3, StatementId="s3")
    case.call("get_policy", "get_policy", FunctionName=name)
    case.call("publish_version_result", "publish_version", FunctionName=name)
    case.call("get_function_result_after_publishing", "get_function", FunctionName=name)
    case.refused("get_policy_after_publishing_new_version", "get_policy", FunctionName=name, Qualifier="1")
    case.call("get_policy_after_publishing_latest", "get_policy", FunctionName=name)
    case.client.add_permission(**s3, StatementId="s3", Qualifier="1")
    case.call("get_policy_version", "get_policy", FunctionName=name, Qualifier="1")
    case.call("get_policy_after_adding_to_new_version", "get_policy", FunctionName=name)
    case.call("create_alias_response", "create_alias", FunctionName=name, Name="permission-alias",
              FunctionVersion="1")
    case.call("get_alias", "get_alias", FunctionName=name, Name="permission-alias")
    alias = {**s3, "StatementId": "s3", "Qualifier": "permission-alias"}
    case.refused("add_permission_alias_revision_exception", "add_permission", **alias,
                 RevisionId="wrong-revision-id")
    case.client.add_permission(**alias)
    case.call("get_policy_alias", "get_policy", FunctionName=name, Qualifier="permission-alias")
    case.client.add_permission(**s3, StatementId="s3_2")
    case.call("get_policy_after_adding_2", "get_policy", FunctionName=name)


@recorded("TestLambdaPermissions::test_permission_exceptions")
def test_what_is_wrong_with_a_permission(case):
    name = case.create(wait=False)
    case.bind.name(function_name=name)
    whom = {"FunctionName": name, **INVOKE, "SourceArn": "arn:aws:s3:::a-bucket", "StatementId": "s3"}
    removed = {"FunctionName": name, "StatementId": "s3"}
    case.refused("remove_permission_policy_doesnotexist", "remove_permission", **removed)
    case.client.add_permission(**whom)
    for step, change in {
        "add_permission_invalid_statement_id": {"StatementId": "example.com"},
        "add_permission_fn_qualifier_latest": {"Qualifier": "$LATEST"},
        "add_permission_principal_invalid": {"Principal": "invalid.nonaws.com"},
        "add_permission_fn_doesnotexist": {"FunctionName": "doesnotexist"},
        "add_permission_fn_alias_doesnotexist": {"Qualifier": "alias-doesnotexist"},
        "add_permission_fn_version_doesnotexist": {"Qualifier": "42"},
        "add_permission_fn_qualifier_invalid": {"Qualifier": "invalid-qualifier-with-?-char"},
        "add_permission_fn_qualifier_valid_doesnotexist": {"Qualifier": "valid-with-$-but-doesnotexist"},
        "add_permission_fn_qualifier_mismatch": {"FunctionName": f"{name}:alias-not-42", "Qualifier": "42"},
        "add_permission_conflicting_statement_id": {},
    }.items():
        case.refused(step, "add_permission", **{**whom, **change})
    case.refused("get_policy_fn_doesnotexist", "get_policy", FunctionName="doesnotexist")
    case.refused("get_policy_fn_version_doesnotexist", "get_policy", FunctionName=name, Qualifier="42")
    case.refused("remove_permission_fn_doesnotexist", "remove_permission",
                 **{**removed, "FunctionName": "doesnotexist"})
    case.refused("remove_permission_fn_alias_doesnotexist", "remove_permission", **removed,
                 Qualifier="alias-doesnotexist")


@recorded("TestJavaRuntimes::test_java_lambda_subscribe_sns_topic")
def test_a_topic_may_call(case):
    # The topic and what it delivers are no part of what was recorded.
    name = case.create(Runtime="java11", Handler="cloud.localstack.sample.LambdaHandler")
    case.call("get-function", "get_function", FunctionName=name)
    case.bind.name(resource_3="a-topic")
    case.call("add-permission", "add_permission", FunctionName=name, StatementId=unique("sid"),
              Action="lambda:InvokeFunction", Principal="sns.amazonaws.com",
              SourceArn=f"arn:aws:sns:us-east-1:{case.functions.account}:a-topic")


# Tags


@recorded("TestLambdaTag::test_tag_nonexisting_resource")
def test_tags_of_a_function_that_was_deleted(case):
    name = case.create()
    case.call("pre_delete_get_function", "get_function", FunctionName=name)
    case.client.delete_function(FunctionName=name)
    resource = arn_of(case, name)
    case.refused("not_found_exception_tag", "tag_resource", Resource=resource, Tags={"A": "B"})
    case.refused("not_found_exception_untag", "untag_resource", Resource=resource, TagKeys=["A"])
    case.refused("not_found_exception_list", "list_tags", Resource=resource)


@recorded("TestLambdaTag::test_tag_exceptions")
def test_tags_of_what_is_no_function(case):
    base = f"arn:aws:lambda:us-east-1:{case.functions.account}"
    case.bind.name(resource_name="f5dee1a6-0a2d-4d7a-9a2b-f2a7f5c5e3f1")
    resource = f"{base}:event-source-mapping:f5dee1a6-0a2d-4d7a-9a2b-f2a7f5c5e3f1"
    case.refused("not_found_exception_tag", "tag_resource", Resource=resource, Tags={"A": "B"})
    case.refused("not_found_exception_untag", "untag_resource", Resource=resource, TagKeys=["A"])
    case.refused("not_found_exception_list", "list_tags", Resource=resource)
    case.refused("aliased_arn_exception", "tag_resource", Resource=f"{resource}:alias", Tags={"A": "B"})
    case.refused("invalid_arn_exception", "tag_resource", Tags={"A": "B"},
                 Resource=f"{base}:foobar:f5dee1a6-0a2d-4d7a-9a2b-f2a7f5c5e3f1")


@recorded("TestLambdaTags::test_tag_exceptions")
def test_what_is_wrong_with_tags(case):
    resource, tags = arn_of(case, case.create(wait=False)), {"A": "A-Value"}
    case.refused("tag_lambda_doesnotexist", "tag_resource", Resource=arn_of(case, "doesnotexist"), Tags=tags)
    case.refused("tag_lambda_qualifier_doesnotexist", "tag_resource", Resource=f"{resource}:v1", Tags=tags)
    case.refused("tag_lambda_invalidarn", "tag_resource", Resource="arn:aws:something", Tags=tags)
    case.refused("tag_empty_tags", "tag_resource", Resource=resource, Tags={})
    case.call("list_tag_lambda_empty", "list_tags", Resource=resource)
    case.call("untag_nomatch", "untag_resource", Resource=resource, TagKeys=["somekey"])
    case.refused("untag_empty_keys", "untag_resource", Resource=resource, TagKeys=[])


@recorded("TestLambdaTags::test_tag_limits")
def test_fifty_tags(case):
    name = case.create()
    resource, fifty = arn_of(case, name), {f"{n}_key": f"{n}_value" for n in range(50)}
    case.refused("tag_lambda_too_many_tags", "tag_resource", Resource=resource, Tags={**fifty, "a": "b"})
    case.call("tag_response", "tag_resource", Resource=resource, Tags=fifty)
    case.call("list_tags_response", "list_tags", Resource=resource)
    case.call("get_fn_response", "get_function", FunctionName=name)
    case.refused("tag_lambda_too_many_tags_additional", "tag_resource", Resource=resource, Tags={"a": "b"})
    case.refused("create_function_invalid_tags", "create_function", FunctionName=unique(), Runtime="python3.12",
                 Handler="index.handler", Role=case.functions.role, Code={"ZipFile": python("")},
                 Tags={**fifty, "a": "b"})


@recorded("TestLambdaTags::test_tag_versions")
def test_versions_have_no_tags(case):
    name = case.create()
    publish(case.client, name)
    resource = arn_of(case, name)
    case.refused("tag_resource_exception", "tag_resource", Resource=f"{resource}:1", Tags={"A": "B"})
    case.refused("tag_resource_latest_exception", "tag_resource", Resource=f"{resource}:$LATEST", Tags={"A": "B"})


# Concurrency


@recorded("TestLambdaConcurrency::test_lambda_concurrency_crud")
def test_a_reservation_comes_and_goes(case):
    name = {"FunctionName": case.create(wait=False)}
    case.call("get_function_concurrency_default", "get_function_concurrency", **name)
    case.call("put_function_concurrency", "put_function_concurrency", **name, ReservedConcurrentExecutions=0)
    case.call("get_function_concurrency_updated", "get_function_concurrency", **name)
    case.client.delete_function_concurrency(**name)
    case.call("get_function_concurrency_deleted", "get_function_concurrency", **name)
