#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""import, export, put, get, has, rm, ls and verify against a server that is busy, lies, refuses and
goes away on purpose: what the daemon must never do, the commands must survive and say.

    test_transfer.py PATH/TO/millrace

Covers tools/millrace/flight.c, tools/millrace/import.c, tools/millrace/walk.c,
tools/millrace/progress.c, tools/millrace/remote.c, tools/millrace/cmd_import.c,
tools/millrace/cmd_export.c, tools/millrace/dag.c, tools/millrace/cmd_ls.c and
tools/millrace/cmd_verify.c.
"""

import json
import os
import random
import struct
import subprocess
import sys
import unittest

import transfer  # first: it finds the folder of the others
from transfer import BLOCK_MAX, MILLRACE, Case

import content
import tlv
from content import raw_block


class Import(Case):
    def test_all_of_it_arrives_though_every_third_request_meets_busy(self):
        blocks = self.some(500)
        self.server.mood = {"busy_every": 3}
        out, err = self.run_(0, "import", "--json", self.file(content.car(blocks[:1], blocks)))
        self.assertEqual(self.server.blocks, {b.mh: b.data for b in blocks})
        self.assertTrue(self.server.sound)
        self.assertGreater(self.server.busy, 100)
        summary = json.loads(out)
        self.assertEqual((summary["blocks"], summary["bad"]), (500, 0))
        self.assertEqual(summary["bytes"], sum(len(b.data) for b in blocks))
        self.assertEqual(summary["files"][0]["roots"], [blocks[0].text])
        self.assertEqual(summary["files"][0]["car_version"], 1)

    def test_several_files_and_stdin_with_what_they_hold_told(self):
        blocks = self.some(20)
        car = self.file(content.car(blocks[:2], blocks))
        plain = self.file(bytes(600_000), "plain.bin")
        empty = self.file(b"", "empty")
        out, _ = self.run_(0, "import", "-v", car, plain, empty, "-", stdin=b"from a pipe")
        out = out.decode()
        self.assertIn(f"{car}: 20 blocks", out)
        self.assertIn(f"CARv1, root {blocks[0].text} {blocks[1].text}", out)
        self.assertIn(f"{plain}: 3 leaves, 586 KiB, no root\n", out)
        self.assertIn(f"{empty}: 1 leaf", out)
        self.assertIn("stdin: 1 leaf", out)
        self.assertIn(raw_block(b"from a pipe").text + "\n", out)
        self.assertRegex(out, r"imported 25 blocks.*, 0 bad sections, 2 roots pinned\n$")
        self.assertEqual(len(self.server.blocks), 20 + 2 + 1 + 1)  # two leaves are alike

    def test_a_block_the_server_refuses_is_named_by_offset_and_cid(self):
        blocks = self.some(30)
        self.server.mood = {"refuse": {blocks[10].mh}}
        head = content.car_header([blocks[0].cid])
        sections = [content.car_section(b.cid, b.data) for b in blocks]
        at = len(head) + sum(map(len, sections[:10]))
        path = self.file(head + b"".join(sections))
        out, err = self.run_(4, "import", "--on-error", "continue", "--json", path)
        self.assertIn(f"offset {at}: {blocks[10].text}", err)
        self.assertEqual(len(self.server.blocks), 29)
        bad = json.loads(out)["files"][0]["bad"]
        self.assertEqual([(b["offset"], b["cid"]) for b in bad], [(at, blocks[10].text)])
        _, err = self.run_(4, "import", path)
        self.assertIn("--on-error continue", err)

    def test_a_full_server_ends_it_with_1(self):
        self.server.mood = {"refuse_all": tlv.FULL}
        blocks = self.some(200)
        path = self.file(content.car(blocks[:1], blocks))
        _, err = self.run_(1, "import", "--on-error", "continue", path)
        self.assertIn("takes no more", err)
        self.assertLess(err.count("\n"), 5, err)

    def test_a_lost_connection_ends_it_with_1_and_true_counts(self):
        self.server.mood = {"close_after": 50}
        blocks = self.some(300)
        out, err = self.run_(1, "import", "--json", self.file(content.car(blocks[:1], blocks)))
        self.assertIn("broke off", err)
        self.assertLessEqual(json.loads(out)["blocks"], len(self.server.blocks))

    def test_files_that_cannot_be_read_are_named_and_the_others_go_in(self):
        good = self.file(b"good", "good")
        _, err = self.run_(
            1, "import", "--on-error", "continue", self.folder / "none", self.folder, good
        )
        self.assertIn(f"{self.folder / 'none'}: No such file", err)
        self.assertIn(f"{self.folder}: neither a Kubo repository", err)
        self.assertIn(raw_block(b"good").mh, self.server.blocks)

    def test_a_block_too_large_for_this_server_is_not_sent(self):
        block, other = raw_block(b"small"), raw_block(bytes(BLOCK_MAX + 1))
        _, err = self.run_(4, "import", self.file(content.car([block], [block, other])))
        self.assertIn(str(BLOCK_MAX), err)
        self.assertEqual(list(self.server.blocks), [block.mh])

    def test_zeros_behind_the_end_are_allowed_when_told(self):
        block = raw_block(b"before the padding")
        path = self.file(content.car([block], [block]) + bytes(100))
        self.run_(4, "import", path)
        self.run_(0, "import", "--padded", path)

    def test_on_a_terminal_there_is_a_bar(self):
        blocks = self.some(400, 60_000)
        path = self.file(content.car(blocks[:1], blocks))
        self.server.mood = {"busy_every": 2, "retry_ms": 150}
        master, slave = os.openpty()
        to = "127.0.0.1:%d" % self.server.server_address[1]
        child = subprocess.Popen(
            [MILLRACE, "import", "--to", to, path], stdout=subprocess.DEVNULL, stderr=slave
        )
        os.close(slave)
        seen = b""
        try:
            while more := os.read(master, 65536):
                seen += more
        except OSError:
            pass  # the other end is gone
        os.close(master)
        self.assertEqual(child.wait(60), 0)
        self.assertRegex(seen.decode(), r"import \[#*\.*\] +\d+% .* blocks .*/s")
        self.assertTrue(seen.endswith(b"\r\x1b[K"), "the bar is taken away")


class Export(Case):
    def exported(self, *arguments):
        out = self.folder / "out.car"
        self.run_(0, "export", *arguments, "-o", out)
        return content.car_blocks(out.read_bytes())

    def test_all_blocks_of_many_pages_though_busy(self):
        blocks = self.some(333)
        self.hold(blocks)
        self.server.mood = {"busy_every": 4}
        self.assertEqual(
            {content.cid_mh(cid): data for cid, data in self.exported()}, self.server.blocks
        )

    def test_named_blocks_in_the_order_they_were_named_with_themselves_as_roots(self):
        blocks = self.some(200)
        self.hold(blocks)
        self.server.mood = {"busy_every": 3}
        names = [b.text for b in reversed(blocks)]
        self.assertEqual(
            self.exported(*names), [(b.cid, b.data) for b in reversed(blocks)]
        )
        data = (self.folder / "out.car").read_bytes()
        self.assertTrue(data.startswith(content.varint(content.read_varint(data, 0)[0])))
        self.assertIn(blocks[0].cid, data[:20_000])

    def test_what_is_absent_or_a_lie_leaves_no_archive(self):
        blocks = self.some(10)
        self.hold(blocks[:9])
        out = self.folder / "out.car"
        _, err = self.run_(3, "export", *[b.text for b in blocks], "-o", out)
        self.assertIn(blocks[9].text, err)
        self.server.mood = {"lie": {blocks[3].mh}}
        _, err = self.run_(4, "export", "-o", out)
        self.assertIn(blocks[3].text, err)
        self.assertIn("the stored block is damaged", err)
        self.server.mood = {"close_after": 5}
        self.run_(1, "export", "-o", out)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_damaged_block_is_left_out_when_told(self):
        blocks = self.some(10)
        self.hold(blocks)
        out = self.folder / "out.car"
        self.server.mood = {"lie": {blocks[3].mh}}
        _, err = self.run_(4, "export", "-o", out, "--on-error", "continue")
        self.assertIn(blocks[3].text, err)
        data = out.read_bytes()
        self.assertNotIn(blocks[3].cid, data)
        for block in blocks[:3] + blocks[4:]:
            self.assertIn(block.cid, data)

    def test_an_empty_store_gives_an_archive_that_imports(self):
        self.assertEqual(self.exported(), [])
        out, _ = self.run_(0, "import", self.folder / "out.car")
        self.assertIn(b"0 blocks", out)
        self.assertIn(b"root bafkqaaa", out)

    def test_through_a_pipe(self):
        blocks = self.some(5)
        self.hold(blocks)
        out, _ = self.run_(0, "export", "-", "-o", "-", stdin=blocks[2].text.encode() + b"\n")
        self.assertEqual(content.car_blocks(out), [(blocks[2].cid, blocks[2].data)])


def node(links, data=b"", version=1):
    """A dag-pb block."""
    links = [(block.cid, len(block.data)) for block in links]
    return content.Block(content.CODEC_DAG_PB, content.dag_pb(links, data), version=version)


def cbor_node(links):
    """A dag-cbor block: a list of links."""
    tagged = [b"\xd8\x2a\x58" + bytes([len(b.cid) + 1]) + b"\0" + b.cid for b in links]
    count = b"\x99" + struct.pack(">H", len(links))
    return content.Block(content.CODEC_DAG_CBOR, count + b"".join(tagged))


def json_node(links):
    """A dag-json block: an object of links, with other things between them."""
    data = {str(i): [i, {"/": block.text}, {"/": {"bytes": "YQ"}}] for i, block in enumerate(links)}
    return content.Block(0x0129, json.dumps(data, separators=(",", ":")).encode())


def depth_first(root, links):
    """What an archive of the DAG holds. links: a block's CID to what it links to."""
    seen, out, waiting = set(), [], [root]
    while waiting:
        block = waiting.pop()
        if block.cid not in seen:
            seen.add(block.cid)
            out.append(block)
            waiting += reversed(links.get(block.cid, []))
    return out


