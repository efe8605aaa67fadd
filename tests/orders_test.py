"""examples/orders in each language on PostgreSQL and on MariaDB: real databases, reached by a policy.

Each language's function is deployed once. Its version 1 has PostgreSQL, its $LATEST MariaDB.
"""

import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from state_test import came
from support import databases, server as servers
from support.functions import Functions, python
from support.projects import BUILD_SECONDS, missing

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "orders"
LANGUAGES = ("go", "java", "node", "python")
KINDS = {"postgresql": databases.PostgreSQL, "mariadb": databases.MariaDB}
VERSIONS = {"postgresql": "1", "mariadb": "$LATEST"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def address():
    databases.needs_links()
    if databases.missing():
        pytest.skip(f"not on this machine: {databases.missing()} (scripts/setup.sh test)")
    with databases.address(2) as one:
        yield one


@pytest.fixture(scope="module")
def stores(address):
    """The databases by kind, made side by side."""
    folder = servers.make_folder("databases")
    made = {kind: make(folder, address) for kind, make in KINDS.items()}
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda one: one.make(), made.values()))
        yield made
    finally:
        for one in made.values():
            one.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(address):
    one = servers.Server(
        f'[network.policies.orders]\nallow = ["{address}:5432", "{address}:3306"]\n')
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(scope="module")
def functions(server):
    return Functions(server)


@pytest.fixture(scope="module")
def deployed(server, functions, stores):
    """The languages that are there, as `freehold deploy` builds them, side by side."""
    there = [language for language in LANGUAGES if not missing(language)]

    def deploy(language):
        done = subprocess.run(
            [servers.binary(), "deploy", EXAMPLE / language, "--no-url", "--env",
             f"DATABASE_URL={stores['postgresql'].url}"],
            capture_output=True, text=True, timeout=BUILD_SECONDS, env=server.environment())
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        name = f"orders-{language}"
        functions.client.publish_version(FunctionName=name)
        functions.wait_updated(name)
        functions.client.update_function_configuration(
            FunctionName=name, Environment={"Variables": {"DATABASE_URL": stores["mariadb"].url}})
        functions.wait_updated(name)

    with concurrent.futures.ThreadPoolExecutor(len(there)) as pool:
        list(pool.map(deploy, there))
    return there


class Shop:
    """One language's function on one database."""

    def __init__(self, functions, language, store):
        self.functions, self.name, self.store = functions, f"orders-{language}", store

    def invoke(self, **event):
        return self.functions.invoke(self.name, event, Qualifier=VERSIONS[self.store.kind])

    def call(self, **event):
        answer = self.invoke(**event)
        assert answer.error is None, answer.payload
        return answer.payload

    def refused(self, **event):
        """(the error's type, its text); Java's types have a package."""
        answer = self.invoke(**event)
        assert answer.error is not None, answer.payload
        return answer.payload["errorType"].rpartition(".")[2], answer.payload["errorMessage"]

    def sells(self, **stock):
        """Products of this test alone, by their names here: each is so many."""
        names = {word: f"{word}-{next(_numbers)}" for word in stock}
        rows = ", ".join(f"('{names[word]}', {100 * (at + 1)}, {count})"
                         for at, (word, count) in enumerate(stock.items()))
        self.store.ask(f"INSERT INTO products (sku, price, stock) VALUES {rows}")
        return names

    def left(self, *names):
        stock = self.call(action="stock")["stock"]
        return [stock[name] for name in names]


@pytest.fixture
def shop(functions, deployed, stores):
    def of(language, kind):
        if language not in deployed:
            pytest.skip(missing(language))
        return Shop(functions, language, stores[kind])
    return of


def fresh(word="o"):
    return f"{word}-{os.getpid()}-{next(_numbers)}"


BOTH = pytest.mark.parametrize("kind", sorted(KINDS))
EACH = pytest.mark.parametrize("language", LANGUAGES)


