"""HTTP/2 below any client: frames as a test wants them, over TLS."""

import socket
import ssl
import struct
import urllib.parse

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NAMES = {DATA: "DATA", HEADERS: "HEADERS", RESET: "RESET", SETTINGS: "SETTINGS", PING: "PING",
         GOAWAY: "GOAWAY", WINDOW: "WINDOW"}
ENHANCE_YOUR_CALM, REFUSED_STREAM = 11, 7


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def length(number):
    """An HPACK length below a prefix of seven bits, without Huffman."""
    if number < 127:
        return bytes([number])
    rest, out = number - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes(out + bytes([rest]))


def block(pairs):
    """Headers as literals that nobody indexes."""
    out = b""
    for name, value in pairs:
        name, value = name.encode("latin-1"), value.encode("latin-1")
        out += b"\x00" + length(len(name)) + name + length(len(value)) + value
    return out


def head(host, path="/", method="GET", more=()):
    return [(":method", method), (":scheme", "https"), (":authority", host), (":path", path), *more]


class Connection:
    """One connection of a client that does nothing by itself."""

    def __init__(self, url, context, settings=b"", timeout=20, unread_bytes=None):
        """`unread_bytes` of what comes lie in its kernel, where that is said."""
        address = urllib.parse.urlsplit(url)
        plain = socket.socket()
        plain.settimeout(timeout)
        if unread_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread_bytes // 2)
        plain.connect((address.hostname, address.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = context.wrap_socket(plain, server_hostname=address.hostname)
        assert self.tls.selected_alpn_protocol() == "h2"
        self.host = address.netloc
        self.held = b""
        self.next_stream = 1
        self.tls.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.tls.close()

    def send(self, *frames):
        """False once the server has closed."""
        try:
            self.tls.sendall(b"".join(frames))
            return True
        except (OSError, ssl.SSLError):
            return False

    def ask(self, headers, flags=END_STREAM | END_HEADERS):
        """Begins a request; its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(frame(HEADERS, flags, stream, block(headers)))
        return stream

    def read(self):
        """The next frame as (kind, flags, stream, payload); None at the end."""
        while len(self.held) < 9 or len(self.held) < 9 + self.size():
            try:
                more = self.tls.recv(65536)
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                return None
            self.held += more
        size = self.size()
        one, self.held = self.held[:9 + size], self.held[9 + size:]
        return one[3], one[4], struct.unpack(">I", one[5:9])[0], one[9:]

    def size(self):
        return struct.unpack(">I", b"\0" + self.held[:3])[0]

    def until(self, holds):
        """Frames up to the one for which `holds`, or to the end, where None stands for it."""
        frames = []
        while True:
            one = self.read()
            frames.append(one)
            if one is None or holds(one):
                return frames

    def end_of(self, stream):
        """The frame that ends a stream, or what ended the connection."""
        return self.until(lambda one: (
            one[0] == GOAWAY or one[2] == stream
            and (one[0] == RESET or one[0] in (DATA, HEADERS) and one[1] & END_STREAM)))[-1]


def error_of(one):
    """The code of a RESET or GOAWAY."""
    at = 4 if one[0] == GOAWAY else 0
    return struct.unpack(">I", one[3][at:at + 4])[0]


def setting(number, value):
    return struct.pack(">HI", number, value)