class ExportDag(Case):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.car"
        self.links = {}

    def node(self, links, make=node, **more):
        block = make(links, **more)
        self.links[block.cid] = links
        return block

    def exports(self, root, blocks=None):
        """The archive is that of the DAG, to the byte."""
        blocks = blocks or depth_first(root, self.links)
        self.hold(b for b in blocks if b.mh[0] != content.IDENTITY)
        self.run_(0, "export", root.text, "--dag", "-o", self.out)
        self.assertEqual(self.out.read_bytes(), content.car([root], blocks))

    def test_one_block(self):
        self.exports(raw_block(b"no more than this"))
        self.exports(node([], b"a leaf of another kind"))
        self.exports(node([], b"of version 0", version=0))
        self.exports(raw_block(b""))

    def test_links_are_followed_in_order_and_depth_first(self):
        a, b, c, d = self.some(4)
        left, right = self.node([a, b]), self.node([c, d])
        root = self.node([left, right])
        self.exports(root, [root, left, a, b, right, c, d])

    def test_each_block_comes_once(self):
        a, b = self.some(2)
        inner = self.node([a, b, a])
        root = self.node([b, inner, inner, a, b, self.node([inner])])
        self.exports(root)
        self.assertEqual(len(content.car_blocks(self.out.read_bytes())), 5)

    def test_one_hash_under_two_cids_is_two_blocks(self):
        block = node([], b"the same")
        other = content.Block(content.CODEC_DAG_PB, block.data, version=0)
        raw = content.Block(content.CODEC_RAW, block.data)
        self.exports(self.node([block, other, raw, block]))
        self.assertEqual(len(content.car_blocks(self.out.read_bytes())), 4)

    def test_codecs_are_mixed_and_versions_too(self):
        leaves = self.some(6)
        cbor = self.node(leaves[:3], make=cbor_node)
        low = self.node([leaves[3], cbor], version=0)
        other = self.node([leaves[4], low, cbor, leaves[5]], make=json_node)
        self.exports(self.node([cbor, other], make=json_node))
        self.exports(self.node([low, other], make=cbor_node))

    def test_identity_blocks_are_in_the_archive_and_never_asked_for(self):
        inline = content.Block(content.CODEC_RAW, b"inline", content.IDENTITY)
        leaf = raw_block(b"a leaf under an inline node")
        inner = content.dag_pb([(leaf.cid, 1)], b"")
        inner = content.Block(content.CODEC_DAG_PB, inner, content.IDENTITY)
        self.links[inner.cid] = [leaf]
        root = self.node([inline, inner, inline])
        self.exports(root, [root, inline, inner, leaf])
        self.exports(inner, [inner, leaf])

    def test_random_dags_though_busy(self):
        for seed in range(6):
            source, self.links = random.Random(seed), {}
            blocks = self.some(50 + seed)
            for _ in range(150):
                links = source.choices(blocks, k=source.randrange(12))
                make = source.choice([node, cbor_node, json_node])
                blocks.append(self.node(links, make=make))
            self.server.mood = {"busy_every": 3 + seed}
            self.exports(self.node(blocks[-30:]))
        self.assertGreater(self.server.busy, 50)

    def test_a_long_chain_and_a_wide_node(self):
        block = raw_block(b"the end")
        for _ in range(1000):
            block = self.node([block])
        self.exports(block)
        leaves = [raw_block(b"%d" % i) for i in range(5000)]
        self.exports(self.node(leaves))

    def test_more_at_once_than_there_is_room_to_hold(self):
        """Each level looks ahead at a hundred siblings: what was fetched for the upper ones has to
        make room for the lower."""
        block = raw_block(b"bottom")
        for level in range(6):
            siblings = [raw_block(b"%d of %d" % (i, level)) for i in range(120)]
            block = self.node([block, *siblings])
        self.exports(block)

    def test_more_bytes_at_once_than_are_held(self):
        def large(number):
            return raw_block(struct.pack(">I", number) * (BLOCK_MAX // 4))

        lower = self.node([large(i) for i in range(90)])
        root = self.node([lower, *(large(100 + i) for i in range(80))])
        self.exports(root)

    def test_what_is_absent_is_named_and_leaves_no_archive(self):
        a, b, c = self.some(3)
        root = self.node([a, self.node([b]), c])
        self.hold([root, a, c])
        missing = self.links[root.cid][1]
        _, err = self.run_(3, "export", root.text, "--dag", "-o", self.out)
        self.assertIn(f"{missing.text}: not found", err)
        self.assertIn("--on-error continue", err)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_is_absent_or_damaged_is_left_out_when_told(self):
        a, b, c, d = self.some(4)
        gone = self.node([b])
        root = self.node([a, gone, c, gone, d])
        self.hold([root, a, c, d])
        _, err = self.run_(
            3, "export", root.text, "--dag", "-o", self.out, "--on-error", "continue"
        )
        self.assertEqual(err.count(f"{gone.text}: not found; left out"), 1)
        self.assertIn("1 left out: not found", err)
        self.assertEqual(self.out.read_bytes(), content.car([root], [root, a, c, d]))
        self.server.mood = {"lie": {c.mh}}
        _, err = self.run_(
            4, "export", root.text, "--dag", "-o", self.out, "--on-error", "continue"
        )
        self.assertIn(f"{c.text}: the stored block is damaged; left out", err)
        self.assertEqual(self.out.read_bytes(), content.car([root], [root, a, d]))

    def test_damage_ends_it_with_4(self):
        a, b = self.some(2)
        root = self.node([a, b])
        self.hold([root, a, b])
        self.server.mood = {"lie": {b.mh}}
        _, err = self.run_(4, "export", root.text, "--dag", "-o", self.out)
        self.assertIn(f"{b.text}: the stored block is damaged", err)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_without_its_root_there_is_no_archive_whatever_is_told(self):
        root = self.some(1)[0]
        self.run_(3, "export", root.text, "--dag", "-o", self.out, "--on-error", "continue")
        self.hold([root])
        self.server.mood = {"lie": {root.mh}}
        self.run_(4, "export", root.text, "--dag", "-o", self.out, "--on-error", "continue")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_blocks_whose_links_cannot_be_read_are_named(self):
        leaf = raw_block(b"leaf")
        bad = content.Block(content.CODEC_DAG_PB, b"\x12\x02\x0a\x00")
        strange = content.Block(0x78, b"of git")
        hashed = content.Block(content.CODEC_RAW, b"x")
        hashed.cid = hashed.cid[:2] + b"\x1e" + hashed.cid[3:]
        for block, words, kept in (
            (bad, "not what its codec says", True),
            (strange, "what a block of its codec links to", True),
            (hashed, "not a CID", False),
        ):
            root = self.node([block, leaf])
            self.hold([root, block, leaf])
            _, err = self.run_(4, "export", root.text, "--dag", "-o", self.out)
            self.assertIn(block.text, err)
            self.assertIn(words, err)
            self.run_(4, "export", root.text, "--dag", "-o", self.out, "--on-error", "continue")
            expected = [root, block, leaf] if kept else [root, leaf]
            self.assertEqual(self.out.read_bytes(), content.car([root], expected))

    def test_a_lost_connection_ends_it_with_1(self):
        leaves = self.some(200)
        root = self.node(leaves)
        self.hold([root, *leaves])
        self.server.mood = {"close_after": 50}
        _, err = self.run_(1, "export", root.text, "--dag", "-o", self.out)
        self.assertIn("broke off", err)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_it_takes_one_root(self):
        a, b = self.some(2)
        for names in ([], [a.text, b.text]):
            _, err = self.run_(2, "export", "--dag", "-o", self.out, *names)
            self.assertIn("--dag takes one CID", err)
        self.hold([a])
        out, _ = self.run_(0, "export", "--dag", "-", "-o", "-", stdin=a.text.encode() + b"\n")
        self.assertEqual(out, content.car([a], [a]))


class Blocks(Case):
    def test_verify_names_what_is_damaged_and_is_patient(self):
        blocks = self.some(250)
        self.hold(blocks)
        self.server.mood = {"busy_every": 5}
        out, _ = self.run_(0, "verify")
        self.assertRegex(out.decode(), r"^250 sound blocks, .* 0 damaged\n$")
        self.server.mood = {"damaged": {blocks[7].mh, blocks[9].mh}, "busy_every": 6}
        out, _ = self.run_(4, "verify", "--json")
        verdict = json.loads(out)
        self.assertEqual((verdict["blocks"], verdict["bad"]), (250, 2))
        self.assertEqual({d["cid"] for d in verdict["damage"]}, {blocks[7].text, blocks[9].text})

    def test_ls_in_every_form(self):
        blocks = self.some(120)
        self.assertEqual(json.loads(self.run_(0, "ls", "--json")[0]), [])
        self.hold(blocks)
        self.assertEqual(set(self.run_(0, "ls")[0].decode().split()), {b.text for b in blocks})
        long = dict(reversed(l.split()) for l in self.run_(0, "ls", "-l")[0].decode().splitlines())
        self.assertEqual(long, {b.text: str(len(b.data)) for b in blocks})
        listed = json.loads(self.run_(0, "ls", "--json")[0])
        self.assertEqual(
            {(i["cid"], i["bytes"], i["codec"]) for i in listed},
            {(b.text, len(b.data), "raw") for b in blocks},
        )

    def test_put_get_has_rm(self):
        block = raw_block(b"through the whole of it")
        out, _ = self.run_(0, "put", "-", stdin=block.data)
        self.assertEqual(out.decode(), block.text + "\n")
        self.assertEqual(self.run_(0, "get", block.text)[0], block.data)
        self.assertEqual(self.run_(0, "get", "--range", "8-10", block.text)[0], block.data[8:11])
        self.assertEqual(self.run_(0, "get", "--range", "8-", block.text)[0], block.data[8:])
        self.run_(2, "get", "--range", "10-8", block.text)
        absent = raw_block(b"never")
        out, _ = self.run_(3, "has", "-", stdin=f"{block.text}\n{absent.text}\n".encode())
        self.assertEqual(out.decode(), f"{block.text} yes\n{absent.text} no\n")
        self.server.mood = {"lie": {block.mh}}
        out, err = self.run_(4, "get", block.text)
        self.assertEqual(out, b"", "not one byte of a lie")
        self.assertIn(block.text, err)
        out, err = self.run_(3, "rm", block.text, absent.text)
        self.assertEqual(out.decode(), f"removed {block.text}\n")
        self.assertIn(absent.text, err)
        self.assertEqual(self.server.blocks, {})

    def test_what_is_too_large_for_one_block_is_refused_with_advice(self):
        _, err = self.run_(4, "put", self.file(bytes(BLOCK_MAX + 1), "big"))
        self.assertIn("millrace add", err)


if __name__ == "__main__":
    sys.exit(transfer.main())
