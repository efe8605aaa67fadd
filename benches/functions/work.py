ANSWER = {"text": "x" * 20000}


def handler(event, context):
    print("one: the event has", len(event.get("body") or event.get("text") or ""), "characters")
    print("two: the request is", context.aws_request_id)
    print("three: done")
    return ANSWER
