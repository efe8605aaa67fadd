"""Random bytes of the vDSO, drawn as glibc draws them from 2.41 on: out of state in the process's own memory.

`draw` is None where the kernel has no such call (before Linux 6.11).
"""

import ctypes
import mmap
import struct

_CALL = "__vdso_getrandom"


def _peek(address, layout):
    return struct.unpack(layout, ctypes.string_at(address, struct.calcsize(layout)))


def _find():
    """The call's address, by the symbols of the vDSO. Source: ELF-64, as on x86-64."""
    with open("/proc/self/maps") as maps:
        base = next((int(line.split("-")[0], 16) for line in maps if line.endswith("[vdso]\n")), None)
    if base is None:
        return None
    (headers,), (count,) = _peek(base + 32, "Q"), _peek(base + 56, "H")
    dynamic = None
    for at in range(base + headers, base + headers + 56 * count, 56):
        kind, _, offset = _peek(at, "IIQ")
        if kind == 2:
            dynamic = base + offset
    tables = {}
    while entry := _peek(dynamic, "QQ"):
        if entry[0] == 0:
            break
        tables[entry[0]] = base + entry[1]
        dynamic += 16
    # The names follow the symbols.
    names, symbols = tables[5], tables[6]
    for at in range(symbols, names, 24):
        name, value = _peek(at, "I4xQ")
        if ctypes.string_at(names + name) == _CALL.encode():
            return base + value
    return None


def _prepare():
    """Memory of the kind that the call asks for, and what draws from it."""
    at = _find()
    if at is None:
        return None, None
    call = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint,
                            ctypes.c_void_p, ctypes.c_size_t)(at)
    # The state's size, the protection and the flags of its memory; the rest is reserved.
    wanted = (ctypes.c_uint32 * 16)()
    assert call(None, 0, 0, wanted, ctypes.c_size_t(-1).value) == 0
    size, protection, flags = wanted[:3]
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=protection, flags=flags)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def draw():
        drawn = ctypes.create_string_buffer(16)
        assert call(drawn, 16, 0, address, size) == 16
        return drawn.raw.hex()

    return memory, draw


state, draw = _prepare()
