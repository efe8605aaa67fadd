"""Tries, from inside an instance, everything in lines.tsv, and says what the kernel answered.

A handler when it is deployed as a function, which tries as it is loaded where PROBE_AT_INIT is set;
run as a program it prints one JSON line per line.
It judges nothing: what must be seen stands in escape_list.json.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import sys

VALUE_MAX = 1 << 16
CONNECT_SECONDS = 2
FRAMES = 3
libc = ctypes.CDLL(None, use_errno=True)


def argument(text):
    kind, value = text.split(":", 1)
    if kind == "i":
        return ctypes.c_long(int(value))
    if kind == "b":
        return ctypes.create_string_buffer(int(value))
    return ctypes.c_char_p(value.encode())


def syscall(number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(int(number)), *map(argument, arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "")
    return answer


def call(name, number, *arguments):
    answer = syscall(number, *arguments)
    if name.startswith("clone") and answer == 0:
        os._exit(0)
    return str(answer)


def call_on(name, number, path, *arguments):
    """A call whose first argument is a descriptor of a file or folder."""
    descriptor = os.open(path.removeprefix("s:"), os.O_RDONLY)
    try:
        return call(name, number, f"i:{descriptor}", *arguments)
    finally:
        os.close(descriptor)


def signalled(number):
    """The signal that a call ends its process with."""
    pid = os.fork()
    if pid == 0:
        try:
            syscall(number)
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "none"


def opened(path, mode):
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY, "c": os.O_WRONLY | os.O_CREAT}[mode]
    os.close(os.open(path, flags | os.O_NONBLOCK, 0o600))


def opened_below(folder, mode):
    """Opens whichever of a folder's names can be opened."""
    failure = FileNotFoundError(errno.ENOENT, "")
    for name in os.listdir(folder):
        try:
            return opened(os.path.join(folder, name), mode)
        except FileNotFoundError:
            pass  # gone since it was listed
        except OSError as error:
            failure = error
    raise failure


def content(path):
    with open(path, "rb") as file:
        return file.read(VALUE_MAX).decode(errors="replace")


def write(path, text):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def links(folder):
    targets = []
    for name in os.listdir(folder):
        try:
            targets.append(os.readlink(os.path.join(folder, name)))
        except FileNotFoundError:
            pass  # the descriptor that listed the folder
    return "\n".join(targets)


def connect(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(CONNECT_SECONDS)
        try:
            one.connect((host, int(port)))
        except socket.timeout:
            raise TimeoutError(110, "")
        # Whoever carries connections judges them once they are made, and resets what may not be.
        try:
            one.recv(1)
        except socket.timeout:
            pass


def abstract(name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect("\0" + name)


def fill(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            os.write(descriptor, bytes(1 << 16))
    finally:
        os.close(descriptor)
        os.unlink(path)


def forks(most):
    children = []
    try:
        for _ in range(int(most)):
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


def opens(most):
    descriptors = []
    try:
        for _ in range(int(most)):
            descriptors.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


ACTIONS = {
    "call": call, "call_on": call_on, "nr": lambda number: str(syscall(number)), "open": opened,
    "open_below": opened_below, "read": content, "write": write, "links": links, "link": os.readlink, "connect": connect, "abstract": abstract,
    "list": lambda folder: "\n".join(os.listdir(folder)), "fill": fill, "forks": forks,
    "opens": opens,
}


def probe(line):
    number, kind, *arguments = line.split("\t")
    seen = {"line": int(number), "errno": 0, "signal": "", "value": ""}
    try:
        if kind == "signal_x32":
            seen["signal"] = signalled(0x40000000 + int(arguments[0]))
        else:
            seen["value"] = ACTIONS[kind](*arguments) or ""
    except OSError as error:
        seen["errno"] = error.errno
    return seen


def lines():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lines.tsv")
    with open(beside, encoding="utf-8") as file:
        return file.read().splitlines()


AT_INIT = [probe(line) for line in lines()] if "PROBE_AT_INIT" in os.environ else None


def handler(event, context):
    return AT_INIT or event and [probe(line) for line in lines()]


if __name__ == "__main__":
    if sys.argv[1:] == ["--thawed"]:
        # An image is taken of what waits here; what reads on is thawed from it.
        os.write(FRAMES, b"waits")
        os.read(FRAMES, 1)
    for one in lines():
        print(json.dumps(probe(one)), flush=True)
