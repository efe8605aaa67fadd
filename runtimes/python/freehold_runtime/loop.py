"""Init, then one event after the other: the whole life of a Python instance is in `main`.

    over frames (descriptor 3)                 over the Runtime API
    greet ─▶ hello   (booted ahead only)
    begin ─▶ load handler ─▶ ready             load handler ─▶ GET next
                  └fault──▶ init error, exit 1       └fault──▶ POST init/error, exit 1
    prepare, resume (SnapStart only)           hooks before ─▶ GET restore/next ─▶ hooks after
    try ─▶ answer     (made ahead only)
    event ─▶ handler ─▶ answer | error         handler ─▶ POST response | error ─▶ GET next

`SystemExit` and other non-`Exception`s are let through: the process ends and the platform reports
the exit, as on Lambda.
"""
import os
import sys

from . import begin, codec, context, logs, output
from .trace import set_header as set_trace_header

# Exit codes of Lambda's runtime when a hook fails.
_EXIT_BEFORE_SNAPSHOT, _EXIT_AFTER_RESTORE = 64, 65


def main():
    descriptor = os.environ.pop("_FREEHOLD_FRAMES", None)
    is_wrapped = os.environ.pop("_FREEHOLD_WRAPPED", None) is not None
    wrapper = os.environ.get("AWS_LAMBDA_EXEC_WRAPPER")
    if wrapper and not is_wrapped:
        exec_wrapper(wrapper, descriptor)
    if descriptor is None:
        serve_runtime_api()
    else:
        serve_frames(int(descriptor))


def exec_wrapper(wrapper, descriptor):
    """Hands over to the script in `AWS_LAMBDA_EXEC_WRAPPER`, which runs us again with its changes.

    It may execute anything that knows the public API, so that is what is spoken behind it. The
    arguments are those that we were executed with, our own file last, since scripts put theirs
    before it.
    """
    if not os.path.isfile(wrapper):
        sys.stderr.write("%s: does not exist\n" % wrapper)
        sys.exit(127)
    if not os.access(wrapper, os.X_OK):
        sys.stderr.write("%s: is not an executable\n" % wrapper)
        sys.exit(126)
    if descriptor is not None:
        os.close(int(descriptor))
    os.environ["_FREEHOLD_WRAPPED"] = "1"
    os.execv(wrapper, [wrapper, sys.executable, "-S", "-u"] + sys.argv)


def serve_runtime_api():
    from .client import RuntimeApiError, RuntimeClient

    begin.builtins()
    output.unbuffer()
    line = RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        function = init(line)
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            restore(line)
        while True:
            serve(line, function, *line.next_event())
    except (RuntimeApiError, OSError) as error:
        # What the function raises does not come here. This environment is being taken down.
        sys.stderr.write("The Runtime API is gone: %s\n" % error)
        sys.exit(1)


def restore(line):
    """Both halves of the hooks, with the platform's word between them. Over this API it is we who say that
    the first is done; what follows is this process in any case, so nothing of it has to be renewed."""
    run_before(line.post_init_error)
    line.restore_next()
    run_after(line.post_restore_error)


def serve_frames(descriptor):
    from . import frames

    begin.builtins()
    output.unbuffer()
    line = frames.Line(descriptor)
    is_ahead = begin.is_booted_ahead()
    if is_ahead:
        begin.preload()
    try:
        function, event = None, frames.EVENT
        while True:
            kind, data = line.next()
            if kind == event:
                request_id, deadline, arn, trace, client_context, body = line.event(data)
                serve(line, function, request_id, deadline, arn, trace, client_context, body)
            elif kind == frames.BEGIN:
                begin.environment(data, True)
                begin.reseed()
                function = init(line)
                line.ready(begin.uses_libraries())
            else:
                is_nobodys = is_ahead and function is None
                if kind == frames.PREPARE and is_nobodys:
                    rehearse_for_image()
                between_events(frames, line, kind, data, is_nobodys)
    except (frames.LineGone, OSError) as error:
        sys.stderr.write("The line to the platform is gone: %s\n" % error)
        sys.exit(1)


