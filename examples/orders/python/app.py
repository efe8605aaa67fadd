"""Places, lists and cancels orders; see ../README.md for what goes in and comes out.

What goes wrong is an exception here; Lambda hands its class name to a caller as `errorType`.
"""

import os
import re

from database import Database, Unavailable

LINES_MAX = 20
QUANTITY_MAX = 1000
LISTED_MAX = 50


class InvalidOrder(Exception):
    """What came in is no order; the text names the field."""


class UnknownProduct(Exception):
    """There is no product of that name."""


class OutOfStock(Exception):
    """Not so many are left."""


class OrderExists(Exception):
    """Another order was placed with this id."""


class OrderNotFound(Exception):
    """No order has that id."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached now; the same call may be made again."""


database = Database(os.environ["DATABASE_URL"])
# While the instance starts, which is not the caller's time. Who cannot connect now tries again.
try:
    database.connect()
except Unavailable as problem:
    print("the database cannot be reached yet:", problem)


def handler(event, context):
    if not isinstance(event, dict):
        raise InvalidOrder("the call must be an object with an action")
    name = event.get("action")
    action = ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise InvalidOrder(f"action must be one of {', '.join(ACTIONS)}")
    try:
        return action(event)
    except Unavailable as problem:
        print(f"{problem}: {problem.__cause__}")
        raise DatabaseUnavailable(str(problem)) from None


def place(event):
    name, customer, lines = key(event, "id"), text(event, "customer"), lines_of(event)

    def work(sql):
        if sql.run(sql.insert_order, name, customer) == 0:
            # Placed before: the answer was lost, or another order has the id.
            order = read(sql, name)
            same = (order["customer"], {line["sku"]: line["quantity"] for line in order["lines"]})
            if same != (customer, lines):
                raise OrderExists(f"another order was placed as {name}")
            return order
        # By name, so that two orders for the same products wait for each other in the same order.
        for sku, quantity in sorted(lines.items()):
            # The condition is what keeps stock from falling below zero, whoever else buys now.
            if sql.run("UPDATE products SET stock = stock - %s WHERE sku = %s AND stock >= %s",
                       quantity, sku, quantity) == 0:
                left = sql.rows("SELECT stock FROM products WHERE sku = %s", sku)
                if not left:
                    raise UnknownProduct(f"there is no product {sku}")
                raise OutOfStock(f"{left[0][0]} of {sku} are left, not {quantity}")
            sql.run("INSERT INTO order_lines (order_id, sku, quantity, price)"
                    " SELECT %s, sku, %s, price FROM products WHERE sku = %s", name, quantity, sku)
        return read(sql, name)

    return {"order": database.transaction(work)}


def cancel(event):
    name = key(event, "id")

    def work(sql):
        changed = sql.run("UPDATE orders SET status = 'cancelled' WHERE id = %s AND status = 'placed'", name)
        order = read(sql, name)
        # Cancelled once: a second call gives nothing back.
        if changed:
            for line in order["lines"]:
                sql.run("UPDATE products SET stock = stock + %s WHERE sku = %s", line["quantity"], line["sku"])
        return order

    return {"order": database.transaction(work)}


def list_orders(event):
    customer = text(event, "customer")
    chosen = f"SELECT * FROM orders WHERE customer = %s ORDER BY placed DESC, id LIMIT {LISTED_MAX}"
    return {"orders": database.transaction(lambda sql: orders_in(sql, chosen, customer))}


def stock(event):
    rows = database.transaction(lambda sql: sql.rows("SELECT sku, stock FROM products ORDER BY sku LIMIT 1000"))
    return {"stock": dict(rows)}


ACTIONS = {"place": place, "cancel": cancel, "list": list_orders, "stock": stock}


def read(sql, name):
    found = orders_in(sql, "SELECT * FROM orders WHERE id = %s", name)
    if not found:
        raise OrderNotFound(f"there is no order {name}")
    return found[0]


def orders_in(sql, chosen, argument):
    """The orders that a query chooses, with their lines, newest first."""
    orders = {}
    for name, customer, status, sku, quantity, price in sql.rows(
            "SELECT o.id, o.customer, o.status, l.sku, l.quantity, l.price"
            f" FROM ({chosen}) o JOIN order_lines l ON l.order_id = o.id"
            " ORDER BY o.placed DESC, o.id, l.sku", argument):
        order = orders.setdefault(
            name, {"id": name, "customer": customer, "status": status, "total": 0, "lines": []})
        order["lines"].append({"sku": sku, "quantity": quantity, "price": price})
        order["total"] += quantity * price
    return list(orders.values())


def key(holder, field):
    value = holder.get(field)
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", value):
        raise InvalidOrder(f"{field} must be 1 to 40 letters, digits and hyphens")
    return value


def text(event, field):
    value = event.get(field)
    # Neither database keeps a zero, and half of a surrogate pair is no text.
    if not isinstance(value, str) or not 1 <= len(value) <= 80 or re.search("[\0\ud800-\udfff]", value):
        raise InvalidOrder(f"{field} must be a text of 1 to 80 characters")
    return value


def lines_of(event):
    """{sku: quantity}."""
    given = event.get("lines")
    if not isinstance(given, list) or not 1 <= len(given) <= LINES_MAX:
        raise InvalidOrder(f"lines must have 1 to {LINES_MAX} entries")
    lines = {}
    for line in given:
        if not isinstance(line, dict):
            raise InvalidOrder("each of lines must be an object")
        sku, quantity = key(line, "sku"), line.get("quantity")
        if sku in lines:
            raise InvalidOrder(f"lines has {sku} twice")
        if type(quantity) is not int or not 1 <= quantity <= QUANTITY_MAX:
            raise InvalidOrder(f"quantity must be from 1 to {QUANTITY_MAX}")
        lines[sku] = quantity
    return lines
