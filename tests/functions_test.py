"""CreateFunction, GetFunction, the updates and DeleteFunction, as real clients see them."""

import base64
import hashlib
import re
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from support.functions import ECHO, PYTHON, python, unique, zip_of
from support.recorded import Bindings, cases


def sha256(package):
    return base64.b64encode(hashlib.sha256(package).digest()).decode()


# The whole answers


def test_create_answers_as_recorded(functions):
    name = unique()
    answer = functions.create_response(ECHO, name, Handler="handler.handler", Timeout=30,
                                       Environment={"Variables": {}}, Runtime=PYTHON)
    recorded = cases("TestLambdaFunction::test_function_arns")[
        "TestLambdaFunction::test_function_arns"]["create-function-arn-response"]
    wanted = {**recorded["CreateFunctionResponse"], "Runtime": PYTHON}
    assert Bindings(functions.account, function_name_1=name).differences(wanted, answer) == []
    assert answer["CodeSha256"] == sha256(ECHO)
    assert answer["CodeSize"] == len(ECHO)
    assert answer["FunctionArn"] == f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"


def test_get_function_answers_as_recorded(functions, client):
    name = functions.create(Handler="handler.handler", Timeout=30, Environment={"Variables": {}})
    recorded = cases("TestLambdaTag::test_tag_nonexisting_resource")[
        "TestLambdaTag::test_tag_nonexisting_resource"]["pre_delete_get_function"]
    recorded["Configuration"]["Runtime"] = PYTHON
    answer = client.get_function(FunctionName=name)
    assert Bindings(functions.account).differences(recorded, answer) == []


def test_environment_and_settings_come_back(functions, client):
    fields = {
        "Description": "what it does", "Timeout": 17, "MemorySize": 192,
        "Environment": {"Variables": {"NAME": "välue", "EMPTY": ""}},
        "EphemeralStorage": {"Size": 600},
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN",
                          "SystemLogLevel": "INFO", "LogGroup": "/my/group"},
        "Tags": {"team": "core"},
    }
    name = functions.create(**fields)
    answer = client.get_function(FunctionName=name)
    for field, value in fields.items():
        if field != "Tags":
            assert answer["Configuration"][field] == value
    assert answer["Tags"] == {"team": "core"}


def test_code_location_gives_the_package(functions, client):
    package = zip_of({"index.py": "def handler(e, c): return 1\n", "data.bin": bytes(range(256))})
    name = functions.create(package)
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    # The link is all that a client has: it must work without any header.
    with urllib.request.urlopen(location, timeout=30) as reply:
        assert reply.read() == package


@pytest.mark.parametrize("part", range(-1, -5, -1))
def test_a_code_location_that_was_changed_opens_nothing(functions, client, part):
    name = functions.create()
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    parts = location.split("/")
    digit = parts[part][-1]
    parts[part] = parts[part][:-1] + ("1" if digit != "1" else "2")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen("/".join(parts), timeout=30)
    assert caught.value.code in (401, 403, 404)


# Names


NAMES = cases("TestLambdaFunction::test_function_name_and_qualifier_validation")
ARGUMENTS = {
    "full_arn_with_multiple_qualifiers": ("arn:aws:lambda:us-east-1:{a}:function:my-function:1:2", None),
    "function_name_and_qualifier_too_long": ("my-function", "a" * 65),
    "function_name_is_single_invalid": ("*", None),
    "function_name_too_long": ("a" * 65, None),
    "incomplete_arn": ("arn:aws:lambda:us-east-1:{a}:function", None),
    "invalid_account_id_in_partial_arn": ("invalid-account:function:my-function", None),
    "invalid_characters_in_function_name": ("my-function!", None),
    "invalid_characters_in_qualifier": ("my-function", "invalid!"),
    "invalid_region_in_arn": ("arn:aws:lambda:invalid-region:{a}:function:my-function", None),
    "latest_version_with_additional_qualifier": ("my-function:$LATEST", "1"),
    "lowercase_latest_qualifier": ("my-function", "$latest"),
    "missing_account_id_in_arn": ("arn:aws:lambda:us-east-1::function:my-function", None),
    "missing_region_in_arn": ("arn:aws:lambda::{a}:function:my-function", None),
    "misspelled_latest_in_arn": ("arn:aws:lambda:us-east-1:{a}:function:my-function:$LATES", None),
    "non_lambda_arn": ("arn:aws:ec2:us-east-1:{a}:instance:i-1234567890abcdef0", None),
    "partial_arn_with_extra_qualifier": ("function:my-function:$LATEST:extra", None),
    "qualifier_too_long": ("my-function", "a" * 129),
    "qualifier_too_long0": ("my-function", "a" * 129),
}


