import json
import time

ANSWER = {"text": "x" * 20000}


def handler(event, context):
    asked = json.loads(event.get("body") or "{}")
    print("one: the event has", len(asked.get("text", "")), "characters")
    print("two: the request is", context.aws_request_id)
    time.sleep(asked.get("s", 0))
    print("three: done")
    return ANSWER
