"""Signatures: header and presigned forms are accepted, and nothing that was changed after signing."""

import datetime
import json
import re
import time
import urllib.parse

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from support.http import send, signed

LIST = "/2015-03-31/functions/"


def code(reply):
    named = reply.headers.get("x-amzn-ErrorType", "").split(":")[0]
    body = json.loads(reply.body)
    return named or body.get("__type", "").split("#")[-1]


def check_refused(reply, wanted, text=None, status=403):
    assert (reply.status, code(reply)) == (status, wanted), reply.text
    assert reply.headers["x-amzn-RequestId"]
    if text is not None:
        body = json.loads(reply.body)
        assert re.search(text, body.get("message") or body.get("Message")), reply.text


MISMATCH = "The request signature we calculated does not match the signature you provided"


@pytest.mark.parametrize("presign", [None, 60])
def test_a_signed_request_is_served(server, presign):
    path, headers = signed(server, "GET", LIST, presign=presign)
    assert send(server.url, "GET", path, headers).status == 200


def test_equal_bytes_twice_are_served_twice(server):
    path, headers = signed(server, "GET", LIST)
    assert [send(server.url, "GET", path, headers).status for _ in range(2)] == [200, 200]


def test_no_signature(server):
    check_refused(send(server.url, "GET", LIST), "MissingAuthenticationTokenException",
                  "Missing Authentication Token")


def test_another_body(server, functions):
    name = functions.create()
    target = f"/2015-03-31/functions/{name}/invocations"
    path, headers = signed(server, "POST", target, b'{"a": 1}')
    check_refused(send(server.url, "POST", path, headers, b'{"a": 2}'),
                  "InvalidSignatureException", MISMATCH)
    assert send(server.url, "POST", path, headers, b'{"a": 1}').status == 200


def test_another_path(server, functions):
    one, other = functions.create(wait=False), functions.create(wait=False)
    path, headers = signed(server, "GET", f"{LIST}{one}")
    check_refused(send(server.url, "GET", path.replace(one, other), headers),
                  "InvalidSignatureException", MISMATCH)


def test_another_method(server, functions):
    name = functions.create(wait=False)
    path, headers = signed(server, "GET", f"{LIST}{name}")
    check_refused(send(server.url, "DELETE", path, headers), "InvalidSignatureException", MISMATCH)
    assert functions.client.get_function(FunctionName=name)


@pytest.mark.parametrize("changed", [
    LIST + "?MaxItems=2", LIST + "?MaxItems=1&Marker=x", LIST, LIST + "?maxitems=1"])
def test_another_query(server, changed):
    path, headers = signed(server, "GET", LIST + "?MaxItems=1")
    assert send(server.url, "GET", path, headers).status == 200
    check_refused(send(server.url, "GET", changed, headers), "InvalidSignatureException", MISMATCH)


def test_the_order_of_a_query_does_not_matter(server):
    _, headers = signed(server, "GET", LIST + "?MaxItems=1&FunctionVersion=ALL")
    assert send(server.url, "GET", LIST + "?FunctionVersion=ALL&MaxItems=1", headers).status == 200


def test_another_signed_header(server):
    path, headers = signed(server, "GET", LIST, headers={"X-Amz-Mine": "a"})
    assert "x-amz-mine" in headers["Authorization"]
    for changed in ({**headers, "X-Amz-Mine": "b"}, {k: v for k, v in headers.items() if k != "X-Amz-Mine"}):
        check_refused(send(server.url, "GET", path, changed), "InvalidSignatureException")


def test_another_host(server):
    path, headers = signed(server, "GET", LIST)
    check_refused(send(server.url, "GET", path, {**headers, "Host": "localhost"}),
                  "InvalidSignatureException", MISMATCH)


def test_another_region(server):
    path, headers = signed(server, "GET", LIST, region="eu-west-3")
    check_refused(send(server.url, "GET", path, headers), "InvalidSignatureException",
                  "Credential should be scoped to a valid region")


def test_a_region_or_service_changed_in_the_scope(server):
    path, headers = signed(server, "GET", LIST)
    for old, new in (("/us-east-1/", "/eu-west-3/"), ("/lambda/", "/logs/"), ("/lambda/", "/sts/")):
        changed = {**headers, "Authorization": headers["Authorization"].replace(old, new)}
        reply = send(server.url, "GET", path, changed)
        assert 400 <= reply.status < 500, reply.text
        assert b'"Functions"' not in reply.body


def test_a_signature_for_another_service_opens_nothing(server):
    path, headers = signed(server, "GET", LIST, service="s3")
    reply = send(server.url, "GET", path, headers)
    assert reply.status >= 400
    assert b'"Functions"' not in reply.body


