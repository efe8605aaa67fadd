"""Firewalls of others, and what `freehold doctor` says of them: in a world of namespaces, see
`support/networks.py`.

Where doctor names a chain functions reach nobody because of it, and with the commands that it prints they
reach what they may.
"""

import json
import shutil
import subprocess
import threading

import pytest
from network_test import PROBE
from support import networks, server as servers
from support.functions import Functions
from support.networks import PUBLIC

REASON = networks.may_be_made() or (None if shutil.which("nft") else "nft is missing")
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no firewalls of others: {REASON}")

LINE = "other firewalls let through"
HEARD = "hello 100.64.9.2\n"
HOOKS = {"prerouting": "priority -150", "forward": "priority 0", "postrouting": "priority 300"}


@pytest.fixture(scope="module")
def world():
    folder = servers.make_folder("world")
    with networks.World(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def reach(world):
    """What a function hears of a public host."""
    server = servers.Server()
    try:
        server.start()
        functions = Functions(server)
        name = functions.create(PROBE, Timeout=60)
        yield lambda: functions.call(name, [["tcp", PUBLIC[0], 80]])[0]
    finally:
        server.close()


@pytest.fixture
def table(reach):
    """Makes tables that are gone after the test."""
    made = []

    def make(family, name, text):
        nft(f"table {family} {name} {{\n{text}\n}}")
        made.append((family, name))

    assert reach() == HEARD
    yield make
    for family, name in made:
        nft(f"delete table {family} {name}")


def nft(text):
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True, timeout=30)


def chain(hook, policy, rules="", name=None, priority=None):
    # What the test itself says to its server.
    local = {"prerouting": 'iifname "lo" accept', "postrouting": 'oifname "lo" accept'}.get(hook, "")
    return (f"chain {name or hook} {{\ntype filter hook {hook} {priority or HOOKS[hook]}; policy {policy};\n"
            f"{local}\n{rules}\n}}")


def said():
    """Doctor's finding."""
    done = subprocess.run([str(servers.binary()), "doctor", "--json"], capture_output=True, text=True, timeout=300)
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert found["networks of functions"]["enforced"]
    if not found[LINE]["enforced"]:
        assert done.returncode == 4 and found[LINE]["remedy"]
    return found[LINE]


def is_silent():
    found = said()
    return found["enforced"] and "drop" not in found["detail"].replace("no chain of nf_tables drops all", "")


def follow(remedy):
    """As an operator would."""
    subprocess.run(["sh", "-ec", remedy], check=True, timeout=30)


def test_without_others_doctor_is_silent(reach):
    assert is_silent() and reach() == HEARD


