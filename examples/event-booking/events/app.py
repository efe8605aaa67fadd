"""Lists and finds events: over its URL for people, by Invoke for other functions.

A URL's event is known by its `requestContext`; anything else is a call of our own:

    {"action": "list", "text": "jazz", "city": "Hamburg"}  →  {"events": [...]}
    {"action": "find", "id": "harbour-lights"}             →  {"event": {...}}

What goes wrong is an exception here; Lambda hands its class name to a caller as `errorType`, and a
URL answers it as a status.
"""

import json

import programme


class BadRequest(Exception):
    """The call is not one of those above."""


class EventNotFound(Exception):
    """No event has that id."""


def handler(event, context):
    if isinstance(event, dict) and "requestContext" in event:
        return over_http(event)
    return answer(event)


def answer(call):
    if not isinstance(call, dict):
        raise BadRequest("the call must be an object with an action")
    action = call.get("action")
    if action == "list":
        return {"events": programme.search(text_of(call, "text"), text_of(call, "city"))}
    if action == "find":
        wanted = text_of(call, "id")
        if not wanted:
            raise BadRequest("find needs an id")
        event = programme.find(wanted)
        if event is None:
            raise EventNotFound(f"no event is called {wanted!r}")
        return {"event": event}
    raise BadRequest(f"action must be list or find, not {str(action)[:40]!r}")


def text_of(call, field):
    """A text of at most 100 characters, empty when it is not given."""
    value = call.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 100:
        raise BadRequest(f"{field} must be a text of at most 100 characters")
    return value


def over_http(event):
    """`GET /?text=…&city=…` lists, `GET /ID` finds."""
    method = event["requestContext"]["http"]["method"]
    if method not in ("GET", "HEAD"):
        return respond(405, error("MethodNotAllowed", "events are read with GET"), Allow="GET, HEAD")
    name = event.get("rawPath", "/").strip("/")
    query = event.get("queryStringParameters") or {}
    call = {"action": "find", "id": name} if name else {**query, "action": "list"}
    try:
        return respond(200, answer(call))
    except BadRequest as problem:
        return respond(400, error("BadRequest", str(problem)))
    except EventNotFound as problem:
        return respond(404, error("EventNotFound", str(problem)))


def error(code, message):
    return {"error": {"code": code, "message": message}}


def respond(status, document, **headers):
    return {"statusCode": status, "headers": {"Content-Type": "application/json", **headers},
            "body": json.dumps(document, ensure_ascii=False)}
