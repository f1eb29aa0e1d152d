#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""millrace segdump (tools/millrace/cmd_segdump.c): segments running, sealed, damaged."""

import json
import random

import cases
import tlv
from content import raw_block
from daemon import run


def some_block(seed, size):
    return raw_block(random.Random(seed).randbytes(size))


class Segdump(cases.Case):
    def setUp(self):
        self.d = self.daemon()
        self.blocks = [some_block(seed, 100 + 3000 * seed) for seed in range(20)]
        with tlv.Client(self.d.address) as c:
            for block in self.blocks:
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            self.assertKind(c.delete(self.blocks[0].mh), tlv.DONE)

    def dump(self, path, *arguments, status=0):
        done = run("segdump", path, *arguments)
        self.assertExit(done, status)
        return done.stdout

    def things(self, path, *arguments, status=0):
        lines = self.dump(path, "--json", *arguments, status=status).splitlines()
        return [json.loads(line) for line in lines]

    def records(self, status=0):
        found = []
        for path in sorted(self.d.directory.rglob("*.seg")):
            found += [t for t in self.things(path, status=status) if t["kind"] == "record"]
        return found

    def assertAllThere(self):
        records = self.records()
        put = sorted(r["cid"] for r in records if r["type"] == "block")
        self.assertEqual(put, sorted(block.text for block in self.blocks))
        gone = [r for r in records if r["type"] == "tombstone"]
        self.assertEqual(len(gone), 1)
        born = {r["cid"]: r["birth_lsn"] for r in records if r["type"] == "block"}
        self.assertGreater(gone[0]["birth_lsn"], born[self.blocks[0].text])

    def test_open_and_sealed_segments_show_every_record(self):
        self.assertAllThere()
        self.assertEqual(self.d.stop(), 0)
        self.assertAllThere()
        path = next(
            p
            for p in sorted(self.d.directory.rglob("*.seg"))
            if self.blocks[7].text in self.dump(p)
        )
        kinds = [t["kind"] for t in self.things(path)]
        self.assertEqual((kinds[0], kinds[-2:]), ("segment", ["footer", "trailer"]))
        self.assertNotIn("record", [t["kind"] for t in self.things(path, "--brief")])
        text = self.dump(path)
        self.assertIn("durable before it", text)
        self.assertIn("footer entries", text)

    def test_damage_is_named_where_it_is(self):
        self.assertEqual(self.d.stop(), 0)
        damaged = self.blocks[9]
        for path in self.d.directory.rglob("*.seg"):
            data = path.read_bytes()
            at = data.find(damaged.data[:64])
            if at < 0:
                continue
            with open(path, "r+b") as segment:
                segment.seek(at + 500)
                segment.write(bytes([data[at + 500] ^ 1]))
            things = self.things(path, "--brief", status=4)
            bad = [t for t in things if t["kind"] == "record"]
            self.assertEqual([t["cid"] for t in bad], [damaged.text])
            self.assertFalse(bad[0]["sound"])
            damage = [t for t in things if t["kind"] == "damage"]
            self.assertEqual([t["offset"] for t in damage], [bad[0]["offset"]])
            return
        self.fail("the block lies nowhere")

    def test_what_is_no_segment_is_said(self):
        other = self.scratch() / "other"
        other.write_bytes(b"x" * 8192)
        done = run("segdump", other)
        self.assertExit(done, 4)
        self.assertIn("does not begin with a segment's header", done.stderr)
        empty = self.scratch() / "empty"
        empty.write_bytes(b"")
        self.assertExit(run("segdump", empty), 4)
        self.assertExit(run("segdump", self.scratch() / "nowhere"), 1)


if __name__ == "__main__":
    cases.main()
