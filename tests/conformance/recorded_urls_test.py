"""Recorded cases of function URLs: their configuration, and what comes through them."""

import http.client
import json
import ssl
import urllib.parse

import pytest

from cases import recorded
from support import server as servers
from support.functions import Functions, publish, python
from support.http import Reply, send, url_host_and_id

NODE = "nodejs20.x"


@recorded("TestLambdaUrl::test_url_config_lifecycle")
def test_a_configuration_lives(case):
    name = case.create()
    case.bind.name(resource_1=name)
    case.call("url_creation", "create_function_url_config", FunctionName=name, AuthType="NONE")
    case.refused("failed_duplication", "create_function_url_config", FunctionName=name, AuthType="NONE")
    case.call("get_url_config", "get_function_url_config", FunctionName=name)
    case.call("updated_url_config", "update_function_url_config", FunctionName=name, AuthType="AWS_IAM")
    case.client.delete_function_url_config(FunctionName=name)
    case.refused("failed_getter", "get_function_url_config", FunctionName=name)


@recorded("TestLambdaUrl::test_url_config_exceptions")
def test_what_has_no_configuration(case):
    name = case.create(Runtime=NODE, Handler="lambda_handler.handler")
    case.call("fn_version_result", "publish_version", FunctionName=name)
    case.call("create_alias_result", "create_alias", FunctionName=name, Name="urlalias", FunctionVersion="1")
    account = case.functions.account
    arn = f"arn:aws:lambda:us-east-1:{account}:function:"
    asked = {
        "name_doesnotexist": ("doesnotexist", None),
        "arn_doesnotexist": (arn + "doesnotexist", None),
        "name_doesnotexist_qualifier": ("doesnotexist", "1"),
        "qualifier_version": (name, "1"),
        "qualifier_version_doesnotexist": (name, "2"),
        "qualifier_alias_doesnotexist": (name, "doesntexist"),
        "qualifier_alias_doesnotmatch_arn": (f"{arn}{name}:urlalias", "urlalias-doesnotmatch"),
        "qualifier_latest": (name, "$LATEST"),
        "config_doesnotexist": (name, None),
    }
    for operation in ("create", "get", "update", "delete"):
        for word, (given, qualifier) in asked.items():
            step = f"{operation}_function_url_config_{word}"
            if step not in case.answers:
                continue
            fields = {"FunctionName": given, **({"Qualifier": qualifier} if qualifier else {}),
                      **({"AuthType": "NONE"} if operation in ("create", "update") else {})}
            if case.answers[step] == "<aws_internal_failure>":
                # The service failed; that is nothing to be like.
                case.open.discard(step)
            else:
                case.refused(step, f"{operation}_function_url_config", **fields)


@recorded("TestLambdaURL::test_lambda_url_invalid_invoke_mode")
def test_an_unknown_mode(case):
    case.refused("invoke_function_invalid_invoke_type", "create_function_url_config", FunctionName=case.create(),
                 AuthType="NONE", InvokeMode="UNKNOWN")


# Through the URL


