"""Zip files that no tool would make, byte by byte.

`Entry` says what each header claims, so that a header can lie; `archive` puts entries together.
Source of the layout: PKWARE APPNOTE 6.3.10.
"""

import dataclasses
import struct
import zlib

STORED, DEFLATED = 0, 8


@dataclasses.dataclass
class Entry:
    name: bytes
    data: bytes = b""
    mode: int = 0o100644
    method: int = DEFLATED
    flags: int = 0
    # What the headers claim; None tells the truth.
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    descriptor: bytes | None = None
    extra: bytes = b""

    def packed(self):
        if self.method == STORED:
            return self.data
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflate.compress(self.data) + deflate.flush()


def archive(entries, count=None, same_offset=False, comment=b"", tail=b""):
    """The bytes of a zip. `same_offset` lets every entry point at the first one's data."""
    body, central = bytearray(), bytearray()
    first = None
    for entry in entries:
        packed = first[1] if same_offset and first else entry.packed()
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        packed_size = len(packed) if entry.packed_size is None else entry.packed_size
        flags = entry.flags | (8 if entry.descriptor is not None else 0)
        name = entry.name if entry.local_name is None else entry.local_name
        offset = first[0] if same_offset and first else len(body)
        if not (same_offset and first):
            in_local = (0, 0, 0) if entry.descriptor is not None else (crc, packed_size, size)
            body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, flags, entry.method, 0, 0x21,
                                *in_local, len(name), len(entry.extra))
            body += name + entry.extra + packed + (entry.descriptor or b"")
            first = first or (offset, packed)
        central += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, (3 << 8) | 45, 45, flags, entry.method, 0, 0x21, crc,
            packed_size, size, len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16, offset)
        central += entry.name + entry.extra
    total = len(entries) if count is None else count
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, total & 0xFFFF, total & 0xFFFF, len(central),
                      len(body), len(comment))
    return bytes(body + central + end + comment + tail)


def zip64_that_claims(entries, count, directory_offset=None):
    """A zip whose zip64 end record claims `count` entries, whatever is there."""
    plain = archive(entries)
    end = plain[-22:]
    _, _, _, _, _, size, offset, _ = struct.unpack("<IHHHHIIH", end)
    directory_offset = offset if directory_offset is None else directory_offset
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size,
                         directory_offset)
    locator = struct.pack("<IIQI", 0x07064B50, 0, len(plain) - 22, 1)
    last = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:-22] + record + locator + last
