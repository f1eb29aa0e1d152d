#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bad frames and bad blocks get: an answer with a code, and nobody else notices."""

import random
import struct

import cases
import tlv
from content import CODEC_RAW, IDENTITY, multihash, raw_block, varint


class Frames(cases.Case):
    def setUp(self):
        self.d = self.daemon()
        self.block = raw_block(b"what the bystander reads")
        self.bystander = tlv.Client(self.d.address)
        self.addCleanup(self.bystander.close)
        self.assertKind(self.bystander.put(self.block.mh, self.block.data), tlv.DONE)

    def assertUnharmed(self):
        self.assertEqual(self.bystander.get(self.block.mh).body, self.block.data)

    def assertEnds(self, data, code, before=0):
        """Sent raw: the `before` good answers, one FAULT with that code, then the end."""
        with tlv.Client(self.d.address) as c:
            c.send(data)
            replies = c.read_until_closed()
        self.assertEqual(len(replies), before + 1, replies)
        self.assertEqual(replies[-1].kind, tlv.FAULT, "it comes last")
        faults = [r for r in replies if r.kind == tlv.FAULT]
        self.assertEqual([f.code for f in faults], [code])
        self.assertTrue(faults[0].words, "a code comes with words")
        self.assertUnharmed()

    def test_unknown_types_end_the_connection(self):
        for kind in (0x00, 0x04, 0x0F, 0x11, 0x2F, 0x40, 0x7F, 0xFF):
            with self.subTest(kind=kind):
                self.assertEnds(tlv.frame(kind, bytes(8)), tlv.UNKNOWN_TYPE)
        self.assertGreaterEqual(self.d.sum("net", "bad_frames"), 8)

    def test_wrong_lengths_end_the_connection(self):
        for data in (
            tlv.frame(tlv.GET, b"123"),
            tlv.frame(tlv.PING, bytes(9)),
            tlv.frame(tlv.GET, bytes(8) + bytes(247)),
            tlv.frame(tlv.HELLO, bytes(15)),
            tlv.frame(tlv.LIST, bytes(8)),
        ):
            with self.subTest(kind=data[0], length=data[1]):
                self.assertEnds(data, tlv.BAD_LENGTH)

    def test_bodies_larger_than_any_block_end_the_connection(self):
        fields = struct.pack(">II", CODEC_RAW, 0xFFFFFFF0)
        self.assertEnds(tlv.request(tlv.PUT, 1, fields + self.block.mh), tlv.BODY_TOO_LARGE)
        self.assertEnds(
            tlv.request(tlv.HAVE, 1, struct.pack(">HI", 4, 1 << 31)), tlv.BODY_TOO_LARGE
        )

    def test_fields_out_of_range_end_the_connection(self):
        self.assertEnds(tlv.request(tlv.PING, 1, cls=9), tlv.BAD_FIELD)
        self.assertEnds(tlv.request(tlv.HAVE, 1, struct.pack(">HI", 0, 0)), tlv.BAD_FIELD)
        self.assertEnds(tlv.request(tlv.LIST, 1, struct.pack(">QH", 0, 0)), tlv.BAD_FIELD)

    def test_hello_too_late_or_of_another_version_ends_the_connection(self):
        self.assertEnds(tlv.request(tlv.PING, 1) + tlv.hello(2), tlv.HELLO_LATE, before=1)
        self.assertEnds(tlv.hello(1, version=99), tlv.VERSION)

    def test_a_bad_frame_behind_good_ones_ends_the_connection_too(self):
        good = b"".join(tlv.get(i, self.block.mh) for i in range(50))
        self.assertEnds(good + tlv.frame(0xEE, b""), tlv.UNKNOWN_TYPE, before=50)

    def test_random_bytes_harm_nobody(self):
        source = random.Random(42)
        for _ in range(300):
            with tlv.Client(self.d.address) as c:
                try:
                    c.send(source.randbytes(source.randrange(1, 3000)))
                    c.socket.shutdown(1)
                    c.read_until_closed()
                except OSError:
                    pass  # closed while we were still talking
        self.assertUnharmed()

    def test_a_connection_that_ends_inside_a_frame_harms_nobody(self):
        block = raw_block(random.Random(1).randbytes(100_000))
        whole = tlv.put(1, block.mh, block.data)
        for cut in (1, 2, 10, 40, 60, 5000, 99_000):
            with tlv.Client(self.d.address) as c:
                c.send(whole[:cut])
        self.assertUnharmed()
        self.assertKind(self.bystander.get(block.mh), tlv.NOT_FOUND)
        self.assertEqual([mh for _, _, mh in self.bystander.list()], [self.block.mh])


