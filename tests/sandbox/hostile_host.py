"""What a machine has that an instance must not reach: made for a test, and gone after it."""

import contextlib
import socket
import subprocess
import uuid


@contextlib.contextmanager
def hostile_host():
    """A listener on loopback, an abstract socket, a shared memory segment."""
    abstract = f"freehold-escape-{uuid.uuid4()}"
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            socket.socket(socket.AF_UNIX) as local:
        local.bind("\0" + abstract)
        local.listen()
        made = subprocess.run(["ipcmk", "-M", "4096"], capture_output=True, text=True, check=True)
        try:
            yield {"host_port": listener.getsockname()[1], "host_abstract": abstract}
        finally:
            subprocess.run(["ipcrm", "-m", made.stdout.split()[-1]], check=True)
