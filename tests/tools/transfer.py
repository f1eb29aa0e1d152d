# SPDX-License-Identifier: MIT
"""A server that is busy, lies, refuses and goes away on purpose, and commands that are run against
it. Test programs that import this get the path of millrace as their first argument.
"""

import hashlib
import random
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

import content  # noqa: E402
import tlv  # noqa: E402
from content import raw_block  # noqa: E402
from program import MILLRACE, main  # noqa: E402, F401

BLOCK_MAX = 1 << 20


class Peer(socketserver.StreamRequestHandler):
    """One connection. What it does wrong stands in the server's `mood`."""

    def handle(self):
        self.count = 0
        try:
            while self.one():
                pass
        except ConnectionError:
            pass

    def one(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return False
        kind, payload = head[0], self.rfile.read(head[1])
        number = payload[:4]
        mood = self.server.mood
        if kind == tlv.HELLO:
            self.wfile.write(
                tlv.frame(tlv.WELCOME, number + struct.pack(">HBBIII", 1, 2, 0, 0, 256, BLOCK_MAX))
            )
            return True
        self.count += 1
        body = b""
        if kind == tlv.PUT:
            body = self.rfile.read(struct.unpack_from(">I", payload, 12)[0])
        elif kind == tlv.HAVE:
            body = self.rfile.read(struct.unpack_from(">I", payload, 10)[0])
        if mood.get("close_after") == self.count:
            return False
        if mood.get("busy_every") and self.count % mood["busy_every"] == 0:
            self.server.busy += 1
            wait = struct.pack(">II", mood.get("retry_ms", 2), 100)
            self.wfile.write(tlv.frame(tlv.BUSY, number + wait))
            return True
        self.wfile.write(self.answer(kind, number, payload, body, mood))
        return True

    def fault(self, number, code):
        return tlv.frame(tlv.FAULT, number + struct.pack(">H", code) + b"no")

    def answer(self, kind, number, payload, body, mood):
        blocks = self.server.blocks
        if kind == tlv.PUT:
            mh = payload[16:]
            if mood.get("refuse_all"):
                return self.fault(number, mood["refuse_all"])
            if mh in mood.get("refuse", ()):
                return self.fault(number, tlv.MISMATCH)
            self.server.sound &= hashlib.sha256(body).digest() == mh[2:]
            if not mood.get("forget"):
                blocks[mh] = body
            return tlv.frame(tlv.DONE, number)
        if kind == tlv.LIST:
            return self.page(number, payload)
        if kind == tlv.HAVE:
            keys, at = [], 0
            while at < len(body):
                keys.append(body[at : at + 34])
                at += 34
            found = bytes(int(key in blocks) for key in keys)
            head = number + struct.pack(">HI", len(found), len(found))
            return tlv.frame(tlv.HAVES, head) + found
        mh = payload[8:]
        if kind == tlv.PIN:
            self.server.pins.add(payload[13:])
            return tlv.frame(tlv.DONE, number)
        if kind == tlv.GET_RANGE:
            offset, length = struct.unpack_from(">II", payload, 8)
            mh = payload[16:]
            return self.value(number, blocks[mh], offset, length)
        if mh not in blocks:
            return tlv.frame(tlv.NOT_FOUND, number)
        if kind == tlv.DELETE:
            del blocks[mh]
            return tlv.frame(tlv.DONE, number)
        if kind == tlv.VERIFY:
            bad = mh in mood.get("damaged", ())
            return self.fault(number, tlv.CORRUPT) if bad else tlv.frame(tlv.DONE, number)
        data = blocks[mh]
        if mh in mood.get("lie", ()):
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self.value(number, data, 0, len(data))

    def value(self, number, data, offset, length):
        part = data[offset : offset + length]
        head = number + struct.pack(">IIII", content.CODEC_RAW, len(data), offset, len(part))
        return tlv.frame(tlv.VALUE, head) + part

    def page(self, number, payload):
        at = struct.unpack_from(">Q", payload, 8)[0]
        items = list(self.server.blocks.items())
        chosen = items[at : at + 50]  # small pages, so that there are many
        after = at + 50 if at + 50 < len(items) else 0
        body = b"".join(struct.pack(">II", content.CODEC_RAW, len(d)) + mh for mh, d in chosen)
        head = number + struct.pack(">QHI", after, len(chosen), len(body))
        return tlv.frame(tlv.ITEMS, head) + body


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Peer)
        self.server.blocks, self.server.mood = {}, {}
        self.server.busy, self.server.sound, self.server.pins = 0, True, set()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory(prefix="millrace-transfer-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_(self, status, command, *arguments, stdin=b""):
        to = "127.0.0.1:%d" % self.server.server_address[1]
        done = subprocess.run(
            [MILLRACE, command, "--to", to, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, status, f"{command}: {done.stdout!r} {done.stderr!r}")
        return done.stdout, done.stderr.decode()

    def file(self, data, name="made.car"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def some(self, count, largest=5000):
        source = random.Random(count)
        return [raw_block(source.randbytes(source.randrange(1, largest))) for _ in range(count)]

    def hold(self, blocks):
        for block in blocks:
            self.server.blocks[block.mh] = block.data
