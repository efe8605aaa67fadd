"""Requests below the SDKs: signed by botocore, then bent as a test wants, and sent as they are."""

import http.client
import urllib.parse

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode(errors="replace")


def send(base, method, path, headers=None, body=b"", timeout=60):
    """Sends one request to the host and port of `base` and nothing that was not said here."""
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    try:
        headers = {"Host": address.netloc, **(headers or {})}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if body or method in ("POST", "PUT"):
            headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                connection.putheader(name, one)
        connection.endheaders()
        try:
            connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before its end: the answer may be there all the same.
        return Reply(connection.getresponse())
    finally:
        connection.close()


def signed(server, method, path, body=b"", headers=None, service="lambda", region=None, key=None,
           secret=None, token=None, presign=None, host=None):
    """The (path, headers) of a signed request; with `presign` seconds, the signature is in the query."""
    keys = server.keys()
    credentials = Credentials(key or keys["AWS_ACCESS_KEY_ID"],
                              secret or keys["AWS_SECRET_ACCESS_KEY"], token)
    host = host or urllib.parse.urlsplit(server.url).netloc
    request = AWSRequest(method, f"http://{host}{path}", data=body,
                         headers={**(headers or {}), "Host": host})
    region = region or keys["AWS_REGION"]
    if presign is None:
        SigV4Auth(credentials, service, region).add_auth(request)
    else:
        SigV4QueryAuth(credentials, service, region, expires=presign).add_auth(request)
    address = urllib.parse.urlsplit(request.url)
    path = address.path + (f"?{address.query}" if address.query else "")
    return path, dict(request.headers.items())


def url_host_and_id(function_url):
    """The Host and the id of a function URL."""
    host = urllib.parse.urlsplit(function_url).netloc
    return host, host.split(".", 1)[0]
