import os
import time


def handler(event, context):
    kind = event.get("queryStringParameters", {}).get("kind")
    if kind == "timeout":
        time.sleep(60)
    if kind == "slow":
        time.sleep(0.05)
    if kind == "crash":
        os.kill(os.getpid(), 9)
    if kind == "exit":
        os._exit(3)
    if kind == "fork" and os.fork() == 0:
        time.sleep(600)
    return {"hello": kind}