@BOTH
@EACH
def test_an_order_is_placed_once_listed_and_cancelled(shop, language, kind):
    one = shop(language, kind)
    cup, pot = one.sells(cup=5, pot=1).values()
    name, customer = fresh(), f"Zoë 🎭 {language}"
    lines = [{"sku": pot, "quantity": 1}, {"sku": cup, "quantity": 2}]
    wanted = {"id": name, "customer": customer, "status": "placed", "total": 400, "lines": [
        {"sku": cup, "quantity": 2, "price": 100}, {"sku": pot, "quantity": 1, "price": 200}]}
    assert one.call(action="place", id=name, customer=customer, lines=lines) == {"order": wanted}
    assert one.left(cup, pot) == [3, 0]
    # Sent again, because the answer was lost: nothing is taken a second time.
    assert one.call(action="place", id=name, customer=customer, lines=lines) == {"order": wanted}
    assert one.refused(action="place", id=name, customer=customer, lines=lines[:1]) == (
        "OrderExists", f"another order was placed as {name}")
    assert one.left(cup, pot) == [3, 0]
    # All of it or nothing: the cups of an order whose pot is gone stay.
    other = fresh()
    assert one.refused(action="place", id=other, customer=customer, lines=lines) == (
        "OutOfStock", f"0 of {pot} are left, not 1")
    assert one.refused(action="place", id=other, customer=customer, lines=[{"sku": "nothing", "quantity": 1}]) == (
        "UnknownProduct", "there is no product nothing")
    assert one.left(cup, pot) == [3, 0]
    assert one.refused(action="cancel", id=other) == ("OrderNotFound", f"there is no order {other}")
    one.call(action="place", id=other, customer=customer, lines=[{"sku": cup, "quantity": 1}])
    listed = one.call(action="list", customer=customer)["orders"]
    assert [order["id"] for order in listed[:2]] == [other, name] and listed[1] == wanted
    for _ in range(2):
        assert one.call(action="cancel", id=name) == {"order": {**wanted, "status": "cancelled"}}
        assert one.left(cup, pot) == [4, 1]


@EACH
def test_what_is_no_order_is_refused_by_name(shop, language):
    one = shop(language, "mariadb")
    good = {"action": "place", "id": "o-1", "customer": "Ada", "lines": [{"sku": "tea", "quantity": 1}]}
    line = good["lines"][0]
    for change, text in [
            *(({"action": word}, "action must be one of place, cancel, list, stock")
              for word in ("drop", None, ["place"], "toString")),
            ({"id": "a'b"}, "id must be 1 to 40 letters"), ({"id": 7}, "id must be 1 to 40 letters"),
            ({"customer": ""}, "customer must be a text of 1 to 80"),
            ({"customer": "🎭" * 81}, "customer must be a text of 1 to 80"),
            ({"customer": "a\0b"}, "customer must be a text of 1 to 80"),
            ({"lines": []}, "lines must have 1 to 20 entries"), ({"lines": "x"}, "lines must have 1 to 20"),
            ({"lines": [line] * 21}, "lines must have 1 to 20"), ({"lines": [line, line]}, "lines has tea twice"),
            ({"lines": [{"sku": "x" * 41, "quantity": 1}]}, "sku must be 1 to 40 letters"),
            *(({"lines": [{"sku": "tea", "quantity": count}]}, "quantity must be from 1 to 1000")
              for count in (0, -1, 1001, 1.5, "1", None, True, 2 ** 64))]:
        kind, said = one.refused(**{**good, **change})
        assert kind == "InvalidOrder" and said.startswith(text), (change, kind, said)


@BOTH
@EACH
def test_a_connection_is_used_again_and_a_dead_one_replaced(shop, server, language, kind):
    one = shop(language, kind)
    tea = one.sells(tea=10)["tea"]
    one.left(tea)
    came_before, before = came(server), one.store.connections()
    for _ in range(5):
        one.call(action="place", id=fresh(), customer="Ada", lines=[{"sku": tea, "quantity": 1}])
    now = one.store.connections()
    assert before and before <= now
    # One of its own has each instance that came meanwhile; it connects a little before it is counted.
    end = time.monotonic() + 30
    while len(now - before) > came(server) - came_before:
        assert time.monotonic() < end, (before, now)
        time.sleep(0.1)
    # Frozen by now: nobody in there sees its connection end.
    time.sleep(0.2)
    before = one.store.connections()
    one.store.ask(one.store.end_mine)
    end = time.monotonic() + 30
    while one.store.connections() & before:
        assert time.monotonic() < end, "connections outlive their end"
        time.sleep(0.02)
    name = fresh()
    order = one.call(action="place", id=name, customer="Ada", lines=[{"sku": tea, "quantity": 1}])
    assert order["order"]["id"] == name and one.left(tea) == [4]
    assert one.store.connections()


