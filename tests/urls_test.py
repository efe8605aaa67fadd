"""Function URLs: their configuration, the host and path forms, payload format 2.0, and who may."""

import base64
import json
import socket

import pytest
from botocore.exceptions import ClientError

from support.functions import allow_public, python
from support.http import send, signed, url_host_and_id
from support.recorded import Bindings

ECHO = python("def handler(event, context):\n    return event\n")
RAW = python("def handler(event, context):\n    import json\n    return json.loads(event['body'])\n")


class Url:
    """A function URL that requests go to, by host unless said otherwise."""

    def __init__(self, functions, package, name=None, public=True, **config):
        self.functions = functions
        self.name = name or functions.create(package)
        if public:
            self.url = functions.public_url(self.name, **config)
        else:
            self.url = functions.client.create_function_url_config(
                FunctionName=self.name, **config)["FunctionUrl"]
        self.host, self.id = url_host_and_id(self.url)

    def send(self, method="GET", path="/", headers=None, body=b"", form="host"):
        base = self.functions.server.url
        if form == "path":
            return send(base, method, f"/_freehold/url/{self.id}{path}", headers, body)
        return send(base, method, path, {"Host": self.host, **(headers or {})}, body)


@pytest.fixture(scope="module")
def echo(functions):
    return Url(functions, ECHO)


@pytest.fixture(scope="module")
def raw(functions):
    """Answers with what the body says as JSON."""
    return Url(functions, RAW)


def answer_of(raw, value, **fields):
    # Without a type that says text, a body would arrive in base64.
    return raw.send("POST", headers={"Content-Type": "application/json"},
                    body=json.dumps(value).encode(), **fields)


# Configuration


def test_a_mode_is_told_where_it_was_given(functions, client):
    name = functions.create(wait=False)
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="BUFFERED")
    assert made["InvokeMode"] == "BUFFERED"
    assert "InvokeMode" not in client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert client.get_function_url_config(FunctionName=name)["InvokeMode"] == "BUFFERED"


def test_the_url_is_a_long_random_name(functions):
    first, second = Url(functions, ECHO), Url(functions, ECHO)
    assert first.url.startswith("http://") and first.url.endswith("/")
    assert first.id != second.id
    # 128 random bits in base32 are 26 characters.
    assert len(first.id) >= 26 and first.id.isalnum()
    assert first.host.split(".")[1:3] == ["lambda-url", "us-east-1"]


@pytest.mark.parametrize("operation, fields, step", [
    ("create_function_url_config", {"FunctionName": "doesnotexist", "AuthType": "NONE"},
     "create_function_url_config_name_doesnotexist"),
    ("create_function_url_config", {"AuthType": "NONE", "Qualifier": "$LATEST"},
     "create_function_url_config_qualifier_latest"),
    ("create_function_url_config", {"AuthType": "NONE", "Qualifier": "1"},
     "create_function_url_config_qualifier_version"),
    ("delete_function_url_config", {}, "delete_function_url_config_config_doesnotexist"),
    ("delete_function_url_config", {"FunctionName": "doesnotexist"},
     "delete_function_url_config_name_doesnotexist"),
    ("get_function_url_config", {}, "get_function_url_config_config_doesnotexist"),
    ("get_function_url_config", {"FunctionName": "doesnotexist"},
     "get_function_url_config_name_doesnotexist"),
])
def test_what_is_wrong_answers_as_recorded(functions, client, operation, fields, step):
    name = functions.create(wait=False)
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**{"FunctionName": name, **fields})
    Bindings(functions.account, function_name=name).check(
        "TestLambdaUrl::test_url_config_exceptions", step, caught.value.response)


def test_an_unknown_mode_is_refused_as_recorded(functions, client):
    with pytest.raises(ClientError) as caught:
        client.create_function_url_config(
            FunctionName=functions.create(wait=False), AuthType="NONE", InvokeMode="UNKNOWN")
    Bindings(functions.account).check(
        "TestLambdaURL::test_lambda_url_invalid_invoke_mode", "invoke_function_invalid_invoke_type",
        caught.value.response)


def test_urls_of_a_function_are_listed(functions, client):
    url = Url(functions, ECHO)
    listed = client.list_function_url_configs(FunctionName=url.name)["FunctionUrlConfigs"]
    assert [one["FunctionUrl"] for one in listed] == [url.url]


# The event


