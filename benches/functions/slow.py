import json
import time


def handler(event, context):
    time.sleep(json.loads(event.get("body") or "{}").get("s", 0))
    return {"hello": "world"}
