"""The programme: what is played, and when it is played next.

Each event recurs weekly, so the example has something to sell in any year that it is run in.
"""

import datetime
import json
import pathlib

# Read once per instance, at its start, which Lambda does not count as a call.
EVENTS = json.loads((pathlib.Path(__file__).parent / "events.json").read_text(encoding="utf-8"))


def search(text="", city="", now=None):
    """Events with `text` in title or description, in `city`, soonest first."""
    text, city = text.casefold(), city.casefold()
    found = [event for event in EVENTS
             if text in f"{event['title']} {event['description']}".casefold()
             and city in ("", event["city"].casefold())]
    return sorted((public(event, now) for event in found), key=lambda event: event["starts"])


def find(wanted, now=None):
    """The event with that id, or None."""
    return next((public(event, now) for event in EVENTS if event["id"] == wanted), None)


def public(event, now=None):
    """An event as others see it: its rule of recurrence replaced by the next start."""
    shown = {key: value for key, value in event.items() if key not in ("weekday", "time")}
    return {**shown, "starts": next_start(event["weekday"], event["time"], now)}


def next_start(weekday, time, now=None):
    """The next such weekday (Monday is 0) and time in UTC, later than `now`."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    hour, minute = map(int, time.split(":"))
    start = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    start += datetime.timedelta(days=(weekday - now.weekday()) % 7)
    if start <= now:
        start += datetime.timedelta(days=7)
    return start.strftime("%Y-%m-%dT%H:%M:%SZ")
