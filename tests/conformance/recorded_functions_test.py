"""Recorded cases of functions: created, described, updated, deleted, listed."""

import io
import os
import zipfile

from cases import recorded
from support.functions import ECHO, python, unique

OTHER = python("def handler(event, context):\n    return 'other'\n")
ANSWERS = python("def handler(event, context):\n    return {}\n")


@recorded("TestLambdaFunction::test_function_arns")
def test_names_in_arns(case):
    account, region = case.functions.account, "us-east-1"
    arn = f"arn:aws:lambda:{region}:{account}:function:"
    for number, form in ((1, arn), (2, f"{account}:function:")):
        step = "create-function-arn-response" if number == 1 else "create-function-partial-arn-response"
        name = unique("arns")
        case.bind.name(**{f"function_name_{number}": name})
        # Their code differs.
        package = ECHO if number == 1 else OTHER
        case.check(step, case.functions.create_response(
            package, form + name, Handler="handler.handler", Timeout=30, Runtime="python3.12",
            Environment={"Variables": {}}))

    def refused(step, name):
        case.refused(step, "create_function", FunctionName=name, Code={"ZipFile": ECHO}, Runtime="python3.12",
                     Handler="handler.handler", Role=case.functions.role)

    refused("invalid_function_name_exc", "invalid:function:name")
    refused("long_function_name_exc", "a" * 65)
    case.bind.name(function_name="a" * 150)
    refused("long_function_arn_exc", arn + "a" * 150)
    refused("function_arn_other_region_exc", f"arn:aws:lambda:ap-southeast-1:{account}:function:x")
    refused("function_arn_other_account_exc", f"arn:aws:lambda:{region}:123456789012:function:x")


@recorded("TestLambdaFunction::test_get_function_wrong_region")
def test_another_region(case):
    case.bind.name(wrong_region="eu-west-3")
    arn = f"arn:aws:lambda:eu-west-3:{case.functions.account}:function:{case.create(wait=False)}"
    case.refused("wrong_region_exception", case.parameter, FunctionName=arn)


@recorded("TestLambdaFunction::test_ops_on_nonexisting_fn")
def test_a_function_that_is_not_there(case):
    case.bind.name(nonexisting_fn_name="never-made")
    case.refused("not_found_exception", case.parameter, FunctionName="never-made")


@recorded("TestLambdaFunction::test_ops_on_nonexisting_version")
def test_a_version_that_is_not_there(case):
    name = case.create(wait=False)
    case.bind.name(fn_name=name)
    case.refused("version_not_found_exception", case.parameter, FunctionName=name, Qualifier="1221")


@recorded("TestLambdaFunction::test_ops_with_arn_qualifier_mismatch")
def test_two_qualifiers(case):
    arn = f"arn:aws:lambda:us-east-1:{case.functions.account}:function:some-function:$LATEST"
    case.refused("not_match_exception", case.parameter, FunctionName=arn, Qualifier="1")
    case.refused("match_exception", case.parameter, FunctionName=arn, Qualifier="$LATEST")


@recorded("TestLambdaFunction::test_redundant_updates")
def test_the_same_update_twice(case):
    name = case.create("create_response", Description="Initial description")
    change = {"FunctionName": name, "Description": "1st update description"}
    case.call("first_update_result", "update_function_configuration", **change)
    case.functions.wait_updated(name)
    case.call("get_fn_config_result", "get_function_configuration", FunctionName=name)
    case.call("get_fn_result", "get_function", FunctionName=name)
    case.call("redundant_update_result", "update_function_configuration", **change)
    case.functions.wait_updated(name)
    case.call("get_fn_result_after_redundant_update", "get_function", FunctionName=name)


@recorded("TestLambdaFunction::test_vpc_config")
def test_a_vpc_comes_changes_and_goes(case):
    def ids(policy):
        return {"SubnetIds": [f"subnet-{policy}"], "SecurityGroupIds": [f"sg-{policy}"]}

    for number, policy in ((1, "internet"), (2, "none")):
        case.bind.known |= {f"<subnet_id_{number}>": f"subnet-{policy}",
                            f"<security_group_id_{number}>": f"sg-{policy}"}
    name = case.create("create_response", MemorySize=256, Timeout=5, VpcConfig=ids("internet"))
    first = case.call("get_function_response", "get_function", FunctionName=name)
    # One network, whatever the policy.
    case.bind.known["<vpc_id>"] = first["Configuration"]["VpcConfig"]["VpcId"]
    for word, change in (("update", ids("none")), ("delete", {"SubnetIds": [], "SecurityGroupIds": []})):
        case.call(f"{word}_vpcconfig_update_response", "update_function_configuration",
                  FunctionName=name, VpcConfig=change)
        case.functions.wait_updated(name)
        case.call(f"{word}_vpcconfig_get_function_response", "get_function", FunctionName=name)


