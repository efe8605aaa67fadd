"""Does what its frames say: each is Python that leaves its answer in `out`."""

import os

scope = {"os": os}
while True:
    code = os.read(3, 1 << 20).decode()
    if not code:
        break
    scope["out"] = None
    try:
        exec(compile(code, "frame", "exec"), scope)
        said = str(scope["out"])
    except BaseException as error:
        said = f"! {error!r}"
    os.write(3, said.encode() + b"\n")