def at(server, moment, presign=None):
    """A request that says it was signed at `moment`."""
    keys = server.keys()
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    request = AWSRequest("GET", server.url + LIST, headers={"Host": server.url.split("//")[1]})
    signer = SigV4Auth(credentials, "lambda", keys["AWS_REGION"])
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Date"] = stamp
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    return dict(request.headers.items())


@pytest.mark.parametrize("minutes, text", [
    (-6, "Signature expired"), (6, "Signature not yet current"), (-60 * 24, "Signature expired")])
def test_another_time(server, minutes, text):
    now = datetime.datetime.now(datetime.timezone.utc)
    headers = at(server, now + datetime.timedelta(minutes=minutes))
    check_refused(send(server.url, "GET", LIST, headers), "InvalidSignatureException", text)


@pytest.mark.parametrize("minutes", [-4, 0, 4])
def test_a_clock_that_is_a_little_off_is_fine(server, minutes):
    now = datetime.datetime.now(datetime.timezone.utc)
    headers = at(server, now + datetime.timedelta(minutes=minutes))
    assert send(server.url, "GET", LIST, headers).status == 200


def test_a_date_changed_after_signing(server):
    path, headers = signed(server, "GET", LIST)
    stamp = headers["X-Amz-Date"]
    changed = stamp[:-2] + ("0" if stamp[-2] != "0" else "1") + "Z"
    check_refused(send(server.url, "GET", path, {**headers, "X-Amz-Date": changed}),
                  "InvalidSignatureException")


def test_a_presigned_request_ends(server):
    path, headers = signed(server, "GET", LIST, presign=1)
    query = dict(urllib.parse.parse_qsl(path.split("?")[1]))
    longer = path.replace("X-Amz-Expires=1&", "X-Amz-Expires=100&")
    assert query["X-Amz-Expires"] == "1" and longer != path
    check_refused(send(server.url, "GET", longer, headers), "InvalidSignatureException", MISMATCH)

    time.sleep(2.2)
    check_refused(send(server.url, "GET", path, headers), "InvalidSignatureException", "expired")


def test_a_presigned_request_changed(server):
    path, headers = signed(server, "GET", LIST + "?MaxItems=1", presign=60)
    check_refused(send(server.url, "GET", path.replace("MaxItems=1", "MaxItems=2"), headers),
                  "InvalidSignatureException", MISMATCH)


def test_an_unknown_key(server):
    path, headers = signed(server, "GET", LIST, key="AKIAIOSFODNN7EXAMPLE")
    check_refused(send(server.url, "GET", path, headers), "UnrecognizedClientException",
                  "The security token included in the request is invalid")


def test_a_wrong_secret(server):
    path, headers = signed(server, "GET", LIST, secret="wrong" * 8)
    check_refused(send(server.url, "GET", path, headers), "InvalidSignatureException", MISMATCH)


def test_a_session_token_that_nobody_gave(server):
    path, headers = signed(server, "GET", LIST, token="made-up")
    check_refused(send(server.url, "GET", path, headers), "UnrecognizedClientException")


@pytest.mark.parametrize("change", [
    lambda a: a.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
    lambda a: a.split(", Signature")[0],
    lambda a: re.sub("Credential=[^,]*, ", "", a),
    lambda a: re.sub("SignedHeaders=[^,]*, ", "", a),
    lambda a: "AWS4-HMAC-SHA256",
    lambda a: "Bearer token",
    lambda a: a.replace("/aws4_request", ""),
    lambda a: a + "," * 5000,
    lambda a: re.sub("SignedHeaders=[^,]*,", "SignedHeaders=x-amz-date,", a),
])
def test_a_malformed_authorization_is_refused(server, change):
    path, headers = signed(server, "GET", LIST)
    changed = change(headers["Authorization"])
    assert changed != headers["Authorization"]
    reply = send(server.url, "GET", path, {**headers, "Authorization": changed})
    assert reply.status in (400, 403), reply.text
    assert code(reply) in ("IncompleteSignatureException", "InvalidSignatureException",
                           "MissingAuthenticationTokenException", "UnrecognizedClientException")


def test_two_authorizations_are_refused(server):
    path, headers = signed(server, "GET", LIST)
    twice = {**headers, "Authorization": [headers["Authorization"], headers["Authorization"]]}
    assert send(server.url, "GET", path, twice).status in (400, 403)


def test_an_escaped_path_is_signed_as_it_was_sent(server, functions):
    name = functions.create(wait=False)
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    # boto3 percent-encodes the ARN in the path and signs the doubly encoded form.
    assert functions.client.get_function(FunctionName=arn)["Configuration"]["FunctionName"] == name


def test_keys_of_another_server_open_nothing(server, start_server):
    keys = start_server().keys()
    stranger = boto3.client(
        "lambda", endpoint_url=server.url, region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(stranger.exceptions.ClientError, match="UnrecognizedClientException"):
        stranger.list_functions()