@pytest.mark.parametrize("language, kind", [("go", "postgresql"), ("python", "mariadb")])
def test_what_many_want_is_sold_as_often_as_it_is_there(shop, language, kind):
    one = shop(language, kind)
    tea, pot = one.sells(tea=100, pot=7).values()

    def buy(at):
        # In either order: who takes the tea first must not wait for who took the pot.
        lines = [{"sku": tea, "quantity": 1}, {"sku": pot, "quantity": 1}]
        return one.invoke(action="place", id=f"many-{language}-{at}", customer=f"C{at}", lines=lines[::1 - 2 * (at % 2)])

    # More at once would measure how fast instances start.
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(buy, range(30)))
    placed = [answer for answer in answers if answer.error is None]
    kinds = {answer.payload["errorType"].rpartition(".")[2] for answer in answers if answer.error}
    assert (len(placed), kinds) == (7, {"OutOfStock"})
    assert one.left(tea, pot) == [93, 0]


@pytest.mark.parametrize("language, kind", [("python", "postgresql"), ("node", "mariadb")])
def test_a_deadlock_is_tried_again(shop, server, language, kind):
    one = shop(language, kind)
    first, second = one.sells(a=5, b=5).values()
    change = "UPDATE products SET price = 7 WHERE sku = '{}'"
    with one.store.session() as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        other.run(one.store.reads_committed)
        other.run("BEGIN")
        other.run(one.store.goes_on_in_deadlock)
        other.run(change.format(second))
        lines = [{"sku": first, "quantity": 1}, {"sku": second, "quantity": 1}]
        placed = pool.submit(one.invoke, action="place", id=fresh(), customer="Ada", lines=lines)
        end = time.monotonic() + 60
        while one.store.ask(one.store.waiting.format(second)) == [["0"]]:
            assert time.monotonic() < end and not placed.done(), "nobody waits"
            # MariaDB looks anew only where nobody has asked for a tenth of a second.
            time.sleep(0.2)
        # Each waits for the other now, and the function is the one that is ended.
        other.run(change.format(first))
        other.run("COMMIT")
        answer = placed.result(60)
    assert answer.error is None, answer.payload
    assert [line["price"] for line in answer.payload["order"]["lines"]] == [7, 7]
    assert one.left(first, second) == [4, 4]
    # Not always the first: an instance may have had a connection that an earlier test ended.
    said = server.cli("logs", one.name, "--request", answer.request_id).stdout
    assert re.search("attempt [0-9] is made again: .*[Dd]eadlock", said), said


@pytest.mark.parametrize("language, kind", [("java", "postgresql"), ("node", "mariadb")])
def test_a_database_that_is_away_is_said_so_and_comes_back(shop, language, kind):
    one = shop(language, kind)
    tea = one.sells(tea=3)["tea"]
    order = {"action": "place", "id": fresh(), "customer": "Ada", "lines": [{"sku": tea, "quantity": 1}]}
    placed = one.call(**order)
    one.store.crash()
    try:
        began = time.monotonic()
        assert one.refused(action="stock") == ("DatabaseUnavailable", "the database cannot be reached")
        assert time.monotonic() - began < 8
    finally:
        one.store.start()
    assert one.left(tea) == [2]
    assert one.call(**order) == placed and one.left(tea) == [2]


def test_only_the_policy_leads_to_the_databases(functions, address, stores):
    probe = python("""
import errno, socket
def handler(event, context):
    said = []
    for port in (5432, 3306):
        try:
            with socket.create_connection((event, port), 3):
                said.append("connected")
        except OSError as error:
            said.append(errno.errorcode.get(error.errno, str(error)))
    return said
""")
    for fields, wanted in [({}, "ECONNREFUSED"),
                           ({"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": ["sg-orders"]}}, "connected")]:
        assert functions.call(functions.create(probe, Timeout=20, **fields), address) == [wanted] * 2


def test_orders_outlive_a_kill_of_the_platform(shop, server):
    one = shop("python", "postgresql")
    tea = one.sells(tea=3)["tea"]
    order = {"action": "place", "id": fresh(), "customer": "Ada", "lines": [{"sku": tea, "quantity": 1}]}
    placed = one.call(**order)
    server.kill()
    server.start()
    again = Shop(Functions(server), "python", one.store)
    assert again.call(**order) == placed and again.left(tea) == [2]
