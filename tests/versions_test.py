"""PublishVersion and ListVersionsByFunction."""

import pytest
from botocore.exceptions import ClientError

from support.functions import PYTHON, python
from support.recorded import Bindings, answer

NUMBER = "def handler(e, c):\n    return [{}, c.function_version, c.invoked_function_arn]\n"
CASE = "TestLambdaVersions::test_version_lifecycle"


def test_the_first_version_answers_as_recorded(functions, client):
    name = functions.create(python(NUMBER.format(1)), Description="No version :(", Timeout=3)
    bind = Bindings(functions.account, function_name_1=name)
    published = client.publish_version(FunctionName=name, Description="First version description :)")
    for step, given in (
            ("first_publish_response", published),
            ("first_publish_get_function_config",
             client.get_function_configuration(FunctionName=name, Qualifier="1"))):
        wanted = {**answer(CASE, step), "Runtime": PYTHON}
        wanted.pop("RevisionId"), given.pop("RevisionId")
        assert bind.differences(wanted, given) == []


def test_a_version_does_not_change(functions, client):
    name = functions.create(python(NUMBER.format(1)))
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    client.update_function_code(FunctionName=name, ZipFile=python(NUMBER.format(2)))
    functions.wait_updated(name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    assert functions.call(name, Qualifier="1") == [1, "1", f"{arn}:1"]
    assert functions.call(f"{name}:1") == [1, "1", f"{arn}:1"]
    assert functions.call(f"{arn}:2") == [2, "2", f"{arn}:2"]
    assert functions.call(name) == [2, "$LATEST", arn]
    assert functions.invoke(name, Qualifier="1").version == "1"


def test_publishing_the_same_again_makes_no_version(functions, client):
    name = functions.create()
    first = client.publish_version(FunctionName=name)
    again = client.publish_version(FunctionName=name, Description="another text")
    assert (first["Version"], again["Version"]) == ("1", "1")
    assert again["Description"] == first["Description"]


def test_a_changed_configuration_is_a_new_version(functions, client):
    name = functions.create(Timeout=3)
    client.publish_version(FunctionName=name)
    client.update_function_configuration(FunctionName=name, Timeout=5)
    functions.wait_updated(name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    assert client.get_function_configuration(FunctionName=name, Qualifier="1")["Timeout"] == 3


def test_guards_of_publish(functions, client, refuses):
    name = functions.create()
    with refuses("InvalidParameterValueException", "CodeSHA256", 400):
        client.publish_version(FunctionName=name, CodeSha256="A" * 43 + "=")
    with refuses("PreconditionFailedException", "Revision Id", 412):
        client.publish_version(FunctionName=name, RevisionId="00000000-0000-4000-8000-000000000000")
    assert len(client.list_versions_by_function(FunctionName=name)["Versions"]) == 1


def test_update_with_publish(functions, client):
    name = functions.create()
    updated = client.update_function_code(
        FunctionName=name, ZipFile=python(NUMBER.format(9)), Publish=True)
    assert updated["Version"] == "1"
    functions.wait_updated(name)
    assert functions.call(name, Qualifier="1")[0] == 9


def test_numbers_are_never_used_again(functions, client):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.update_function_configuration(FunctionName=name, Timeout=5)
    functions.wait_updated(name)
    client.publish_version(FunctionName=name)
    client.delete_function(FunctionName=name, Qualifier="2")
    client.update_function_configuration(FunctionName=name, Timeout=6)
    functions.wait_updated(name)
    assert client.publish_version(FunctionName=name)["Version"] == "3"
    versions = [v["Version"] for v in client.list_versions_by_function(FunctionName=name)["Versions"]]
    assert versions == ["$LATEST", "1", "3"]
    # Nor by another function of that name.
    client.delete_function(FunctionName=name)
    functions.create(name=name)
    assert client.publish_version(FunctionName=name)["Version"] == "4"


def test_a_version_can_go_alone(functions, client, refuses):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.delete_function(FunctionName=name, Qualifier="1")
    with refuses("ResourceNotFoundException", f"{name}:1", 404):
        client.get_function(FunctionName=name, Qualifier="1")
    assert functions.call(name, 1) == 1


def test_a_version_that_is_not_there_answers_as_recorded(functions, client):
    name = functions.create()
    with pytest.raises(ClientError) as caught:
        client.get_function(FunctionName=name, Qualifier="1221")
    Bindings(functions.account, fn_name=name).check(
        "TestLambdaFunction::test_ops_on_nonexisting_version[get_function]",
        "version_not_found_exception", caught.value.response)


def test_pages_of_versions(functions, client):
    name = functions.create()
    for timeout in range(4, 9):
        client.update_function_configuration(FunctionName=name, Timeout=timeout)
        functions.wait_updated(name)
        client.publish_version(FunctionName=name)
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2})
    seen = [v["Version"] for page in pages for v in page["Versions"]]
    assert seen == ["$LATEST", "1", "2", "3", "4", "5"]


def test_list_functions_with_all_versions(functions, client):
    name = functions.create()
    client.publish_version(FunctionName=name)
    pages = client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
    seen = [f["Version"] for page in pages for f in page["Functions"] if f["FunctionName"] == name]
    assert sorted(seen) == ["$LATEST", "1"]