def name_cases():
    found = []
    for case, answers in NAMES.items():
        arguments, operation = case.split("[")[1].rstrip("]").rsplit("-", 1)
        # CreateFunction has no qualifier of its own: the recorder put it behind the name, in ways
        # that the recording does not say.
        if arguments in ARGUMENTS and answers and not (
                operation == "create_function" and ARGUMENTS[arguments][1]):
            found.append(pytest.param(arguments, operation, answers, id=f"{arguments}-{operation}"))
    return found


@pytest.mark.parametrize("arguments, operation, answers", name_cases())
def test_names_and_qualifiers_are_validated_as_recorded(functions, client, arguments, operation, answers):
    name, qualifier = ARGUMENTS[arguments]
    name = name.format(a=functions.account)
    fields = {"Qualifier": qualifier} if qualifier else {}
    with pytest.raises(ClientError) as caught:
        if operation == "create_function":
            functions.create_response(ECHO, name)
        elif operation == "invoke":
            client.invoke(FunctionName=name, **fields)
        else:
            getattr(client, operation)(FunctionName=name, **fields)
    error = caught.value.response["Error"]
    wanted = answers[f"{operation}_exception"]
    bind = Bindings(functions.account)
    assert error["Code"] == wanted["Code"], error
    if "Errors" in wanted:
        assert error["Message"].startswith(f"{wanted['Count']} validation error")
        for text in wanted["Errors"]:
            assert bind.fill(text) in error["Message"]
    else:
        assert error["Message"] == bind.fill(wanted["Message"])


@pytest.mark.parametrize("form", [
    "{n}", "function:{n}", "{a}:function:{n}", "arn:aws:lambda:us-east-1:{a}:function:{n}",
    "{n}:$LATEST", "arn:aws:lambda:us-east-1:{a}:function:{n}:$LATEST"])
def test_every_form_of_a_name_finds_the_function(functions, client, form):
    name = functions.create()
    given = form.format(n=name, a=functions.account)
    answer = client.get_function_configuration(FunctionName=given)
    assert answer["FunctionName"] == name
    assert functions.call(given, {"a": 1}) == {"a": 1}


@pytest.mark.parametrize("operation, case", [
    ("get_function", "get_function"), ("delete_function", "delete_function")])
def test_a_function_that_is_not_there_answers_as_recorded(functions, client, operation, case):
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(FunctionName="never-made")
    Bindings(functions.account, nonexisting_fn_name="never-made").check(
        f"TestLambdaFunction::test_ops_on_nonexisting_fn[{case}]", "not_found_exception",
        caught.value.response)


@pytest.mark.parametrize("operation", [
    "delete_function", "get_function_concurrency", "get_function_configuration",
    "get_function_url_config"])
def test_another_region_is_not_reachable(functions, client, operation):
    arn = f"arn:aws:lambda:eu-west-3:{functions.account}:function:anything"
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(FunctionName=arn)
    Bindings(functions.account, wrong_region="eu-west-3").check(
        f"TestLambdaFunction::test_get_function_wrong_region[{operation}]",
        "wrong_region_exception", caught.value.response)


@pytest.mark.parametrize("operation", ["delete_function", "get_function_configuration"])
def test_a_qualifier_in_the_name_must_be_the_one_beside_it(functions, client, operation):
    bind = Bindings(functions.account)
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:some-function:$LATEST"
    for step, qualifier in (("not_match_exception", "1"), ("match_exception", "$LATEST")):
        with pytest.raises(ClientError) as caught:
            getattr(client, operation)(FunctionName=arn, Qualifier=qualifier)
        bind.check(f"TestLambdaFunction::test_ops_with_arn_qualifier_mismatch[{operation}]", step,
                   caught.value.response)


# Create


def test_a_second_create_conflicts(functions, refuses):
    name = functions.create()
    with refuses("ResourceConflictException", f"Function already exist: {name}", 409):
        functions.create_response(ECHO, name)


def test_a_deprecated_runtime_is_refused_as_recorded(functions):
    with pytest.raises(ClientError) as caught:
        functions.create_response(Runtime="java8")
    Bindings(functions.account).check(
        "TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled[java8]",
        "deprecation_error", caught.value.response)