@recorded("TestLambdaCleanup::test_recreate_function")
def test_a_name_is_free_again(case):
    name = unique("again")
    fields = {"name": name, "Handler": "lambda_echo.handler"}
    case.create("create_function_response_one", **fields)
    case.client.delete_function(FunctionName=name)
    case.create("create_function_response_two", **fields)


@recorded("TestLambdaBehavior::test_mixed_architecture")
def test_another_architecture(case):
    name = case.create("create_function_response", Architectures=["x86_64"])
    case.call("update_function_code_response", "update_function_code", FunctionName=name, ZipFile=ECHO,
              Architectures=["arm64"])


@recorded("TestLambdaBaseFeatures::test_lambda_different_iam_keys_environment")
def test_every_start_has_keys_of_its_own(case):
    body = "import os\ndef handler(event, context):\n    return os.environ['AWS_ACCESS_KEY_ID']\n"
    keys = set()
    name = unique("keys")
    package = python(body, "handler.py")
    for step in ("create-result", None):
        case.create(step, package, name=name)
        keys.add(case.functions.call(name))
        case.client.delete_function(FunctionName=name)
    assert len(keys) == 2


# Names and qualifiers

LONG = "a" * 65
ARGUMENTS = {
    # name, qualifier: as the test's parameter says. {arn} is that of a function.
    "full_arn_and_qualifier_too_long_and_invalid_region":
        ("arn:aws:lambda:invalid-region:{a}:function:my-function-" + "a" * 170, "a" * 129),
    "full_arn_with_multiple_qualifiers": ("{arn}my-function:1:2", None),
    "function_name_and_qualifier_too_long": ("my-function", LONG),
    "function_name_is_single_invalid": ("*", None),
    "function_name_too_long": (LONG, None),
    "incomplete_arn": ("arn:aws:lambda:us-east-1:{a}:function", None),
    "invalid_account_id_in_partial_arn": ("invalid-account:function:my-function", None),
    "invalid_characters_in_function_name": ("my-function!", None),
    "invalid_characters_in_qualifier": ("my-function", "invalid!"),
    "invalid_region_in_arn": ("arn:aws:lambda:invalid-region:{a}:function:my-function", None),
    "latest_version_with_additional_qualifier": ("{arn}my-function:$LATEST", "1"),
    "lowercase_latest_qualifier": ("{arn}my-function", "$latest"),
    "missing_account_id_in_arn": ("arn:aws:lambda:us-east-1::function:my-function", None),
    "missing_region_in_arn": ("arn:aws:lambda::{a}:function:my-function", None),
    "misspelled_latest_in_arn": ("{arn}my-function:$LATES", None),
    "non_lambda_arn": ("arn:aws:ec2:us-east-1:{a}:instance:i-1234567890abcdef0", None),
    "partial_arn_with_extra_qualifier": ("function:my-function:$LATEST:extra", None),
    "qualifier_too_long": ("my-function", "a" * 129),
    "qualifier_too_long0": ("my-function", "a" * 129),
    # Long for a name, but not for a qualifier.
    "qualifier_too_long1": ("my-function", LONG),
}


def as_written(error):
    """An error as the recorder wrote it: validations apart, since their order is not one."""
    head, found, rest = error["Message"].partition(" detected: ")
    if not found:
        return dict(error)
    return {"Code": error["Code"], "Count": int(head.split()[0]),
            "Errors": sorted(text.removeprefix("Value ") for text in rest.split("; "))}


