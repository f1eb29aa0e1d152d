#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""import and export: CARs the tests make, damaged on purpose, and the real ones of
MILLRACE_TEST_DATA.
"""

import json
import os
import random
import re
import unittest
from pathlib import Path

import cases
import content
import daemon
import tlv
from content import BLAKE2B_256, CODEC_DAG_PB, CODEC_RAW, IDENTITY, SHA2_512, Block, raw_block

DATA = os.environ.get("MILLRACE_TEST_DATA", "")
# Damaged on purpose by their authors; everything else in the folders is sound.
DAMAGED = {
    "badsectionlength.car",
    "sample-corrupt-pragma.car",
    "sample-v1-tailing-corrupt-section.car",
    "sample-v1-with-zero-len-section.car",
}

# CARv1 files that are one whole DAG, as Go wrote it.
WHOLE_DAGS = {
    "sample-v1.car",
    "dir-with-dag-cbor-with-links.car",
    "dir-with-duplicate-files.car",
    "gateway-raw-block.car",
    "single-layer-hamt-with-multi-block-files.car",
    "subdir-with-mixed-block-files.car",
    "subdir-with-two-single-block-files.car",
}


def mixed_blocks(seed, count):
    source = random.Random(seed)
    kinds = (
        (CODEC_RAW, content.SHA2_256, 1),
        (CODEC_DAG_PB, content.SHA2_256, 0),
        (CODEC_RAW, SHA2_512, 1),
        (CODEC_DAG_PB, BLAKE2B_256, 1),
    )
    return [
        Block(codec, source.randbytes(source.choice((0, 10, 500, 5000, 70_000))), code, version)
        for codec, code, version in (source.choice(kinds) for _ in range(count))
    ]


class Import(cases.Case):
    def setUp(self):
        self.d = self.daemon()
        self.folder = self.scratch()

    def file(self, data, name="made.car"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def assertStored(self, blocks):
        with tlv.Client(self.d.address) as c:
            for block in blocks:
                reply = c.get(block.mh)
                self.assertKind(reply, tlv.VALUE, block.text)
                self.assertEqual(reply.body, block.data)

    def assertAbsent(self, blocks):
        with tlv.Client(self.d.address) as c:
            for block in blocks:
                self.assertKind(c.get(block.mh), tlv.NOT_FOUND, block.text)

    def test_version_1_and_2_round_trip(self):
        blocks = mixed_blocks(1, 120)
        one = content.car(blocks[:2], blocks[:60])
        two = content.car_v2(content.car(blocks[60:61], blocks[60:]), padding=333)
        self.assertExit(
            self.d.run("import", self.file(one, "one.car"), self.file(two, "two.car")), 0
        )
        self.assertStored(blocks)
        self.assertExit(self.d.run("export", "-o", self.folder / "all.car"), 0)
        exported = content.car_blocks((self.folder / "all.car").read_bytes())
        self.assertEqual(
            {content.cid_mh(cid): data for cid, data in exported}, {b.mh: b.data for b in blocks}
        )
        self.assertExit(
            self.d.run("export", blocks[5].text, blocks[6].text, "-o", self.folder / "some.car"), 0
        )
        exported = content.car_blocks((self.folder / "some.car").read_bytes())
        self.assertEqual({content.cid_mh(cid) for cid, _ in exported}, {blocks[5].mh, blocks[6].mh})
        other = self.daemon()
        self.assertExit(other.run("import", self.folder / "all.car"), 0)
        with tlv.Client(other.address) as c:
            for block in blocks:
                self.assertEqual(c.get(block.mh).body, block.data)

    def test_a_plain_file_becomes_raw_leaves_of_256_kib(self):
        data = random.Random(2).randbytes(3 * 262144 + 17)
        self.assertExit(self.d.run("import", self.file(data, "plain.bin")), 0)
        self.assertStored([raw_block(data[i : i + 262144]) for i in range(0, len(data), 262144)])

    def test_identity_blocks_are_carried_not_stored(self):
        inline = Block(CODEC_RAW, b"inside its own name", IDENTITY)
        block = raw_block(b"beside it")
        self.assertExit(self.d.run("import", self.file(content.car([block], [inline, block]))), 0)
        self.assertStored([block])
        done = self.d.run("get", inline.text, text=False)
        self.assertEqual((done.returncode, done.stdout), (0, inline.data))

    def test_exporting_what_is_absent_says_so(self):
        done = self.d.run("export", raw_block(b"never stored").text, "-o", self.folder / "none.car")
        self.assertExit(done, 3)

    def refused(self, data, offset, before=(), after=(), words=""):
        """The import stops with 4 and names the offset; blocks before the place are kept, none
        after it.
        """
        done = self.d.run("import", self.file(data))
        self.assertExit(done, 4)
        numbers = [int(n) for n in re.findall(r"\d+", done.stderr)]
        self.assertIn(offset, numbers, f"the offset {offset} is not named: {done.stderr}")
        if words:
            self.assertIn(words, done.stderr)
        self.assertStored(before)
        self.assertAbsent(after)
        return done

    def test_truncated_anywhere_keeps_what_came_before(self):
        blocks = [raw_block(random.Random(seed).randbytes(300)) for seed in range(5)]
        head = content.car_header([blocks[0].cid])
        sections = [content.car_section(b.cid, b.data) for b in blocks]
        at = len(head) + sum(len(s) for s in sections[:3])
        whole = head + b"".join(sections)
        for cut in (1, 2, 20, 39, 200):
            with self.subTest(cut=cut):
                self.refused(whole[: at + cut], at, before=blocks[:3], after=blocks[3:])
        self.assertExit(self.d.run("import", self.file(whole[:10])), 4)

    def test_a_section_past_the_end(self):
        block, other = raw_block(b"good"), raw_block(b"cut short")
        good = content.car([block], [block])
        bad = content.varint(len(other.cid) + 5000) + other.cid + other.data
        self.refused(good + bad, len(good), before=[block], after=[other])

    def test_a_section_too_long_to_be_a_block(self):
        block, other = raw_block(b"good"), raw_block(b"huge, it says")
        good = content.car([block], [block])
        self.refused(
            good + content.varint(1 << 40) + other.cid + other.data, len(good), before=[block]
        )

    def test_a_zero_length_section(self):
        block, other = raw_block(b"before"), raw_block(b"after")
        good = content.car([block], [block])
        self.refused(
            good + b"\0" + content.car_section(other.cid, other.data), len(good), before=[block]
        )

    def test_a_varint_that_never_ends(self):
        block = raw_block(b"before the varint")
        good = content.car([block], [block])
        self.refused(good + b"\xff" * 12, len(good), before=[block])

    def test_a_varint_that_is_not_minimal(self):
        block, other = raw_block(b"before the long one"), raw_block(b"in the long one")
        good = content.car([block], [block])
        length = len(other.cid) + len(other.data)
        self.refused(
            good + bytes([length & 0x7F | 0x80, 0x80 | length >> 7, 0]) + other.cid + other.data,
            len(good),
            before=[block],
        )

    def test_bytes_that_do_not_match_their_cid_name_offset_and_cid(self):
        blocks = [raw_block(b"one"), raw_block(b"two"), raw_block(b"three")]
        head = content.car_header([blocks[0].cid])
        first = content.car_section(blocks[0].cid, blocks[0].data)
        lie = content.car_section(blocks[1].cid, b"tvo")
        last = content.car_section(blocks[2].cid, blocks[2].data)
        at = len(head) + len(first)
        lying = blocks[1]
        self.refused(
            head + first + lie + last, at, before=blocks[:1], after=[lying], words=lying.text
        )
        done = self.d.run("import", "--on-error", "continue", self.file(head + first + lie + last))
        self.assertExit(done, 4)
        self.assertIn(blocks[1].text, done.stderr)
        self.assertStored([blocks[0], blocks[2]])
        self.assertAbsent([blocks[1]])

    def test_the_first_bad_block_ends_what_is_sent(self):
        """Those behind it that were under way may be in; the far ones are not."""
        blocks = [raw_block(b"block %d" % n) for n in range(20_000)]
        head = content.car_header([blocks[0].cid])
        lie = content.car_section(blocks[0].cid, b"another")
        rest = b"".join(content.car_section(b.cid, b.data) for b in blocks[1:])
        self.refused(head + lie + rest, len(head), after=[blocks[0], blocks[-1]])

    def test_large_blocks_of_a_file_go_in_as_they_lie_there(self):
        """Such sections are sent out of the file: small ones between them, damaged ones, one that
        the file ends in, and the same from a pipe, where they are read.
        """
        source = random.Random(77)
        sizes = (65_536, 10, 262_144, 65_535, 1_500_000, 0, 300, 90_000, 2 << 20, 70_000)
        blocks = [raw_block(source.randbytes(size)) for size in sizes]
        head = content.car_header([blocks[0].cid])
        sections = [content.car_section(b.cid, b.data) for b in blocks]
        whole = head + b"".join(sections)
        done = self.d.run("import", "--json", self.file(whole))
        self.assertExit(done, 0)
        self.assertEqual(json.loads(done.stdout)["bytes"], sum(sizes))
        self.assertStored(blocks)
        other = self.daemon()
        piped = other.run("import", "--json", "-", input=whole, text=False)
        self.assertEqual(json.loads(piped.stdout)["blocks"], len(blocks))
        spoiled = bytearray(whole)
        at = len(head) + sum(map(len, sections[:4]))
        spoiled[at + 1_000_000] ^= 1
        third = self.daemon()
        path = self.file(bytes(spoiled[:-1]))
        done = third.run("import", "--on-error", "continue", path)
        self.assertExit(done, 4)
        last = len(whole) - len(sections[-1])
        for words in (f"offset {at}: {blocks[4].text}", f"offset {last} "):
            self.assertIn(words, done.stderr)
        self.assertIn("8 blocks", done.stdout)
        folder = self.folder / "cars"
        folder.mkdir()
        (folder / "all.car").write_bytes(whole)
        done = third.run("import", "--json", folder)
        self.assertExit(done, 0)
        found = json.loads(done.stdout)
        self.assertEqual((found["blocks"], found["known"]), (2, 8))

    def test_an_unknown_hash_is_refused_with_its_code(self):
        block = raw_block(b"known")
        cid = b"\x01\x55" + content.varint(0x1014) + b"\x20" + bytes(32)  # a code nobody implements
        good = content.car([block], [block])
        done = self.refused(
            good + content.car_section(cid, b"some bytes"), len(good), before=[block]
        )
        self.assertRegex(done.stderr.lower(), "0x1014|4116")

    def test_a_block_larger_than_a_block_may_be(self):
        block, other = raw_block(b"small"), raw_block(bytes(2 * 1024 * 1024 + 1))
        good = content.car([block], [block])
        self.refused(
            good + content.car_section(other.cid, other.data),
            len(good),
            before=[block],
            after=[other],
        )

    def test_a_header_that_is_no_header(self):
        for head in (b"\x0a\xa1gversion\x01", b"\x05hello", content.varint(1 << 33) + b"x"):
            with self.subTest(head=head):
                self.assertExit(self.d.run("import", self.file(head + bytes(100))), 4)

    def test_a_missing_file_is_an_ordinary_failure(self):
        done = self.d.run("import", self.folder / "not-there.car")
        self.assertExit(done, 1)
        self.assertIn("not-there.car", done.stderr)


def samples():
    if not DATA:
        return []
    return sorted(
        path for folder in ("car", "conformance") for path in (Path(DATA) / folder).glob("*.car")
    )


class RealFiles(cases.Case):
    def setUp(self):
        if not samples():
            self.skipTest(
                "no real CAR files: MILLRACE_TEST_DATA names no folder with car/ and conformance/"
            )
        self.d = self.daemon()

    def test_every_sound_file_goes_in_and_each_block_comes_back(self):
        with tlv.Client(self.d.address) as c:
            for path in samples():
                if path.name in DAMAGED:
                    continue
                with self.subTest(path.name):
                    self.assertExit(self.d.run("import", path), 0)
                    for cid, data in content.car_blocks(path.read_bytes()):
                        mh = content.cid_mh(cid)
                        if mh[0] == IDENTITY:
                            done = (
                                self.d.run("get", content.cid_text(cid), text=False)
                                if len(data) < 64
                                else None
                            )
                            if done:
                                self.assertEqual((done.returncode, done.stdout), (0, data))
                            continue
                        reply = c.get(mh)
                        self.assertKind(reply, tlv.VALUE, f"{path.name} {content.cid_text(cid)}")
                        self.assertEqual(reply.body, data)

    def test_every_damaged_file_is_refused_with_its_place(self):
        for path in samples():
            if path.name not in DAMAGED:
                continue
            with self.subTest(path.name):
                done = self.d.run("import", path)
                self.assertExit(done, 4)
                self.assertIn(path.name, done.stderr)
                self.assertRegex(done.stderr, r"\b(offset|byte) \d+|:\d+")

    def test_a_dag_comes_back_as_the_archive_that_another_program_made_of_it(self):
        out = self.scratch() / "dag.car"
        for path in samples():
            if path.name in WHOLE_DAGS:
                with self.subTest(path.name):
                    self.assertExit(self.d.run("import", path), 0)
                    _, at = content.read_varint(path.read_bytes(), 0)
                    at = path.read_bytes().index(b"\xd8\x2a\x58", at) + 5
                    root = content.cid_text(content.read_cid(path.read_bytes(), at))
                    self.assertExit(self.d.run("export", root, "--dag", "-o", out), 0)
                    self.assertEqual(out.read_bytes(), path.read_bytes())

    def test_an_export_of_all_holds_every_block_that_went_in(self):
        expected = {}
        for path in samples():
            if path.name not in DAMAGED:
                self.assertExit(self.d.run("import", path), 0)
                for cid, data in content.car_blocks(path.read_bytes()):
                    if content.cid_mh(cid)[0] != IDENTITY:
                        expected[content.cid_mh(cid)] = data
        out = self.scratch() / "all.car"
        self.assertExit(self.d.run("export", "-o", out), 0)
        self.assertEqual(
            {content.cid_mh(cid): data for cid, data in content.car_blocks(out.read_bytes())},
            expected,
        )


class SelfCheck(unittest.TestCase):
    """The second opinion must be right itself: known CIDs from the specification's own examples."""

    def test_known_cids(self):
        self.assertEqual(
            raw_block(b"").text, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        )
        empty_dir = Block(CODEC_DAG_PB, b"\x0a\x02\x08\x01", version=0)
        self.assertEqual(empty_dir.text, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn")


if __name__ == "__main__":
    cases.main()