class Blocks(cases.Case):
    def setUp(self):
        self.d = self.daemon()
        self.c = tlv.Client(self.d.address)
        self.addCleanup(self.c.close)

    def test_bytes_that_do_not_match_are_refused_and_nothing_is_stored(self):
        for size in (0, 10, 4096, 300_000):
            block = raw_block(random.Random(size).randbytes(size))
            reply = self.c.put(block.mh, block.data + b"!")
            self.assertFault(reply, tlv.MISMATCH)
            self.assertKind(self.c.get(block.mh), tlv.NOT_FOUND)
        self.assertEqual(self.c.list(), [])
        self.assertEqual(self.d.ask("stat")["store"]["put_mismatches"], 4)

    def test_an_unknown_hash_is_refused_with_its_code(self):
        mh = varint(0x1014) + b"\x20" + bytes(32)
        for reply in (self.c.put(mh, b"bytes"), self.c.get(mh), self.c.delete(mh)):
            self.assertFault(reply, tlv.UNKNOWN_HASH)
            self.assertRegex(reply.words.lower(), "0x1014|4116")
        self.assertKind(self.c.ping(), tlv.PONG, "the connection lives on")

    def test_keys_that_are_none_are_refused(self):
        for mh in (
            b"",
            b"\x12",
            b"\x12\x20" + bytes(31),
            b"\x12\x20" + bytes(33),
            b"\x12\x21" + bytes(33),
            b"\xff" * 12,
            multihash(b"inside its own name", IDENTITY),
            b"\x12\x13" + bytes(19),
        ):
            with self.subTest(mh=mh):
                self.assertFault(self.c.get(mh), tlv.BAD_KEY)
        self.assertKind(self.c.ping(), tlv.PONG)

    def test_a_block_larger_than_the_limit_is_refused_and_the_connection_lives(self):
        block = raw_block(bytes(2 * 1024 * 1024 + 1))
        reply = self.c.put(block.mh, block.data)
        self.assertFault(reply, tlv.TOO_LARGE)
        self.assertKind(self.c.ping(), tlv.PONG)
        self.assertKind(self.c.get(block.mh), tlv.NOT_FOUND)

    def test_a_have_with_a_key_that_is_none_is_refused_and_an_unknown_hash_is_absent(self):
        good = raw_block(b"present")
        self.assertKind(self.c.put(good.mh, good.data), tlv.DONE)
        self.assertFault(self.c.have([good.mh, b"\xff\xff\xff\xff"]), tlv.BAD_KEY)
        self.assertFault(self.c.have([good.mh, good.mh[:-1]]), tlv.BAD_KEY)
        unknown = varint(0x1014) + b"\x20" + bytes(32)
        self.assertEqual(self.c.have([good.mh, unknown, good.mh]).body, b"\x01\x00\x01")

    def test_a_class_above_the_ceiling_is_lowered_to_it(self):
        d = self.daemon(listen="127.0.0.1:{port},ceiling=low")
        with tlv.Client(d.address) as c:
            reply = c.ask(tlv.hello(1, cls=tlv.CRITICAL))
            self.assertKind(reply, tlv.WELCOME)
            self.assertEqual(reply.fields("HB")[1], tlv.LOW)
            block = raw_block(b"in class low")
            self.assertKind(c.put(block.mh, block.data, cls=tlv.CRITICAL), tlv.DONE)
        classes = {row["class"]: row["requests"] for row in d.ask("stat")["classes"]}
        self.assertEqual((classes["critical"], classes["high"], classes["normal"]), (0, 0, 0))

    def test_the_command_line_names_what_it_refuses(self):
        done = self.d.run("get", "bafkqaaa-not-a-cid")
        self.assertExit(done, 2)
        folder = self.scratch()
        (folder / "big").write_bytes(bytes(2 * 1024 * 1024 + 1))
        self.assertExit(self.d.run("put", folder / "big"), 4)
        self.assertExit(self.d.run("put", folder / "absent"), 1)

    def test_no_daemon_is_said_in_words(self):
        import daemon

        done = daemon.run("get", "--to", f"127.0.0.1:{daemon.free_port()}", raw_block(b"").text)
        self.assertExit(done, 1)
        self.assertIn("127.0.0.1", done.stderr)
        done = daemon.run("stat", "--admin", "/nonexistent/admin.sock")
        self.assertExit(done, 1)
        self.assertIn("/nonexistent/admin.sock", done.stderr)


if __name__ == "__main__":
    cases.main()