@pytest.mark.parametrize("form", ["host", "path"])
def test_the_event_is_format_2(echo, form):
    reply = echo.send(
        "POST", "/pa%20th/%C3%BC?a=1&a=2&b=x%20y&empty=", form=form, body=b'{"k": 1}',
        headers={"Content-Type": "application/json", "X-Mixed-Case": "Va, lue",
                 "Cookie": "one=1; two=2", "User-Agent": "tests/1"})
    assert reply.status == 200
    event = json.loads(reply.body)
    assert event["version"] == "2.0"
    assert event["routeKey"] == "$default"
    assert event["rawPath"] == "/pa%20th/%C3%BC"
    assert event["rawQueryString"] == "a=1&a=2&b=x%20y&empty="
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y", "empty": ""}
    assert event["cookies"] == ["one=1", "two=2"]
    assert event["body"] == '{"k": 1}'
    assert event["isBase64Encoded"] is False
    headers = event["headers"]
    assert headers["x-mixed-case"] == "Va, lue"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")
    assert "cookie" not in headers
    context = event["requestContext"]
    assert context["http"] == {
        "method": "POST", "path": "/pa th/ü", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
        "userAgent": "tests/1"}
    assert (context["routeKey"], context["stage"], context["accountId"]) == (
        "$default", "$default", "anonymous")
    assert context["apiId"] == echo.id
    assert context["domainName"].startswith(f"{echo.id}.lambda-url.us-east-1.")
    assert context["domainPrefix"] == echo.id
    assert context["requestId"] == reply.headers["x-amzn-RequestId"]
    assert isinstance(context["timeEpoch"], int)
    assert len(context["time"].split("/")) == 3


def test_a_binary_body_arrives_in_base64(echo):
    blob = bytes(range(256))
    event = json.loads(echo.send(
        "PUT", headers={"Content-Type": "application/octet-stream"}, body=blob).body)
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == blob


def test_a_request_without_a_body_has_none(echo):
    event = json.loads(echo.send("GET").body)
    assert "body" not in event
    assert event["isBase64Encoded"] is False
    assert "queryStringParameters" not in event
    assert "cookies" not in event


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_every_method_reaches_the_function(functions, echo, method):
    reply = echo.send(method)
    assert reply.status == 200
    if method == "HEAD":
        assert reply.body == b""
    else:
        assert json.loads(reply.body)["requestContext"]["http"]["method"] == method


def test_a_header_given_twice_is_joined(echo):
    event = json.loads(echo.send(headers={"X-Twice": ["a", "b"]}).body)
    assert event["headers"]["x-twice"] == "a,b"


# The answer


@pytest.mark.parametrize("value, content", [
    (True, "true"), ({"hello": "world"}, '{"hello": "world"}'), (3.1, "3.1"), (3, "3"), ("hello", "hello"),
    ([1], "[1]")])
def test_a_plain_answer_is_a_200(raw, value, content):
    reply = answer_of(raw, value)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    if isinstance(value, (dict, list)):
        assert json.loads(reply.body) == value
    else:
        assert reply.text == content


def test_a_whole_answer_says_everything(raw):
    reply = answer_of(raw, {
        "statusCode": 418, "headers": {"X-One": "1", "content-type": "text/plain; charset=utf-8"},
        "cookies": ["a=1; Path=/", "b=2"], "body": "ünï"})
    assert reply.status == 418
    assert reply.headers["X-One"] == "1"
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    assert reply.text == "ünï"


def test_a_binary_answer(raw):
    blob = bytes(range(256))
    reply = answer_of(raw, {
        "statusCode": 200, "headers": {"Content-Type": "image/png"}, "isBase64Encoded": True,
        "body": base64.b64encode(blob).decode()})
    assert reply.body == blob
    assert reply.headers["Content-Type"] == "image/png"


def test_a_cookie_loses_its_domain(raw):
    reply = answer_of(raw, {"statusCode": 200, "cookies": ["a=1; Domain=localhost; Path=/"]})
    assert "domain" not in reply.headers["Set-Cookie"].lower()
    assert "Path=/" in reply.headers["Set-Cookie"]


@pytest.mark.parametrize("value", [
    {"statusCode": 99}, {"statusCode": 1000}, {"statusCode": "x"},
    {"statusCode": 200, "isBase64Encoded": True, "body": "no base64!"}])
def test_an_answer_that_is_no_http_is_a_502(raw, value):
    reply = answer_of(raw, value)
    assert reply.status == 502, reply.text


@pytest.mark.parametrize("many, length, status", [
    (200, 100, 200), (256, 1, 200), (257, 1, 502), (200, 400, 502), (30_000, 1, 502)])
