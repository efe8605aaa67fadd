"""examples/event-booking as `make run` deploys it: four languages, one booking, one picture."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request
import xml.etree.ElementTree as tree

import pytest

from support import databases, server as servers

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "event-booking"
FUNCTIONS = ("events", "tickets", "poster", "bookings")
ORDER = json.loads((EXAMPLE / "booking.json").read_text())
# The first build fetches and compiles; nothing here is about how long that takes.
BUILD_SECONDS = 900


@pytest.fixture(scope="module")
def has_redis():
    return databases.has_links() and None not in map(
        databases.program, ("redis-server", "nft", "setpriv"))


@pytest.fixture(scope="module")
def server(has_redis):
    """With the example's Redis where functions can reach one, as `make run` has it."""
    one = servers.Server(databases.Redis.policy() if has_redis else None)
    redis = databases.Redis(one.data)
    try:
        if has_redis:
            redis.start()
        yield one.start()
    finally:
        if has_redis:
            redis.stop()
        one.close()


@pytest.fixture(scope="module")
def run(server):
    """Runs the script that `make run` ends with; returns what it printed."""
    missing = [tool for tool in ("node", "javac", "mvn", "cargo", "curl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    if not (server.data / "sdk" / "nodejs" / "node_modules").is_dir():
        pytest.skip("the AWS SDK for JavaScript could not be fetched")

    def script():
        done = subprocess.run(
            [ROOT / "scripts" / "run-example.sh", server.data, servers.binary()],
            capture_output=True, text=True, timeout=BUILD_SECONDS,
            # Beside eight starts of Node a busy machine is not as quick as the example expects.
            env={**os.environ, **databases.Redis(server.data).environment, "REDIS_ANSWER_MS": "5000"})
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout
    return script


@pytest.fixture(scope="module")
def deployed(run):
    return run()


@pytest.fixture(scope="module")
def urls(server, deployed):
    """The path forms of the functions' URLs."""
    def of(name):
        host = server.client("lambda").get_function_url_config(FunctionName=name)["FunctionUrl"]
        return f"{server.url}/_freehold/url/{host.split('//')[1].split('.')[0]}/"
    return {name: of(name) for name in FUNCTIONS if name != "tickets"}


class Reply:
    def __init__(self, response):
        self.status, self.kind, self.body = response.status, response.headers["Content-Type"], response.read()

    @property
    def document(self):
        return json.loads(self.body)


def fetch(url, document=None, method=None):
    body = document if document is None or isinstance(document, bytes) else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Reply(response)
    except urllib.error.HTTPError as error:
        return Reply(error)


@pytest.fixture(scope="module")
def booking(urls):
    reply = fetch(urls["bookings"], ORDER)
    assert reply.status == 201, reply.body
    return reply.document


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_it_prints_what_to_try(deployed, server):
    assert f"{server.url}/_freehold/url/" in deployed
    assert ".lambda-url.us-east-1.localhost:" in deployed


def test_a_second_run_builds_nothing(run, deployed):
    printed = run()
    for name in FUNCTIONS:
        assert f"{name}: unchanged" in printed


def test_it_says_whether_bookings_are_kept(deployed, has_redis, functions):
    assert ("kept in Redis at" in deployed) == has_redis
    assert (": true," in deployed.split('"kept"')[1][:8]) == has_redis
    configuration = functions.client.get_function_configuration(FunctionName="bookings")
    assert configuration["VpcConfig"]["SecurityGroupIds"] == ["sg-bookings" if has_redis else "sg-none"]


def test_a_second_run_gives_the_same_ticket(run, deployed, has_redis):
    def token(printed):
        return printed.split('"token": "')[1].split('"')[0]
    # Signed in another second it is another one, unless it was kept.
    assert not has_redis or token(run()) == token(deployed)


def test_a_function_that_somebody_changed_is_brought_back(run, deployed, functions):
    functions.client.delete_function(FunctionName="events")
    printed = run()
    assert "events: deployed" in printed and "tickets: unchanged" in printed


def test_events_are_listed_and_found(urls):
    listed = fetch(urls["events"]).document["events"]
    assert ORDER["eventId"] in [event["id"] for event in listed]
    found = fetch(urls["events"] + ORDER["eventId"]).document["event"]
    assert found in listed
    assert fetch(urls["events"] + "nope").status == 404


def test_a_booking_is_priced(booking):
    seats = {line["category"]: line["count"] for line in booking["lines"]}
    assert seats == ORDER["seats"]
    subtotal = sum(line["count"] * line["each"] for line in booking["lines"])
    assert booking["subtotal"] == subtotal
    assert booking["total"] == subtotal - round(subtotal / 10) + booking["fee"]


def test_its_ticket_is_signed_with_the_key_of_this_installation(booking, server):
    key_file = server.data / "example" / "ticket.key"
    assert key_file.stat().st_mode & 0o077 == 0
    text, _, signature = booking["ticket"]["token"].rpartition(".")
    wanted = hmac.new(key_file.read_text().strip().encode(), text.encode(), hashlib.sha256).digest()
    assert signature == base64.urlsafe_b64encode(wanted).decode().rstrip("=")
    claims = claims_of(text)
    assert (claims["jti"], claims["sub"]) == (booking["id"], ORDER["customer"]["name"])


def test_its_poster_is_a_picture(booking, urls):
    assert booking["ticket"]["poster"].startswith(urls["poster"])
    reply = fetch(booking["ticket"]["poster"])
    assert (reply.status, reply.kind) == (200, "image/svg+xml")
    picture = tree.fromstring(reply.body)
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    for text in (ORDER["customer"]["name"], booking["event"]["title"], booking["id"]):
        assert text in texts


def test_a_name_cannot_write_markup(urls):
    name = '</text><script>"&\' Zoë 🎭'
    order = {**ORDER, "customer": {**ORDER["customer"], "name": name}}
    ticket = fetch(urls["bookings"], order).document["ticket"]
    assert claims_of(ticket["token"])["sub"] == name
    picture = tree.fromstring(fetch(ticket["poster"]).body)
    assert name in [element.text for element in picture.iter()]
    assert not [element for element in picture.iter() if "script" in element.tag]


@pytest.mark.parametrize("order, status, code", [
    (b"{", 400, "InvalidJson"),
    ({}, 422, "InvalidBooking"),
    ({**ORDER, "seats": {"standard": 9}}, 422, "InvalidBooking"),
    ({**ORDER, "seats": {"royal": 1}}, 422, "InvalidBooking"),
    ({**ORDER, "eventId": "nope"}, 404, "EventNotFound"),
])
def test_a_booking_that_cannot_be_made_says_why(urls, order, status, code):
    reply = fetch(urls["bookings"], order)
    assert (reply.status, reply.document["error"]["code"]) == (status, code)


def test_a_booking_is_posted(urls):
    assert fetch(urls["bookings"]).status == 405


def test_a_forged_ticket_is_not_drawn(booking, urls):
    header, _, signature = booking["ticket"]["token"].split(".")
    forged = base64.urlsafe_b64encode(json.dumps(
        {**claims_of(booking["ticket"]["token"]), "seats": "8 × premium"}).encode()).decode().rstrip("=")
    reply = fetch(urls["poster"] + f"{header}.{forged}.{signature}")
    assert (reply.status, reply.document["error"]["code"]) == (403, "InvalidTicket")


def test_tickets_answers_functions_only(functions, deployed, refuses):
    with refuses("ResourceNotFoundException"):
        functions.client.get_function_url_config(FunctionName="tickets")
    answer = functions.invoke("tickets", {"booking": "bk-1"})
    assert answer.payload["errorType"] == "tickets.InvalidTicket"
    assert "starts must be" in answer.payload["errorMessage"]


def test_the_log_of_tickets_names_bookings_and_no_token(booking, functions):
    lines = functions.server.client("logs").filter_log_events(logGroupName="/aws/lambda/tickets")["events"]
    text = "\n".join(line["message"] for line in lines)
    assert f"signed {booking['id']}" in text
    assert booking["ticket"]["token"] not in text


def test_a_function_that_cannot_be_reached_is_named(functions, urls):
    functions.client.put_function_concurrency(FunctionName="tickets", ReservedConcurrentExecutions=0)
    try:
        reply = fetch(urls["bookings"], ORDER)
    finally:
        functions.client.delete_function_concurrency(FunctionName="tickets")
    assert (reply.status, reply.document["error"]) == (
        502, {"code": "UpstreamUnavailable", "message": "tickets cannot be reached"})
    assert fetch(urls["bookings"], ORDER).status == 201


@pytest.mark.parametrize("folder, command", [
    ("events", ["python3", "-m", "unittest", "--quiet"]),
    ("bookings", ["node", "--test"]),
    ("tickets", ["mvn", "--batch-mode", "--quiet", "test"]),
    ("poster", ["cargo", "test", "--locked", "--quiet"]),
])
def test_each_function_passes_its_own_tests(folder, command, tmp_path):
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine")
    cache = os.environ.get("FREEHOLD_CACHE") or os.path.expanduser("~/.cache/freehold")
    # Tools write beside the sources: a copy keeps the clone clean.
    copy = shutil.copytree(EXAMPLE / folder, tmp_path / folder)
    done = subprocess.run(
        command, cwd=copy, capture_output=True, text=True, timeout=BUILD_SECONDS,
        env={**os.environ, "CARGO_TARGET_DIR": f"{cache}/test-poster", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
