# hello for functions-framework, and the second handler at /work.
import functions_framework

ANSWER = {"text": "x" * 20000}


@functions_framework.http
def hello(request):
    if request.path != "/work":
        return {"hello": "world"}
    print("one: the event has", len(request.get_json()["text"]), "characters")
    print("two: the request is", request.method)
    print("three: done")
    return ANSWER
