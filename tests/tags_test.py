"""TagResource, UntagResource and ListTags for functions."""

import pytest
from botocore.exceptions import ClientError

from support.functions import unique
from support.recorded import Bindings


def arn(functions, name):
    return f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"


def test_tags_are_added_replaced_and_removed(functions, client):
    name = functions.create(Tags={"a": "1"}, wait=False)
    resource = arn(functions, name)
    assert client.list_tags(Resource=resource)["Tags"] == {"a": "1"}
    client.tag_resource(Resource=resource, Tags={"a": "2", "b": "ü", "empty": ""})
    assert client.list_tags(Resource=resource)["Tags"] == {"a": "2", "b": "ü", "empty": ""}
    client.untag_resource(Resource=resource, TagKeys=["a", "never-there"])
    assert client.list_tags(Resource=resource)["Tags"] == {"b": "ü", "empty": ""}
    assert client.get_function(FunctionName=name)["Tags"] == {"b": "ü", "empty": ""}


def test_a_function_without_tags_has_none_in_its_answer(functions, client):
    name = functions.create(wait=False)
    assert "Tags" not in client.get_function(FunctionName=name)
    assert client.list_tags(Resource=arn(functions, name))["Tags"] == {}


def test_what_is_wrong_answers_as_recorded(functions, client):
    case = "TestLambdaTags::test_tag_exceptions"
    bind = Bindings(functions.account)
    resource = arn(functions, functions.create(wait=False))
    calls = {
        "tag_lambda_doesnotexist": (client.tag_resource, arn(functions, "doesnotexist"), {"Tags": {"A": "B"}}),
        "tag_lambda_invalidarn": (client.tag_resource, "arn:aws:something", {"Tags": {"A": "B"}}),
        "tag_lambda_qualifier_doesnotexist": (client.tag_resource, f"{resource}:v1", {"Tags": {"A": "B"}}),
        "tag_empty_tags": (client.tag_resource, resource, {"Tags": {}}),
        "untag_empty_keys": (client.untag_resource, resource, {"TagKeys": []}),
    }
    for step, (call, target, fields) in calls.items():
        with pytest.raises(ClientError) as caught:
            call(Resource=target, **fields)
        bind.check(case, step, caught.value.response)
    bind.check(case, "untag_nomatch", client.untag_resource(Resource=resource, TagKeys=["x"]))
    bind.check(case, "list_tag_lambda_empty", client.list_tags(Resource=resource))


def test_fifty_tags_are_the_limit(functions, client):
    case = "TestLambdaTags::test_tag_limits"
    bind = Bindings(functions.account)
    resource = arn(functions, functions.create(wait=False))
    fifty = {f"{n}_key": f"{n}_value" for n in range(50)}
    with pytest.raises(ClientError) as caught:
        client.tag_resource(Resource=resource, Tags={**fifty, "one": "more"})
    bind.check(case, "tag_lambda_too_many_tags", caught.value.response)
    bind.check(case, "tag_response", client.tag_resource(Resource=resource, Tags=fifty))
    bind.check(case, "list_tags_response", client.list_tags(Resource=resource))
    with pytest.raises(ClientError) as caught:
        client.tag_resource(Resource=resource, Tags={"one": "more"})
    bind.check(case, "tag_lambda_too_many_tags_additional", caught.value.response)
    with pytest.raises(ClientError) as caught:
        functions.create_response(name=unique(), Tags={**fifty, "one": "more"})
    bind.check(case, "create_function_invalid_tags", caught.value.response)


@pytest.mark.parametrize("qualifier, step", [
    ("1", "tag_resource_exception"), ("$LATEST", "tag_resource_latest_exception")])
def test_versions_have_no_tags(functions, client, qualifier, step):
    name = functions.create()
    client.publish_version(FunctionName=name)
    with pytest.raises(ClientError) as caught:
        client.tag_resource(Resource=f"{arn(functions, name)}:{qualifier}", Tags={"a": "b"})
    Bindings(functions.account).check(
        "TestLambdaTags::test_tag_versions", step, caught.value.response)


def test_tags_do_not_change_the_revision(functions, client):
    name = functions.create()
    before = client.get_function_configuration(FunctionName=name)["RevisionId"]
    client.tag_resource(Resource=arn(functions, name), Tags={"a": "b"})
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] == before