def test_an_unknown_runtime_is_refused(functions, refuses):
    with refuses("InvalidParameterValueException", "cobol1.x"):
        functions.create_response(Runtime="cobol1.x")


@pytest.mark.parametrize("field, value", [
    ("Layers", ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]),
    ("VpcConfig", {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}),
    ("DeadLetterConfig", {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"}),
    ("TracingConfig", {"Mode": "Active"}),
    ("FileSystemConfigs", [{
        "Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
        "LocalMountPath": "/mnt/a"}]),
    ("KMSKeyArn", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
    ("Architectures", ["arm64"]),
])
def test_a_field_without_effect_yet_says_so(functions, client, field, value):
    name = unique()
    with pytest.raises(ClientError) as caught:
        functions.create_response(ECHO, name, **{field: value})
    error = caught.value.response["Error"]
    assert error["Code"] in ("InvalidParameterValueException", "InvalidRequestContentException")
    assert field.rstrip("s").lower() in error["Message"].lower().replace(" ", "")
    assert name not in [f["FunctionName"] for f in client.list_functions()["Functions"]]


@pytest.mark.parametrize("field, value", [
    ("Layers", []), ("VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}),
    ("TracingConfig", {"Mode": "PassThrough"}), ("SnapStart", {"ApplyOn": "None"}),
    ("Architectures", ["x86_64"]), ("PackageType", "Zip"), ("FileSystemConfigs", [])])
def test_the_default_of_a_field_without_effect_is_accepted(functions, field, value):
    functions.create(wait=False, **{field: value})


@pytest.mark.parametrize("fields, code, text", [
    ({"MemorySize": 127}, "ValidationException", "greater than or equal to 128"),
    ({"MemorySize": 10241}, None, "10240"),
    ({"Timeout": 0}, "ValidationException", "greater than or equal to 1"),
    ({"Timeout": 901}, None, "900"),
    ({"EphemeralStorage": {"Size": 511}}, "ValidationException", "512"),
    ({"EphemeralStorage": {"Size": 10241}}, None, "10240"),
    ({"Role": "nobody"}, "ValidationException", "role"),
    ({"Description": "x" * 257}, "ValidationException", "256"),
    ({"Handler": "a b"}, "ValidationException", "handler"),
    ({"Handler": "x" * 129}, "ValidationException", "128"),
    ({"Environment": {"Variables": {"1BAD": "x"}}}, "ValidationException", "environment"),
    ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "AWS_REGION"),
    ({"Environment": {"Variables": {"BIG": "x" * 4096}}}, "InvalidParameterValueException", "4 ?KB|4096|5120"),
    ({"Runtime": None, "Handler": None}, None, "[Rr]untime|[Hh]andler"),
])
def test_a_field_outside_its_bounds_is_refused(functions, fields, code, text):
    given = {"Runtime": PYTHON, "Handler": "index.handler", "Role": functions.role, **fields}
    given = {k: v for k, v in given.items() if v is not None}
    with pytest.raises(ClientError) as caught:
        # The SDK would refuse some of these itself.
        functions.server.client("lambda", parameter_validation=False).create_function(
            FunctionName=unique(), Code={"ZipFile": ECHO}, **given)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    if code:
        assert response["Error"]["Code"] == code, response["Error"]
    assert re.search(text, response["Error"]["Message"]), response["Error"]


def test_publish_on_create_makes_version_1(functions, client):
    name = unique()
    assert functions.create_response(ECHO, name, Publish=True)["Version"] == "1"
    functions.wait_active(name)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [v["Version"] for v in versions] == ["$LATEST", "1"]


# Update


def test_update_of_code_is_what_runs_next(functions, client):
    name = functions.create(python("def handler(e, c): return 'old'\n"))
    assert functions.call(name) == "old"
    package = python("def handler(e, c): return 'new'\n")
    answer = client.update_function_code(FunctionName=name, ZipFile=package)
    assert answer["CodeSha256"] == sha256(package)
    assert answer["LastUpdateStatus"] == "InProgress"
    functions.wait_updated(name)
    assert functions.call(name) == "new"


def test_dry_run_of_an_update_changes_nothing(functions, client):
    name = functions.create()
    before = client.get_function_configuration(FunctionName=name)
    package = python("def handler(e, c): return 'new'\n")
    answer = client.update_function_code(FunctionName=name, ZipFile=package, DryRun=True)
    assert answer["CodeSha256"] == sha256(package)
    after = client.get_function_configuration(FunctionName=name)
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])


