"""Greets whoever the event names."""


def handler(event, context):
    name = event.get("name") or "world"
    print(f"greeting {name}")
    return {"message": f"Hello, {name}!"}