def public(case, name, **config):
    """A URL that anybody may call, as the recorder's tests made theirs."""
    url = case.call("create_lambda_url_config", "create_function_url_config", FunctionName=name, AuthType="NONE",
                    **config)["FunctionUrl"]
    case.call("add_permission", "add_permission", FunctionName=name, StatementId="urlPermission",
              Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
    return url


def request(case, url, method="POST", path="/", headers=None, body=b""):
    host, _ = url_host_and_id(url)
    return send(case.functions.server.url, method, path, {"Host": host, **(headers or {})}, body)


RETURNED = {"boolean": True, "dict": {"hello": "world"}, "float": 3.1, "integer": 3, "string": "hello",
            "http-response": {"statusCode": 200, "body": "body123"}}


@recorded("TestLambdaURL::test_lambda_url_invocation")
def test_what_a_function_returns(case):
    body = f"def handler(event, context):\n    return {RETURNED[case.parameter]!r}\n"
    name = case.create(package=python(body, "handler.py"))
    case.bind.name(resource_1=name)
    reply = request(case, public(case, name), body=b"{}")
    case.check("lambda_url_invocation", {
        "statuscode": reply.status, "content": reply.text,
        "headers": {name: reply.headers[name] for name in ("Content-Type", "Content-Length")}})


@recorded("TestLambdaURL::test_lambda_url_echo_invoke")
def test_a_url_with_a_mode(case):
    name = case.create(package=python("def handler(event, context):\n    return event\n", "handler.py"))
    case.bind.name(resource_1=name)
    url = public(case, name, **({} if case.parameter == "None" else {"InvokeMode": case.parameter}))
    reply = request(case, url, headers={"Content-Type": "text/plain"}, body=b"text")
    assert json.loads(reply.text)["body"] == "text"


@recorded("TestLambdaURL::test_lambda_url_invocation_exception")
def test_a_function_that_raises(case):
    name = case.create(package=python("def handler(event, context):\n    raise ValueError('no')\n", "handler.py"))
    case.call("get_fn_result", "get_function", FunctionName=name)
    url = public(case, name)
    reply = request(case, url, body=b"{}")
    assert (reply.status, reply.text) == (502, "Internal Server Error")


@recorded("TestRequestIdHandling::test_request_id_invoke_url")
def test_the_request_id(case):
    name = case.create(package=python("def handler(event, context):\n    return 'hi'\n", "handler.py"))
    case.bind.name(resource_1=name)
    reply = request(case, public(case, name), body=b"{}")
    case.check("lambda_url_invocation", {
        "statuscode": reply.status, "content": reply.text,
        "headers": {"x-amzn-RequestId": reply.headers["x-amzn-RequestId"]}})
    ends = case.log_lines(name, "END RequestId")
    case.check("end_log_entries", [line.rstrip("\n") for line in ends])


@recorded("TestLambdaURL::test_lambda_url_invocation_custom_id")
def test_a_url_of_a_name_that_was_asked_for(case):
    # Nothing was recorded: AWS has no such URLs, and gives the function one like any other.
    name = case.create()
    made = case.client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert urllib.parse.urlsplit(made["FunctionUrl"]).path == "/"


@recorded("TestLambdaURL::test_lambda_url_invocation_custom_id_aliased")
def test_a_url_of_an_alias(case):
    name = case.create(package=python("def handler(event, context):\n    return event\n", "handler.py"))
    publish(case.client, name)
    case.client.create_alias(FunctionName=name, Name="tester", FunctionVersion="1")
    made = case.client.create_function_url_config(FunctionName=name, AuthType="NONE", Qualifier="tester")
    assert made["FunctionArn"].endswith(":tester")


# What the function sees of a request


class Secure(Functions):
    """Functions of a server that speaks TLS, as AWS's URLs do."""

    def https(self, url, method, path, headers, body):
        host, _ = url_host_and_id(url)
        address = urllib.parse.urlsplit(self.server.url)
        context = ssl.create_default_context(cafile=self.server.trusted)
        # The certificate is for names; who knows the address has nothing to look up.
        context.check_hostname = False
        connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=60, context=context)
        try:
            connection.request(method, path, body, {"Host": host, **headers})
            return Reply(connection.getresponse())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def secure():
    server = servers.Server(arguments=["--set", "tls.self_signed=true"])
    server.trusted = str(server.data / "tls" / "certificate.pem")
    try:
        yield Secure(server.start())
    finally:
        server.close()


SEES = """
import base64, json
def handler(event, context):
    http, body = event["requestContext"]["http"], event.get("body", "")
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    return {"args": event.get("queryStringParameters", {}), "data": json.loads(body),
            "domain": event["requestContext"]["domainName"], "headers": event["headers"],
            "method": http["method"], "origin": http["sourceIp"], "path": http["path"]}
"""


@recorded("TestLambdaURL::test_lambda_url_echo_http_fixture_default",
          "TestLambdaURL::test_lambda_url_echo_http_fixture_trim_x_headers")
def test_a_request_as_an_event(case, secure):
    default = case.name.endswith("default")
    name = secure.create(python(SEES, "handler.py"), Handler="handler.handler")
    url = secure.public_url(name)
    path = "/pa2%Fth/1?q=query&multiQuery=foo&multiQuery=%2Fbar" if default else "/path/1?q=query"
    reply = secure.https(url, "POST", path, {
        "Content-Type": "application/json", "User-Agent": "test/echo", "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate", "ExTrA-HeadErs": "With WeiRd CapS"}, b'{"foo": "bar"}')
    answer = json.loads(reply.body)
    if not default:
        answer["headers"] = {k: v for k, v in answer["headers"].items() if not k.startswith("x-")}
    case.check("url_response", answer)