@recorded("TestLambdaFunction::test_function_name_and_qualifier_validation")
def test_names_and_qualifiers(case):
    arguments, operation = case.parameter.rsplit("-", 1)
    name, qualifier = ARGUMENTS[arguments]
    account = case.functions.account
    name = name.format(a=account, arn=f"arn:aws:lambda:us-east-1:{account}:function:")
    try:
        if operation == "create_function":
            # It has no qualifier of its own: that stands behind the name.
            name += f":{qualifier}" if qualifier else ""
            case.create(name=name, wait=False)
        else:
            getattr(case.client, operation)(FunctionName=name, **({"Qualifier": qualifier} if qualifier else {}))
    except case.client.exceptions.ClientError as error:
        step = f"{operation}_exception"
        if step in case.answers:
            wanted = case.answers[step]
            if "Errors" in wanted:
                wanted["Errors"] = sorted(case.bind.fill(text).removeprefix("Value ") for text in wanted["Errors"])
            case.check(step, as_written(error.response["Error"]))
    else:
        assert not case.answers, "was not refused"
        # A name that is one after all, and another case's that is not there.
        case.client.delete_function(FunctionName=name)


# Limits


@recorded("TestLambdaAccountSettings::test_account_settings")
def test_the_members_of_the_settings(case):
    answer = case.client.get_account_settings()
    for part in ("AccountLimit", "AccountUsage"):
        answer[part] = sorted(answer[part])
    case.check("acc_settings_modded", answer)


@recorded("TestLambdaAccountSettings::test_account_settings_total_code_size_config_update")
def test_what_counts_as_stored_code(case):
    def size():
        return case.client.get_account_settings()["AccountUsage"]["TotalCodeSize"]

    before = size()
    name = case.create(package=python(f"# {os.urandom(400).hex()}\n", "handler.py"))
    created = size()
    case.client.update_function_configuration(FunctionName=name, Runtime="python3.13")
    case.functions.wait_updated(name)
    updated = size()
    case.client.publish_version(FunctionName=name, Description="one")
    case.check("is_total_code_size_diff_create_function_more_than_200", created - before > 200)
    case.check("total_code_size_diff_update_function_configuration", updated - created)
    case.check("is_total_code_size_diff_publish_version_after_config_update_more_than_200", size() - updated > 200)


@recorded("TestLambdaSizeLimits::test_oversized_lambda")
def test_a_package_too_large_once_unpacked(case):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("handler.py", b"def handler(event, context): pass\n")
        archive.writestr("padding", bytes(262144000))
    case.refused("invalid_param_exc", "create_function", FunctionName=unique(), Code={"ZipFile": buffer.getvalue()},
                 Runtime="python3.12", Handler="handler.handler", Role=case.functions.role)


@recorded("TestLambdaSizeLimits::test_lambda_envvars_near_limit_succeeds")
def test_an_environment_of_nearly_4_kib(case):
    variables = case.answers["successful_create_fn_result"]["CreateFunctionResponse"]["Environment"]["Variables"]
    case.create("successful_create_fn_result", Environment={"Variables": variables})


@recorded("TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled")
def test_a_runtime_that_is_over(case, start_server):
    # On a server that lets no other version stand in.
    case.use(start_server())
    case.refused("deprecation_error", "create_function", FunctionName=unique(), Code={"ZipFile": ECHO},
                 Runtime=case.parameter, Handler="handler.handler", Role=case.functions.role,
                 Environment={"Variables": {}})


# Logging and SnapStart


@recorded("TestLoggingConfig::test_function_partial_advanced_logging_configuration_update")
def test_a_part_of_the_logging_configuration(case):
    name = case.create("create_response", MemorySize=256, Timeout=5)
    case.call("get_function_response", "get_function", FunctionName=name)
    case.call("function_config", "get_function_configuration", FunctionName=name)
    change = [{"LogFormat": "JSON"}, {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
              {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}][int(case.parameter.removeprefix("partial_config"))]
    case.call("updated_config", "update_function_configuration", FunctionName=name, LoggingConfig=change)
    case.functions.wait_updated(name)
    case.call("received_config", "get_function_configuration", FunctionName=name)


@recorded("TestLoggingConfig::test_advanced_logging_configuration_format_switch")
def test_to_json_and_back(case):
    name = case.create("create_response", MemorySize=256, Timeout=5)
    case.call("get_function_response", "get_function", FunctionName=name)
    case.call("function_config", "get_function_configuration", FunctionName=name)
    for suffix, form in (("", "JSON"), ("_v2", "Text")):
        case.call(f"updated_config{suffix}", "update_function_configuration", FunctionName=name,
                  LoggingConfig={"LogFormat": form})
        case.functions.wait_updated(name)
        case.call(f"received_config{suffix}", "get_function_configuration", FunctionName=name)


def of_snap_start(runtime):
    return {"Runtime": runtime, "MemorySize": 1024, "Timeout": 5, "Environment": None,
            "Handler": "echo.Handler" if runtime.startswith("java") else "handler.handler",
            "package": ECHO if runtime.startswith("java") else python(
                "def handler(event, context):\n    return event\n", "handler.py")}


@recorded("TestLambdaSnapStart::test_snapstart_lifecycle")
def test_a_version_of_a_runtime_with_snap_start(case):
    name = case.create("create_function_response", **of_snap_start(case.parameter))
    case.call("get_function_response_latest", "get_function", FunctionName=name)
    case.client.publish_version(FunctionName=name, Description="version1")
    case.client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1})
    case.call("get_function_response_version_1", "get_function", FunctionName=name, Qualifier="1")