def test_headers_of_an_answer_have_bounds(raw, many, length, status):
    value = {"statusCode": 200, "headers": {f"x-{n}": "v" * length for n in range(many)}, "body": "b"}
    # A client of the standard library takes a hundred.
    with socket.create_connection(raw.functions.server.url.removeprefix("http://").split(":")) as line:
        body = json.dumps(value).encode()
        line.sendall((f"POST / HTTP/1.1\r\nHost: {raw.host}\r\nConnection: close\r\n"
                      f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode())
        line.sendall(body)
        first = line.makefile("rb").readline()
    assert first.split()[1] == str(status).encode()


@pytest.mark.parametrize("headers", [
    {"bad name": "x"}, {"X": "a\r\nSet-Cookie: evil=1"}, {"X\r\nSet-Cookie": "evil=1"}, {"": "x"}])
def test_a_header_that_is_none_injects_nothing(raw, headers):
    """Whether such an answer passes without it or not at all, the client sees no part of it."""
    reply = answer_of(raw, {"statusCode": 200, "headers": headers, "body": "b"})
    assert reply.status in (200, 502), reply.text
    assert "Set-Cookie" not in reply.headers
    assert "evil" not in str(reply.headers)


def test_headers_of_the_connection_are_not_the_functions_to_set(raw):
    reply = answer_of(raw, {"statusCode": 200, "body": "four", "headers": {
        "Content-Length": "3", "Transfer-Encoding": "chunked", "Connection": "close"}})
    assert reply.status == 200
    assert reply.text == "four"


def test_a_failed_function_is_a_502(functions):
    url = Url(functions, python("def handler(e, c):\n    raise ValueError('secret text')\n"))
    reply = url.send()
    assert reply.status == 502
    assert reply.text == "Internal Server Error"
    assert reply.headers["x-amzn-RequestId"]


@pytest.mark.parametrize("other", ["a" * 32, "a" * 26, "a" * 10_000])
def test_an_unknown_url_is_a_403_or_404_without_a_hint(functions, echo, other):
    reply = send(functions.server.url, "GET", "/", {"Host": echo.host.replace(echo.id, other)})
    assert reply.status in (403, 404)
    path = send(functions.server.url, "GET", f"/_freehold/url/{other}/")
    assert path.status == reply.status


def test_a_removed_url_stops_at_once(functions, client):
    url = Url(functions, ECHO)
    assert url.send().status == 200
    client.delete_function_url_config(FunctionName=url.name)
    assert url.send().status in (403, 404)


# The path form


def test_the_path_form_shows_no_page_of_the_console(echo, raw):
    reply = answer_of(raw, {"statusCode": 200, "headers": {"content-type": "text/html"},
                            "cookies": ["a=1"], "body": "<b>hi</b>"}, form="path")
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in reply.headers
    event = json.loads(echo.send(headers={"Cookie": "session=1"}, form="path").body)
    assert "cookies" not in event or event["cookies"] == ["session=1"]


def test_the_path_form_is_for_no_other_origin(functions):
    url = Url(functions, ECHO, Cors={"AllowOrigins": ["*"]})
    reply = url.send(headers={"Origin": "https://example.com"}, form="path")
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_the_path_form_needs_no_last_slash(functions, echo):
    reply = send(functions.server.url, "GET", f"/_freehold/url/{echo.id}")
    assert json.loads(reply.body)["rawPath"] == "/"


# CORS


CORS = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET", "POST"],
        "AllowHeaders": ["x-custom"], "ExposeHeaders": ["x-shown"], "MaxAge": 300,
        "AllowCredentials": True}


def test_cors_of_the_configuration(functions, client):
    url = Url(functions, ECHO, Cors=CORS)
    assert client.get_function_url_config(FunctionName=url.name)["Cors"] == CORS
    reply = url.send(headers={"Origin": "https://example.com"})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Access-Control-Expose-Headers"].lower() == "x-shown"
    assert "Access-Control-Allow-Origin" not in url.send(headers={"Origin": "https://evil.test"}).headers
    assert "Access-Control-Allow-Origin" not in url.send().headers


