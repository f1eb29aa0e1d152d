#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""put, get, has, rm, ls, stat and ranges, by the wire and by the command line, on every layout."""

import json
import random
import struct

import cases
import tlv
from content import (
    BLAKE2B_256,
    CODEC_DAG_PB,
    CODEC_RAW,
    SHA2_256,
    SHA2_512,
    Block,
    cid_text,
    multihash,
    raw_block,
)
from daemon import layouts, wait_for

SIZES = (
    0,
    1,
    63,
    64,
    65,
    1000,
    2047,
    2048,
    2049,
    4095,
    4096,
    16383,
    16384,
    16385,
    65536,
    262144,
    1048576,
    2097152,
)


def some_block(seed, size):
    return raw_block(random.Random(seed).randbytes(size))


class OnOneLayout:
    """The cases; a class for each layout inherits them."""

    layout = ()

    def setUp(self):
        self.d = self.daemon(flags=self.layout)

    def test_every_size_comes_back_byte_for_byte(self):
        with tlv.Client(self.d.address, greet=True) as c:
            for size in SIZES:
                block = some_block(size, size)
                self.assertKind(c.put(block.mh, block.data), tlv.DONE, f"put {size}")
                reply = c.get(block.mh)
                self.assertKind(reply, tlv.VALUE, f"get {size}")
                self.assertEqual(reply.fields("IIII"), (CODEC_RAW, size, 0, size))
                self.assertEqual(reply.body, block.data)

    def test_blocks_survive_a_clean_restart(self):
        blocks = [some_block(seed, seed * 37 % 9000) for seed in range(200)]
        with tlv.Client(self.d.address) as c:
            for block in blocks:
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            for block in blocks[::5]:
                self.assertKind(c.delete(block.mh), tlv.DONE)
        self.assertEqual(self.d.stop(), 0, self.d.words())
        self.d.start()
        with tlv.Client(self.d.address) as c:
            for i, block in enumerate(blocks):
                reply = c.get(block.mh)
                if i % 5 == 0:
                    self.assertKind(reply, tlv.NOT_FOUND)
                else:
                    self.assertEqual(reply.body, block.data)

    def test_ranges(self):
        block = some_block(7, 100_000)
        with tlv.Client(self.d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            for offset, length in (
                (0, 1),
                (0, 100_000),
                (1, 2),
                (99_999, 1),
                (50_000, 4096),
                (4095, 4098),
                (10, 0),
            ):
                reply = c.get_range(block.mh, offset, length)
                expected = block.data[offset : offset + length] if length else block.data[offset:]
                self.assertKind(reply, tlv.VALUE, f"{offset}+{length}")
                self.assertEqual(reply.fields("IIII"), (CODEC_RAW, 100_000, offset, len(expected)))
                self.assertEqual(reply.body, expected)
            self.assertFault(c.get_range(block.mh, 100_001, 1), tlv.RANGE)
            self.assertKind(c.ping(), tlv.PONG)

    def test_absent_deleted_and_put_again(self):
        block = some_block(8, 5000)
        with tlv.Client(self.d.address) as c:
            self.assertKind(c.get(block.mh), tlv.NOT_FOUND)
            self.assertKind(c.delete(block.mh), tlv.NOT_FOUND)
            for _ in range(3):
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
                self.assertKind(
                    c.put(block.mh, block.data), tlv.DONE, "a duplicate is as good as new"
                )
                self.assertEqual(c.get(block.mh).body, block.data)
                self.assertKind(c.delete(block.mh), tlv.DONE)
                self.assertKind(c.get(block.mh), tlv.NOT_FOUND)

    def test_have_answers_each_key_in_order(self):
        blocks = [some_block(seed, 100) for seed in range(300)]
        with tlv.Client(self.d.address) as c:
            for block in blocks[::3]:
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            reply = c.have([b.mh for b in blocks])
            self.assertKind(reply, tlv.HAVES)
            self.assertEqual(reply.fields("H")[0], 300)
            self.assertEqual(list(reply.body), [1 if i % 3 == 0 else 0 for i in range(300)])
            self.assertEqual(c.have([blocks[0].mh]).body, b"\x01")
            self.assertEqual(len(c.have([b.mh for b in (blocks * 4)[:1024]]).body), 1024)

    def test_hash_functions(self):
        data = b"one text, three hashes"
        with tlv.Client(self.d.address) as c:
            for code in (SHA2_256, SHA2_512, BLAKE2B_256):
                mh = multihash(data, code)
                self.assertKind(c.put(mh, data), tlv.DONE, hex(code))
                self.assertEqual(c.get(mh).body, data)

    def test_codec_is_kept(self):
        block = Block(CODEC_DAG_PB, b"\x0a\x02\x08\x01")
        with tlv.Client(self.d.address) as c:
            self.assertKind(c.put(block.mh, block.data, codec=CODEC_DAG_PB), tlv.DONE)
            self.assertEqual(c.get(block.mh).fields("I")[0], CODEC_DAG_PB)
            self.assertIn((CODEC_DAG_PB, 4, block.mh), c.list())

    def test_a_thousand_in_flight_are_all_answered(self):
        blocks = [some_block(seed, 10 + seed % 5000) for seed in range(500)]
        with tlv.Client(self.d.address) as c:
            c.send(b"".join(tlv.put(i, b.mh, b.data) for i, b in enumerate(blocks)))
            got = {c.read().id for _ in blocks}
            self.assertEqual(got, set(range(500)))
            c.send(b"".join(tlv.get(i, blocks[i % 500].mh) for i in range(1000)))
            answered = {}
            for _ in range(1000):
                reply = c.read()
                self.assertKind(reply, tlv.VALUE)
                answered[reply.id] = reply.body
            for i in range(1000):
                self.assertEqual(answered[i], blocks[i % 500].data)

    def test_frames_split_anywhere_mean_the_same(self):
        block = some_block(9, 700)
        with tlv.Client(self.d.address) as c:
            for byte in tlv.hello(1) + tlv.put(2, block.mh, block.data) + tlv.get(3, block.mh):
                c.send(bytes([byte]))
            replies = {r.id: r for r in (c.read(), c.read(), c.read())}
            self.assertKind(replies[1], tlv.WELCOME)
            self.assertKind(replies[2], tlv.DONE)
            # Requests of one connection may overtake each other, so the get may have come first.
            self.assertIn(replies[3].kind, (tlv.VALUE, tlv.NOT_FOUND))
            self.assertEqual(c.get(block.mh).body, block.data)

    def test_verify_and_stat_over_the_wire(self):
        block = some_block(10, 20_000)
        with tlv.Client(self.d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            self.assertKind(c.verify(block.mh), tlv.DONE)
            self.assertKind(c.verify(some_block(11, 5).mh), tlv.NOT_FOUND)
            reply = c.stat()
            self.assertKind(reply, tlv.STATS)
            self.assertIsInstance(json.loads(reply.body), dict)

    def test_list_names_every_block_once(self):
        blocks = {b.mh: b for b in (some_block(seed, seed % 100) for seed in range(1500))}
        with tlv.Client(self.d.address) as c:
            todo = list(blocks.values())
            for chunk in (todo[i : i + 500] for i in range(0, len(todo), 500)):
                c.send(b"".join(tlv.put(i, b.mh, b.data) for i, b in enumerate(chunk)))
                for _ in chunk:
                    self.assertKind(c.read(), tlv.DONE)
            items = c.list()
            self.assertEqual(len(items), len(blocks))
            self.assertEqual(
                {mh: size for _, size, mh in items}, {mh: len(b.data) for mh, b in blocks.items()}
            )

    def test_welcome_says_version_class_credits_and_block_limit(self):
        with tlv.Client(self.d.address) as c:
            reply = c.ask(tlv.hello(1, cls=tlv.HIGH))
            version, cls, _, _, credits, block_max = reply.fields("HBBIII")
            self.assertEqual((version, cls), (1, tlv.HIGH))
            self.assertGreater(credits, 0)
            self.assertEqual(block_max, 2 * 1024 * 1024)

    def test_classes_are_counted_as_asked(self):
        block = some_block(12, 100)
        with tlv.Client(self.d.address, greet=True, cls=tlv.CRITICAL) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            for cls in range(4):
                for _ in range(10):
                    self.assertKind(c.get(block.mh, cls=cls), tlv.VALUE)

        def counted():
            classes = {row["class"]: row["requests"] for row in self.d.ask("stat")["classes"]}
            return all(classes[name] >= 10 for name in ("critical", "high", "normal", "low"))

        wait_for(counted, "ten requests in every class")

    def test_the_command_line(self):
        folder = self.scratch()
        source = folder / "block"
        source.write_bytes(random.Random(13).randbytes(3000))
        block = raw_block(source.read_bytes())
        done = self.d.run("put", source)
        self.assertExit(done, 0)
        self.assertEqual(done.stdout, block.text + "\n")
        done = self.d.run("get", block.text, text=False)
        self.assertEqual((done.returncode, done.stdout), (0, block.data))
        done = self.d.run("get", block.text, "-o", folder / "out")
        self.assertExit(done, 0)
        self.assertEqual((folder / "out").read_bytes(), block.data)
        self.assertExit(self.d.run("has", block.text), 0)
        absent = some_block(14, 9)
        self.assertExit(self.d.run("has", block.text, absent.text), 3)
        self.assertExit(self.d.run("get", absent.text), 3)
        self.assertIn(block.text, self.d.run("ls").stdout)
        done = self.d.run("put", "-", input=b"from a pipe", text=False)
        self.assertEqual(done.stdout.decode().strip(), raw_block(b"from a pipe").text)
        done = self.d.run("put", "--codec", "dag-pb", "--mh", "blake2b-256", source)
        self.assertExit(done, 0)
        self.assertEqual(done.stdout.strip(), Block(CODEC_DAG_PB, block.data, BLAKE2B_256).text)
        v0 = cid_text(Block(CODEC_DAG_PB, block.data, version=0).cid)
        done = self.d.run("get", v0, text=False)
        self.assertEqual(
            (done.returncode, done.stdout),
            (0, block.data),
            "one hash, one block, whatever the CID's form",
        )
        self.assertExit(self.d.run("rm", block.text), 0)
        self.assertExit(self.d.run("rm", block.text), 3)
        self.assertExit(self.d.run("get", block.text), 3)
        done = self.d.run("stat", "--json")
        self.assertExit(done, 0)
        self.assertEqual(json.loads(done.stdout)["state"], "serving")
        for command in ("stat", "topo", "why"):
            self.assertExit(self.d.run(command), 0)
        self.assertExit(self.d.run("verify"), 0)
        done = self.d.run("verify", "--json")
        self.assertExit(done, 0)
        json.loads(done.stdout)
        self.assertExit(self.d.run("get", "nonsense"), 2)
        self.assertExit(self.d.run("get"), 2)
        self.assertExit(self.d.run("frobnicate"), 2)


for _name, _flags in layouts().items():
    _class = "On" + "".join(word.strip(",").capitalize() for word in _name.split())
    globals()[_class] = type(
        _class, (OnOneLayout, cases.Case), {"layout": _flags, "__module__": __name__}
    )


class Offline(cases.Case):
    """What needs no layout of its own."""

    def test_auto_layout_serves(self):
        d = self.daemon()
        with tlv.Client(d.address) as c:
            self.assertKind(c.ping(), tlv.PONG)
        self.assertTrue(d.ask("topo")["auto"])

    def test_pid_file_and_admin_socket_stand_in_the_store(self):
        d = self.daemon()
        self.assertEqual(int((d.directory / "millrace.pid").read_text()), d.process.pid)
        self.assertEqual(d.admin_path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(d.stop(), 0)
        self.assertFalse(d.admin_path.exists())
        self.assertFalse((d.directory / "millrace.pid").exists())

    def test_verify_offline_finds_a_flipped_byte_and_the_rest_still_serves(self):
        d = self.daemon()
        blocks = [some_block(seed, 40_000) for seed in range(20)]
        with tlv.Client(d.address) as c:
            for block in blocks:
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
        self.assertEqual(d.stop(), 0)
        import daemon as daemons

        self.assertExit(daemons.run("verify", "--store", d.directory), 0)
        damaged = blocks[3]
        for path in d.directory.rglob("*.seg"):
            data = path.read_bytes()
            at = data.find(damaged.data[:64])
            if at >= 0:
                with open(path, "r+b") as segment:
                    segment.seek(at + 1000)
                    segment.write(bytes([data[at + 1000] ^ 0x40]))
        done = daemons.run("verify", "--store", d.directory, "--json")
        self.assertExit(done, 4)
        self.assertGreaterEqual(
            json.dumps(json.loads(done.stdout)).count(damaged.text)
            + done.stderr.count(damaged.text),
            1,
        )
        d.start()
        with tlv.Client(d.address) as c:
            self.assertFault(c.get(damaged.mh), tlv.CORRUPT)
            for block in blocks[:3] + blocks[4:]:
                self.assertEqual(c.get(block.mh).body, block.data)
            self.assertFault(c.verify(damaged.mh), tlv.CORRUPT)
            self.assertKind(c.put(damaged.mh, damaged.data), tlv.DONE, "putting it again heals it")
            self.assertEqual(c.get(damaged.mh).body, damaged.data)
        # engine/watch.c: the operator hears of it without having to ask
        daemons.wait_for(lambda: "a stored block is damaged" in d.words(), "the log to name damage")

    def test_credits_bound_what_a_connection_may_have_unanswered(self):
        d = self.daemon(flags=["--set", "net.credits=8"])
        block = some_block(1, 64)
        with tlv.Client(d.address, greet=True) as c:
            self.assertEqual(struct.unpack_from(">I", c.welcome.payload, 12)[0], 8)
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            c.send(b"".join(tlv.get(i, block.mh) for i in range(2000)))
            kinds = [c.read().kind for _ in range(2000)]
            self.assertLessEqual(set(kinds), {tlv.VALUE, tlv.BUSY})
            self.assertIn(tlv.VALUE, kinds)


if __name__ == "__main__":
    cases.main()
