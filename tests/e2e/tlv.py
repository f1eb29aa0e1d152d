# SPDX-License-Identifier: MIT
"""The wire, spoken by code that shares nothing with the server (docs/protocol.md is its only
source).
"""

import socket
import struct

from content import CODEC_RAW

HELLO, WELCOME, PING, PONG = 0x10, 0x11, 0x12, 0x13
GET, GET_RANGE, HAVE, PUT, DELETE, STAT, LIST, VERIFY = range(0x20, 0x28)
PIN, UNPIN = 0x2C, 0x2D
VALUE, DONE, HAVES, STATS, ITEMS = range(0x40, 0x45)
NOT_FOUND, BUSY, RETRY, FAULT = 0x4D, 0x4E, 0x4F, 0x50

UNKNOWN_TYPE, BAD_LENGTH, BAD_FIELD, BODY_TOO_LARGE, HELLO_LATE, VERSION = 1, 2, 3, 4, 5, 6
TOO_MANY_CONNECTIONS = 8
BAD_KEY, UNKNOWN_HASH, MISMATCH, TOO_LARGE, CORRUPT, FULL, IO, EXPIRED, READONLY, RANGE = range(
    100, 110
)

CRITICAL, HIGH, NORMAL, LOW, DEFAULT = 0, 1, 2, 3, 255
# Where a reply's payload says how long the body behind it is.
BODY_AT = {VALUE: 16, HAVES: 6, STATS: 4, ITEMS: 14}


def frame(kind, payload):
    return bytes([kind, len(payload)]) + payload


def request(kind, number, fields=b"", cls=DEFAULT, flags=0, deadline_ms=0):
    return frame(kind, struct.pack(">IBBH", number, cls, flags, deadline_ms) + fields)


def hello(number, cls=NORMAL, version=1, features=0, body=b""):
    return frame(HELLO, struct.pack(">IHBBII", number, version, cls, 0, features, len(body))) + body


def get(number, mh, **more):
    return request(GET, number, mh, **more)


def put(number, mh, data, codec=CODEC_RAW, **more):
    return request(PUT, number, struct.pack(">II", codec, len(data)) + mh, **more) + data


class Reply:
    """One frame from the server, with its body."""

    def __init__(self, kind, payload, body):
        self.kind, self.payload, self.body = kind, payload, body
        self.id = struct.unpack(">I", payload[:4])[0]

    def fields(self, layout):
        return struct.unpack_from(">" + layout, self.payload, 4)

    @property
    def code(self):
        return self.fields("H")[0] if self.kind == FAULT else 0

    @property
    def words(self):
        return self.payload[6:].decode("utf-8", "replace")

    def __repr__(self):
        more = f" code {self.code} '{self.words}'" if self.kind == FAULT else ""
        return f"<reply {self.kind:#04x} id {self.id}{more} body {len(self.body)}>"


class Closed(Exception):
    """The server ended the connection."""


class Client:
    """One connection. Blocking; as many requests in flight as the caller sends."""

    def __init__(self, address, timeout=20.0, buffers=0, greet=False, cls=NORMAL):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if buffers:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        self.number = 0
        self.kept = b""
        self.welcome = None
        if greet:
            self.send(hello(self.next(), cls))
            self.welcome = self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def next(self):
        self.number += 1
        return self.number

    def send(self, data):
        self.socket.sendall(data)

    def take(self, count):
        while len(self.kept) < count:
            try:
                more = self.socket.recv(max(65536, count - len(self.kept)))
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not more:
                raise Closed(f"end of stream, {len(self.kept)} of {count} bytes there")
            self.kept += more
        out, self.kept = self.kept[:count], self.kept[count:]
        return out

    def read(self):
        kind, length = self.take(2)
        payload = self.take(length)
        body = b""
        if kind in BODY_AT:
            body = self.take(struct.unpack_from(">I", payload, BODY_AT[kind])[0])
        return Reply(kind, payload, body)

    def read_until_closed(self):
        """Every reply up to the end of the stream."""
        out = []
        try:
            while True:
                out.append(self.read())
        except Closed:
            return out

    def ask(self, data):
        """Sends one request; its reply, by id, with nothing else in flight."""
        self.send(data)
        reply = self.read()
        expected = struct.unpack(">I", data[2:6])[0]
        if reply.id not in (expected, 0):
            raise AssertionError(f"asked {expected}, answered {reply}")
        return reply

    def ping(self):
        return self.ask(request(PING, self.next()))

    def get(self, mh, **more):
        return self.ask(get(self.next(), mh, **more))

    def get_range(self, mh, offset, length):
        return self.ask(request(GET_RANGE, self.next(), struct.pack(">II", offset, length) + mh))

    def put(self, mh, data, **more):
        return self.ask(put(self.next(), mh, data, **more))

    def have(self, mhs):
        body = b"".join(mhs)
        return self.ask(request(HAVE, self.next(), struct.pack(">HI", len(mhs), len(body))) + body)

    def delete(self, mh):
        return self.ask(request(DELETE, self.next(), mh))

    def verify(self, mh):
        return self.ask(request(VERIFY, self.next(), mh))

    def stat(self):
        return self.ask(request(STAT, self.next()))

    def list(self):
        """Every (codec, bytes, multihash) of the store."""
        cursor, out = 0, []
        for _ in range(100_000):
            reply = self.ask(request(LIST, self.next(), struct.pack(">QH", cursor, 256)))
            if reply.kind != ITEMS:
                raise AssertionError(repr(reply))
            cursor, count = reply.fields("QH")
            at = 0
            for _ in range(count):
                codec, size = struct.unpack_from(">II", reply.body, at)
                end = at + 8 + mh_bytes(reply.body, at + 8)
                out.append((codec, size, reply.body[at + 8 : end]))
                at = end
            if at != len(reply.body):
                raise AssertionError(f"{len(reply.body) - at} bytes behind the last item")
            if cursor == 0:
                return out
        raise AssertionError("a list without an end")


def mh_bytes(data, at):
    """How long the multihash there is."""
    start = at
    while data[at] & 0x80:
        at += 1
    return at + 2 - start + data[at + 1]