@recorded("TestLambdaSnapStart::test_snapstart_update_function_configuration")
def test_snap_start_comes_with_an_update(case):
    name = case.create("create_function_response", **of_snap_start(case.parameter))
    case.call("update_function_response", "update_function_configuration", FunctionName=name,
              SnapStart={"ApplyOn": "PublishedVersions"})


# Versions


@recorded("TestLambdaVersions::test_publish_with_update")
def test_an_update_that_publishes(case):
    name = case.create("create_response", Handler="index.handler", Timeout=3, Environment=None)
    case.call("get_function_result", "get_function", FunctionName=name)
    case.call("update_function_code_result", "update_function_code", FunctionName=name, ZipFile=OTHER, Publish=True)
    case.call("get_function_version_result", "get_function", FunctionName=name, Qualifier="1")
    case.call("get_function_latest_result", "get_function", FunctionName=name, Qualifier="$LATEST")


@recorded("TestLambdaVersions::test_version_lifecycle")
def test_versions_live(case):
    client = case.client
    name = case.create("create_response", Handler="index.handler", Timeout=3, Environment=None,
                       Description="No version :(")
    case.call("get_function_result", "get_function", FunctionName=name)
    case.call("list_versions_result", "list_versions_by_function", FunctionName=name)
    case.call("first_update_response", "update_function_configuration", FunctionName=name,
              Description="First version :)")
    case.functions.wait_updated(name)
    case.call("first_update_get_function", "get_function", FunctionName=name)
    case.call("first_publish_response", "publish_version", FunctionName=name,
              Description="First version description :)")
    first = {"FunctionName": name, "Qualifier": "1"}
    client.get_waiter("function_active_v2").wait(**first)
    case.call("first_publish_get_function", "get_function", **first)
    case.call("first_publish_get_function_config", "get_function_configuration", **first)
    case.call("second_update_response", "update_function_configuration", FunctionName=name,
              Description="Second version :))")
    case.functions.wait_updated(name)
    case.call("first_publish_get_function_after_update", "get_function", **first)
    case.call("second_publish_response", "publish_version", FunctionName=name)
    case.call("third_publish_response", "publish_version", FunctionName=name)
    case.call("list_versions_result_after_third_publish", "list_versions_by_function", FunctionName=name)
    client.delete_function(**first)
    case.call("list_versions_result_after_deletion_of_first_version", "list_versions_by_function",
              FunctionName=name)


# In other places


@recorded("TestPartialARNMatching::test_update_function_configuration_full_arn")
def test_an_update_by_any_form_of_the_name(case):
    name, account = case.create(), case.functions.account
    for form in (f"arn:aws:lambda:us-east-1:{account}:function:{name}", f"{account}:function:{name}",
                 f"function:{name}"):
        answer = case.client.update_function_configuration(FunctionName=form, Description=form[:9])
        assert (answer["FunctionName"], answer["Description"]) == (name, form[:9])
        case.functions.wait_updated(name)


@recorded("TestPartialARNMatching::test_cross_region_arn_function_access")
def test_a_region_of_the_arn_that_is_not_the_clients(case):
    name = case.create(wait=False)
    arn = f"arn:aws:lambda:eu-west-3:{case.functions.account}:function:{name}"
    try:
        case.client.get_function(FunctionName=arn)
    except case.client.exceptions.ResourceNotFoundException as error:
        assert "not reachable in this region" in error.response["Error"]["Message"]
    else:
        raise AssertionError("was found")