def rehearse_for_image():
    from . import rehearsal

    rehearsal.run_for_image(serve)


def between_events(frames, line, kind, data, is_nobodys):
    """What is asked of a process around a start image, and of one that was started ahead."""
    if kind == frames.TRY:
        try_out(line, data)
    elif kind == frames.GREET:
        line.hello()
    elif kind == frames.REHEARSE:
        from . import rehearsal

        rehearsal.run(serve)
        if is_nobodys:
            begin.hide()
        line.rehearsed()
    elif kind == frames.PREPARE:
        from . import image

        run_before(line.post_init_error)
        reason = image.unfit()
        if reason is not None:
            line.unfit(reason)
            return
        try:
            image.settle()
        except Exception as error:
            line.unfit("it cannot be settled: %s" % type(error).__name__)
            return
        if is_nobodys:
            # As late as can be: what is freed after that is a hole again.
            begin.hide()
            image.fill_holes()
            begin.hide()
        line.prepared()
    elif kind == frames.RESUME:
        from . import fresh

        begin.environment(data, False)
        context.refresh()
        reseed()
        fresh.renew_credentials()
        fresh.widen()
        run_after(line.post_init_error)
        line.ready()
    else:
        raise frames.LineGone("the host sent a frame of kind %d" % kind)


def try_out(line, data):
    """An event of the platform's, in an instance that waits for its first: all of the way but the
    function, so that the pages that it takes are this process's own by then. Imports nothing: a
    function may have put finders of its own in the way of an import."""
    request_id, deadline, arn, _, client_context, body = line.event(data)
    serve(line, answer_back, request_id, deadline, arn, None, client_context, body, is_ours=True)


def answer_back(event, _context):
    return event


def run_before(report):
    from . import image

    run_hooks(image.before, report, "Runtime.BeforeSnapshotError", _EXIT_BEFORE_SNAPSHOT)


def run_after(report):
    from . import image

    run_hooks(image.after, report, "Runtime.AfterRestoreError", _EXIT_AFTER_RESTORE)


def run_hooks(run, report, error_type, exit_code):
    try:
        run()
    except Exception:
        from . import faults

        _, error, _ = faults.current("")
        faults.log(error)
        report(error_type, codec.encode(error).encode("utf-8", "replace"))
        sys.exit(exit_code)


def reseed():
    from . import fresh

    fresh.reseed()


def init(line):
    """Everything before the first event that depends on the function."""
    begin.paths()
    output.open_sink()
    logs.arm()
    context.refresh()
    try:
        from . import handler

        return handler.load(os.environ.get("_HANDLER", ""))
    except Exception:
        from . import faults

        error_type, error, _ = faults.current("")
        faults.log(error)
        line.post_init_error(error_type, codec.encode(error).encode("utf-8", "replace"))
        sys.exit(1)


def serve(line, function, request_id, deadline, arn, trace, client_context, body,
          identity=None, tenant_id=None, is_json=True, is_ours=False):
    # A thread of the function's init may look, or log, meanwhile.
    logs.set_request(None if is_ours else request_id, tenant_id)
    set_trace_header(trace)
    try:
        lambda_context = context.LambdaContext(
            request_id,
            deadline,
            arn,
            parsed(client_context, "Client Context") if client_context else None,
            parsed(identity, "Cognito Identity") if identity else None,
            tenant_id,
        )
        if is_json:
            try:
                event = codec.decode(body)
            except Exception as error:
                raise fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
        else:
            event = body
        result = function(event, lambda_context)
        if isinstance(result, bytes):
            answer, content_type = result, "application/unknown"
        else:
            content_type = "application/json"
            try:
                answer = codec.encode(result).encode("utf-8")
            except Exception as error:
                raise fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)
    except Exception:
        from . import faults

        error_type, error, cause = faults.current(request_id)
        faults.log(error)
        text = codec.encode(error).encode("utf-8", "replace")
        line.post_error(request_id, error_type, text, cause)
    else:
        line.post_response(request_id, answer, content_type)


def parsed(text, shown_name):
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