@pytest.mark.parametrize("family", ["inet", "ip"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_policy_that_drops_is_named_and_its_remedy_helps(table, reach, family, hook):
    table(family, "strict", chain(hook, "drop", 'iifname "lan0" accept', name="wall"))
    found = said()
    assert found["detail"].startswith(f"{family} strict chain wall drops what functions send and what comes "
                                      "back to them (its policy is drop")
    assert reach() == "ETIMEDOUT"
    if hook == "forward":
        assert found["remedy"] == (
            f"nft 'insert rule {family} strict wall iifname \"fh*\" accept' && "
            f"nft 'insert rule {family} strict wall oifname \"fh*\" ct state established,related accept'")
    follow(found["remedy"])
    assert is_silent() and reach() == HEARD


def test_before_connections_are_known_no_rule_is_proposed_for_answers(table, reach):
    table("inet", "raw", chain("prerouting", "drop", "ct state established,related accept", priority="priority -300"))
    found = said()
    assert "no rule tells answers from the rest" in found["detail"]
    assert found["remedy"] == "nft 'insert rule inet raw prerouting iifname \"fh*\" accept'"
    assert reach() == "ETIMEDOUT"
    follow(found["remedy"])
    assert "drops what comes back" in said()["detail"] and reach() == "ETIMEDOUT"


def test_half_a_way_is_not_enough(table, reach):
    table("inet", "strict", chain("forward", "drop", 'iifname "fh*" accept'))
    found = said()
    assert "drops what comes back to functions" in found["detail"] and "iifname" not in found["remedy"]
    assert reach() == "ETIMEDOUT"
    follow(found["remedy"])
    assert is_silent() and reach() == HEARD


@pytest.mark.parametrize("last", ["drop", "reject with icmpx admin-prohibited", "counter jump end"])
def test_a_rule_that_drops_all_the_rest_is_named(table, reach, last):
    table("inet", "strict", "chain end { drop; }\n" + chain(
        "forward", "accept", f"ct state established,related accept\nip daddr 10.1.0.0/16 accept\n{last}"))
    found = said()
    # It may be that somebody is reached there.
    assert "inet strict chain forward may drop what functions send (a rule drops" in found["detail"]
    assert reach() != HEARD
    follow(found["remedy"])
    assert is_silent() and reach() == HEARD


def test_a_table_of_iptables_is_named_in_its_own_words(table, reach):
    """As Docker and ufw leave it."""
    table("ip", "filter", "chain DOCKER-USER { counter return; }\n" + chain(
        "forward", "drop", 'counter jump DOCKER-USER\noifname "docker0" ct state established,related accept\n'
        'iifname "docker0" oifname != "docker0" accept', name="FORWARD"))
    found = said()
    assert found["detail"].startswith("ip filter chain FORWARD drops what functions send and what comes back")
    assert found["remedy"] == (
        "iptables -t filter -I FORWARD -i fh+ -j ACCEPT && "
        "iptables -t filter -I FORWARD -o fh+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
    assert reach() == "ETIMEDOUT"
    # Where a machine's rules for Docker belong; the same in the words of nft, which a machine of tests has.
    nft('insert rule ip filter DOCKER-USER iifname "fh*" accept\n'
        'insert rule ip filter DOCKER-USER oifname "fh*" ct state established,related accept')
    assert is_silent() and reach() == HEARD


def test_what_does_not_touch_functions_is_not_named(table, reach):
    table("inet", "others", "\n".join([
        chain("input", "drop", 'iifname "lo" accept\nct state established accept\niifname != "fh*" accept',
              priority="priority 0"),
        "chain end { drop; }",
        chain("forward", "accept", 'iifname "lan0" drop\nudp dport 53 drop\nct state invalid drop\n'
                                   'iifname "lan0" oifname != "lan0" jump end'),
        chain("postrouting", "accept", 'oifname "lan0" drop')]))
    table("ip6", "six", chain("forward", "drop"))
    table("inet", "sleeps", "flags dormant;\n" + chain("forward", "drop"))
    assert is_silent() and reach() == HEARD


def handles(family, name, chain):
    """The rules of a chain, by what they say: their handles."""
    done = subprocess.run(["nft", "--json", "--handle", "list", "chain", family, name, chain], capture_output=True,
                          text=True, check=True, timeout=30)
    return [one["rule"]["handle"] for one in json.loads(done.stdout)["nftables"] if "rule" in one]


def test_rules_that_drop_by_what_is_not_judged_are_told_by_their_places(table, reach):
    """They may mean functions, and nothing is known to be in the way."""
    table("inet", "others", "chain end { drop; }\n" + "\n".join([
        chain("forward", "accept", 'ip daddr 10.1.0.0/16 drop\nudp dport 53 drop\ntcp dport 23 reject\n'
                                   'ip saddr 10.1.0.0/16 jump end'),
        chain("prerouting", "accept", "ct state established,related accept\nlimit rate over 100000/second drop")]))
    found = said()
    first, names, third, jump = handles("inet", "others", "forward")
    _, _, rate = handles("inet", "others", "prerouting")
    told = [f"inet others chain forward handle {first}, which may drop some of what functions send",
            f"inet others chain forward handle {third}, which may drop some of what functions send and what comes back to them",
            f"inet others chain forward handle {jump}, which may drop some of what comes back to functions",
            f"inet others chain prerouting handle {rate}, which may drop some of what functions send"]
    assert found["enforced"] and found["detail"].endswith("; not judged: " + "; ".join(told)), found
    # One of UDP alone is none that TCP meets.
    assert f"handle {names}," not in found["detail"]
    assert reach() == HEARD


def test_rules_that_are_changed_all_the_time_are_read_again(table, reach):
    """What is judged is of one moment, or said not to be."""
    table("inet", "strict", chain("forward", "drop", 'iifname "fh*" accept\nct state established accept'))
    assert is_silent() and reach() == HEARD
    until, counts = threading.Event(), [0]

    def change():
        # In one step: at no moment is either rule missing.
        while not until.is_set():
            nft('flush chain inet strict forward\nadd rule inet strict forward iifname "fh*" accept\n'
                "add rule inet strict forward ct state established accept")
            counts[0] += 1
    changes = threading.Thread(target=change)
    changes.start()
    try:
        told = [said() for _ in range(3)]
    finally:
        until.set()
        changes.join()
    assert counts[0]
    for found in told:
        assert found["enforced"] or "they were changed while they were read, 5 times" in found["detail"], found


def test_each_chain_counts(table, reach):
    """To be accepted by one table is no word for another."""
    table("inet", "one", chain("forward", "drop"))
    table("ip", "two", chain("postrouting", "drop"))
    found = said()
    assert "inet one chain forward drops" in found["detail"] and "ip two chain postrouting drops" in found["detail"]
    assert found["remedy"].count("&&") == 3
    assert reach() == "ETIMEDOUT"
    follow(found["remedy"])
    assert is_silent() and reach() == HEARD


def test_more_than_is_read_is_not_judged(table):
    table("inet", "many", "\n".join(f"chain c{number} {{ }}" for number in range((16 << 10) + 1)))
    found = said()
    assert not found["enforced"] and "there are more than 16384 chains" in found["detail"]
