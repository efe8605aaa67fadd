"""python3 -m unittest, in this folder."""

import datetime
import json
import unittest

import app
import programme

UTC = datetime.timezone.utc


def get(path="/", method="GET", **query):
    answer = app.handler({"requestContext": {"http": {"method": method}}, "rawPath": path,
                          **({"queryStringParameters": query} if query else {})}, None)
    return answer["statusCode"], json.loads(answer["body"])


class Calls(unittest.TestCase):
    def test_list_and_find(self):
        events = app.handler({"action": "list", "city": "hamburg"}, None)["events"]
        self.assertEqual({event["id"] for event in events}, {"harbour-lights", "silent-film-night"})
        event = app.handler({"action": "find", "id": "jazz-cellar"}, None)["event"]
        self.assertEqual(event["prices"], {"standard": 1800})
        self.assertNotIn("weekday", event)

    def test_what_is_wrong_is_raised(self):
        with self.assertRaisesRegex(app.EventNotFound, "'nope'"):
            app.handler({"action": "find", "id": "nope"}, None)
        for call in (None, [], {}, {"action": "drop"}, {"action": "find"},
                     {"action": "find", "id": 7}, {"action": "list", "text": "x" * 101}):
            with self.subTest(call), self.assertRaises(app.BadRequest):
                app.handler(call, None)


class Http(unittest.TestCase):
    def test_list_and_find(self):
        status, answer = get(text="JAZZ")
        self.assertEqual((status, [e["id"] for e in answer["events"]]), (200, ["jazz-cellar"]))
        self.assertEqual(get("/harbour-lights")[1]["event"]["city"], "Hamburg")

    def test_errors_have_a_status_and_a_code(self):
        for path, method, query, status, code in [
                ("/nope", "GET", {}, 404, "EventNotFound"),
                ("/", "POST", {}, 405, "MethodNotAllowed"),
                ("/", "GET", {"text": "x" * 101}, 400, "BadRequest")]:
            with self.subTest(path=path, method=method):
                got, answer = get(path, method, **query)
                self.assertEqual((got, answer["error"]["code"]), (status, code))


class Starts(unittest.TestCase):
    def test_the_next_one_is_always_ahead(self):
        friday = datetime.datetime(2026, 5, 15, 19, 30, tzinfo=UTC)
        before = friday - datetime.timedelta(seconds=1)
        self.assertEqual(programme.next_start(4, "19:30", before), "2026-05-15T19:30:00Z")
        self.assertEqual(programme.next_start(4, "19:30", friday), "2026-05-22T19:30:00Z")
        self.assertEqual(programme.next_start(0, "08:00", friday), "2026-05-18T08:00:00Z")

    def test_soonest_first(self):
        starts = [event["starts"] for event in programme.search()]
        self.assertEqual(starts, sorted(starts))
        self.assertEqual(len(starts), len(programme.EVENTS))


if __name__ == "__main__":
    unittest.main()