def test_a_preflight_never_reaches_the_function(functions):
    url = Url(functions, python("def handler(e, c):\n    return {'statusCode': 500}\n"), Cors=CORS)
    reply = url.send("OPTIONS", headers={
        "Origin": "https://example.com", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-custom"})
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert set(reply.headers["Access-Control-Allow-Methods"].replace(" ", "").split(",")) == {"GET", "POST"}
    assert reply.headers["Access-Control-Allow-Headers"].lower() == "x-custom"
    assert reply.headers["Access-Control-Max-Age"] == "300"


def test_the_functions_own_cors_headers_give_way_to_the_configuration(functions):
    body = "def handler(e, c):\n    return {'statusCode': 200, 'headers': " \
           "{'Access-Control-Allow-Origin': 'https://other.test'}}\n"
    url = Url(functions, python(body), Cors=CORS)
    reply = url.send(headers={"Origin": "https://example.com"})
    assert reply.headers.get_all("Access-Control-Allow-Origin") == ["https://example.com"]


# Who may


def check_forbidden(reply):
    assert reply.status == 403, reply.text
    assert reply.headers["x-amzn-ErrorType"].split(":")[0] == "AccessDeniedException"
    assert json.loads(reply.body)["Message"].startswith("Forbidden")


@pytest.mark.parametrize("statements, status", [
    ((), 403), (("url",), 200), (("invoke",), 403), (("url", "invoke"), 200)])
def test_a_public_url_needs_its_statement(functions, client, statements, status):
    url = Url(functions, ECHO, public=False, AuthType="NONE")
    allow_public(client, url.name)
    for statement in {"url", "invoke"} - set(statements):
        client.remove_permission(FunctionName=url.name, StatementId=statement)
    reply = url.send()
    assert reply.status == status, reply.text
    if status == 403:
        check_forbidden(reply)


def sign(url, method="GET", path="/", body=b"", **fields):
    path, headers = signed(url.functions.server, method, path, body, host=url.host, **fields)
    headers.pop("Host", None)
    return url.send(method, path, headers, body)


def test_iam_answers_nobody_without_a_signature(functions, client):
    url = Url(functions, ECHO, public=False, AuthType="AWS_IAM")
    client.add_permission(FunctionName=url.name, StatementId="all", Principal="*",
                          Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="AWS_IAM")
    for form in ("host", "path"):
        assert url.send(form=form).status == 403
    assert url.send(headers={"Authorization": "Bearer abc"}).status == 403


def test_without_platform_signatures_authorization_is_the_functions(echo):
    for form in ("host", "path"):
        event = json.loads(echo.send(headers={"Authorization": "Bearer abc"}, form=form).body)
        assert event["headers"]["authorization"] == "Bearer abc"


def test_headers_for_the_next_hop_stay_here(echo):
    event = json.loads(echo.send(headers={
        "TE": "trailers", "Proxy-Authorization": "Basic abc", "Connection": "X-Mine, keep-alive",
        "X-Mine": "1", "X-Other": "2"}).body)
    assert event["headers"]["x-other"] == "2"
    assert not {"te", "proxy-authorization", "connection", "x-mine"} & set(event["headers"])


@pytest.mark.parametrize("method", ["TRACE", "FOO"])
def test_methods_that_no_function_is_called_with(echo, method):
    assert echo.send(method).status == 405


def test_iam_takes_a_signature_of_the_tenant(functions):
    url = Url(functions, ECHO, public=False, AuthType="AWS_IAM")
    check_forbidden(url.send())
    reply = sign(url, "POST", "/a?b=c", b"body")
    assert reply.status == 200
    event = json.loads(reply.body)
    who = event["requestContext"]["authorizer"]["iam"]
    assert who["accountId"] == functions.account
    assert who["accessKey"] == functions.server.keys()["AWS_ACCESS_KEY_ID"]
    assert event["requestContext"]["accountId"] == functions.account
    assert sign(url, presign=60).status == 200


@pytest.mark.parametrize("fields", [
    {"secret": "wrong" * 8}, {"key": "AKIAIOSFODNN7EXAMPLE"}, {"service": "s3"}, {"region": "eu-west-3"}])
def test_iam_refuses_every_other_signature(functions, fields):
    url = Url(functions, ECHO, public=False, AuthType="AWS_IAM")
    assert sign(url, **fields).status == 403


def test_iam_is_not_opened_by_public_statements(functions, client):
    url = Url(functions, ECHO, public=False, AuthType="AWS_IAM")
    # The condition of the statement names another kind of URL.
    allow_public(client, url.name)
    check_forbidden(url.send())


def test_a_change_of_the_auth_type_holds_at_once(functions, client):
    url = Url(functions, ECHO)
    assert url.send().status == 200
    client.update_function_url_config(FunctionName=url.name, AuthType="AWS_IAM")
    check_forbidden(url.send())


def test_a_reserved_concurrency_of_zero_is_a_429(functions, client):
    url = Url(functions, ECHO)
    client.put_function_concurrency(FunctionName=url.name, ReservedConcurrentExecutions=0)
    assert url.send().status == 429


def test_a_url_call_has_its_lines_in_the_log(functions):
    url = Url(functions, python("def handler(e, c):\n    print('through the url')\n    return 'hi'\n"))
    request_id = url.send().headers["x-amzn-RequestId"]
    events = functions.server.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{url.name}")["events"]
    assert f"END RequestId: {request_id}" in [e["message"].rstrip("\n") for e in events]


def test_a_body_over_6_mib_is_a_413(echo):
    reply = echo.send("POST", body=b"x" * (6 * 1024 * 1024 + 1))
    assert reply.status == 413
