"""Init, then one event after the other: the whole life of a Python instance is in `main`.

    load handler ──fault──▶ POST init/error, exit 1
         │
         ▼
    GET next ─▶ handler ─▶ POST response | POST error ─▶ GET next …

`SystemExit` and other non-`Exception`s are let through: the process ends and the platform reports
the exit, as on Lambda.
"""
import os
import sys

from . import codec, context, handler, logs, output
from .client import RuntimeApiError, RuntimeClient


def main():
    exec_wrapper()
    prepare_path()
    add_site_builtins()
    output.open_sink()
    output.unbuffer()
    logs.arm()
    client = RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        function = load_or_exit(client)
        while True:
            headers, body = client.next_invocation()
            serve(client, function, headers, body)
    except (RuntimeApiError, OSError) as error:
        # What the function raises does not come here. This environment is being taken down.
        sys.stderr.write("The Runtime API is gone: %s\n" % error)
        sys.exit(1)


def exec_wrapper():
    """Hands over to the script in `AWS_LAMBDA_EXEC_WRAPPER`, which runs us again with its changes."""
    wrapper = os.environ.get("AWS_LAMBDA_EXEC_WRAPPER")
    if not wrapper or "wrapped" in sys.argv[1:]:
        return
    if not os.path.isfile(wrapper):
        sys.stderr.write("%s: does not exist\n" % wrapper)
        sys.exit(127)
    if not os.access(wrapper, os.X_OK):
        sys.stderr.write("%s: is not an executable\n" % wrapper)
        sys.exit(126)
    os.execv(wrapper, [wrapper, sys.executable, "-S", "-u"] + sys.argv + ["wrapped"])


def prepare_path():
    """The function first, then layers, then what the runtime brings: Lambda's order."""
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = "python%d.%d" % sys.version_info[:2]
    first = [root, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    sys.path[:] = first + [entry for entry in unique(sys.path) if entry not in first]
    try:
        os.chdir(root)
    except OSError:
        pass


def unique(items):
    seen = set()
    return [item for item in items if not (item in seen or seen.add(item))]


def add_site_builtins():
    """`exit` and `quit`, which `-S` leaves out and scripts turned handlers do call."""
    import builtins

    try:
        from _sitebuiltins import Quitter
    except ImportError:
        return
    builtins.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")


def load_or_exit(client):
    try:
        return handler.load(os.environ.get("_HANDLER", ""))
    except Exception:
        from . import faults

        error_type, error, _ = faults.current("")
        faults.log(error)
        client.post_init_error(error_type, codec.encode(error).encode("utf-8", "replace"))
        sys.exit(1)


def serve(client, function, headers, body):
    request_id = headers.get("lambda-runtime-aws-request-id", "")
    logs.set_request(request_id, headers.get("lambda-runtime-aws-tenant-id"))
    trace_id = headers.get("lambda-runtime-trace-id")
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        answer, content_type = answer_of(function, headers, body)
    except Exception:
        from . import faults

        error_type, error, cause = faults.current(request_id)
        faults.log(error)
        text = codec.encode(error).encode("utf-8", "replace")
        client.post_error(request_id, error_type, text, cause)
    else:
        client.post_response(request_id, answer, content_type)


def answer_of(function, headers, body):
    client_context = header_json(headers, "lambda-runtime-client-context", "Client Context")
    identity = header_json(headers, "lambda-runtime-cognito-identity", "Cognito Identity")
    lambda_context = context.LambdaContext(headers, client_context, identity)
    if headers.get("content-type", "application/json") != "application/json":
        event = body
    else:
        try:
            event = codec.decode(body)
        except Exception as error:
            raise fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
    result = function(event, lambda_context)
    if isinstance(result, bytes):
        return result, "application/unknown"
    try:
        return codec.encode(result).encode("utf-8"), "application/json"
    except Exception as error:
        raise fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def header_json(headers, name, shown_name):
    text = headers.get(name)
    if not text:
        return None
    try:
        return codec.decode(text.encode("utf-8"))
    except Exception as error:
        raise fault(
            "Runtime.LambdaContextUnmarshalError",
            "Unable to parse %s JSON: %s" % (shown_name, error),
        )


def fault(error_type, message):
    from .faults import Fault

    return Fault(error_type, message)