def test_a_revision_id_guards_an_update(functions, client, refuses):
    name = functions.create()
    text = "The Revision Id provided does not match the latest Revision Id"
    stale = "00000000-0000-4000-8000-000000000000"
    with refuses("PreconditionFailedException", text, 412):
        client.update_function_code(FunctionName=name, ZipFile=ECHO, RevisionId=stale)
    with refuses("PreconditionFailedException", text, 412):
        client.update_function_configuration(FunctionName=name, Description="x", RevisionId=stale)
    current = client.get_function_configuration(FunctionName=name)["RevisionId"]
    answer = client.update_function_configuration(
        FunctionName=name, Description="x", RevisionId=current)
    assert answer["RevisionId"] != current


def test_an_update_of_one_setting_keeps_the_others(functions, client):
    name = functions.create(Timeout=9, Environment={"Variables": {"NAME": "1"}}, Description="d")
    client.update_function_configuration(FunctionName=name, MemorySize=256)
    functions.wait_updated(name)
    answer = client.get_function_configuration(FunctionName=name)
    assert (answer["Timeout"], answer["MemorySize"], answer["Description"]) == (9, 256, "d")
    assert answer["Environment"] == {"Variables": {"NAME": "1"}}


def test_an_updated_environment_reaches_the_function(functions, client):
    name = functions.create(python("import os\ndef handler(e, c): return os.environ.get('NAME')\n"),
                            Environment={"Variables": {"NAME": "1"}})
    assert functions.call(name) == "1"
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"NAME": "2"}})
    functions.wait_updated(name)
    assert functions.call(name) == "2"


def test_a_refused_package_leaves_the_function_as_it_was(functions, client, refuses):
    name = functions.create(python("def handler(e, c): return 'old'\n"))
    with refuses("InvalidParameterValueException", "[Uu]nzip|zip"):
        client.update_function_code(FunctionName=name, ZipFile=b"no zip")
    assert functions.call(name) == "old"
    assert client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"


# Delete and list


def test_delete_takes_everything_with_it(functions, client, refuses):
    name = functions.create()
    client.publish_version(FunctionName=name)
    functions.public_url(name)
    assert client.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
    for call in (client.get_function, client.get_policy, client.get_function_url_config,
                 client.list_versions_by_function, client.invoke):
        with refuses("ResourceNotFoundException", status=404):
            call(FunctionName=name)


def test_a_name_can_be_used_again(functions):
    name = functions.create(python("def handler(e, c): return 1\n"))
    assert functions.call(name) == 1
    functions.client.delete_function(FunctionName=name)
    functions.create(python("def handler(e, c): return 2\n"), name)
    assert functions.call(name) == 2


def test_list_pages_hold_every_function_once(functions, client):
    made = {functions.create(wait=False) for _ in range(5)}
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = []
    for page in pages:
        assert len(page["Functions"]) <= 2
        names += [f["FunctionName"] for f in page["Functions"]]
    assert len(names) == len(set(names))
    assert made <= set(names)


def test_an_unknown_marker_is_refused(client, refuses):
    with refuses("InvalidParameterValueException"):
        client.list_functions(Marker="nonsense")


def test_account_settings_have_the_recorded_shape(functions, client):
    answer = client.get_account_settings()
    recorded = cases("TestLambdaAccountSettings::test_account_settings")[
        "TestLambdaAccountSettings::test_account_settings"]["acc_settings_modded"]
    assert sorted(answer["AccountLimit"]) == recorded["AccountLimit"]
    assert sorted(answer["AccountUsage"]) == recorded["AccountUsage"]
    before = answer["AccountUsage"]["FunctionCount"]
    functions.create(wait=False)
    after = client.get_account_settings()["AccountUsage"]
    assert after["FunctionCount"] == before + 1
    assert after["TotalCodeSize"] >= len(ECHO)


def test_an_operation_that_is_not_served_says_its_name(client):
    with pytest.raises(ClientError) as caught:
        client.list_layers()
    error = caught.value.response["Error"]
    assert "ListLayers" in error["Message"], error
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_state_reaches_active_with_its_reasons_gone(functions, client):
    name = unique()
    created = functions.create_response(ECHO, name)
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in created
    functions.wait_active(name)
    active = client.get_function_configuration(FunctionName=name)
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in active
    assert "StateReasonCode" not in active
