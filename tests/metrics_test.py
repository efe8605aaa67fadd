"""Prometheus metrics and health on the admin listener."""

import re

from support.functions import python
from support.http import send

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)( \S+)?$')


def scrape(server):
    reply = send(server.admin, "GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))
    samples = {}
    for line in reply.text.splitlines():
        if line and not line.startswith("#"):
            match = LINE.match(line)
            assert match, f"no sample: {line!r}"
            samples[match[1] + (match[2] or "")] = float(match[3])
    return samples


def total(samples, name, *labels):
    return sum(v for k, v in samples.items() if k.startswith(name) and all(one in k for one in labels))


def test_invocations_are_counted(functions, server):
    name = functions.create()
    before = total(scrape(server), "freehold_invocations_total")
    for _ in range(5):
        functions.call(name)
    assert total(scrape(server), "freehold_invocations_total") - before == 5


def test_every_sample_has_a_help_and_a_type(server):
    text = send(server.admin, "GET", "/metrics").text
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert named and named == helped
    assert all(name.startswith(("freehold_", "process_")) for name in named)


def test_series_are_bounded(functions, server):
    """Strangers choose names, paths and agents; none of them may become a series."""
    before = len(scrape(server))
    for n in range(300):
        send(server.url, "GET", f"/made-up-{n}", {"User-Agent": f"agent-{n}"})
    for n in range(30):
        functions.call(functions.create(python(f"def handler(e, c): return {n}\n")))
    assert len(scrape(server)) - before < 100


def test_health(server):
    assert send(server.admin, "GET", "/healthz").status == 200
    assert send(server.admin, "GET", "/readyz").status == 200


def test_the_main_listener_shows_none_of_it(server):
    for path in ("/metrics", "/healthz"):
        assert send(server.url, "GET", path).status >= 400


def test_the_admin_listener_serves_no_api(server):
    assert send(server.admin, "GET", "/2015-03-31/functions/").status == 404
