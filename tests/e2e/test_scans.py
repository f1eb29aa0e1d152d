#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whoever reads everything once (verify, scrub, export, backup, a collection) leaves what is hot
where it was: in memory.
"""

import random

import cases
import daemon
import tlv
from content import raw_block

HOT, COLD, BYTES = 60, 900, 16384  # hot: 1 MiB of a memory of 4; cold: 14 MiB
MEMORY = "4MiB"


class Scans(cases.Case):
    def setUp(self):
        super().setUp()
        cpu = str(daemon.allowed_cpus()[0])
        cores = ["--net-cores", cpu, "--work-cores", cpu, "--sched-core", cpu, "--ctl-core", cpu]
        flags = [*cores, "--memory", MEMORY, "--set", "store.scrub_cycle_ssd=0"]
        self.folder = self.scratch()
        self.d = self.daemon(self.folder / "store", flags=flags)
        seeded = random.Random(11)
        self.hot = [raw_block(seeded.randbytes(BYTES)) for _ in range(HOT)]
        self.cold = [raw_block(seeded.randbytes(BYTES)) for _ in range(COLD)]
        self.put(self.hot + self.cold)
        self.root = self.add(seeded.randbytes(4_000_000))
        self.assertEqual(self.d.stop(), 0)
        self.d.start()  # all segments are sealed, and nothing is in memory
        for _ in range(2):
            self.read(self.hot)

    def put(self, blocks):
        with tlv.Client(self.d.address) as c:
            for at in range(0, len(blocks), 50):
                some = blocks[at : at + 50]
                c.send(b"".join(tlv.put(c.next(), block.mh, block.data) for block in some))
                for _ in some:
                    self.assertKind(c.read(), tlv.DONE)

    def add(self, data):
        path = self.folder / "file"
        path.write_bytes(data)
        done = self.d.run("add", "-Q", "--chunker", "size-16384", path)
        self.assertExit(done, 0)
        return done.stdout.strip().splitlines()[-1]

    def read(self, blocks):
        """Returns: how many of the look-ups memory answered."""
        before = self.memory()
        with tlv.Client(self.d.address) as c:
            for block in blocks:
                self.assertEqual(c.get(block.mh).body, block.data)
        after = self.memory()
        asked = sum(after[name] - before[name] for name in ("hits", "misses"))
        self.assertEqual(asked, len(blocks))
        return after["hits"] - before["hits"]

    def memory(self):
        tier = self.d.ask("stat")["tiers"][0]
        self.assertEqual(tier["name"], "memory")
        return tier

    def test_what_reads_everything_leaves_memory_as_it_is(self):
        for words in (
            ["verify"],
            ["scrub"],
            ["backup", self.folder / "backup"],
            ["export", "-o", self.folder / "all.car"],
            ["export", "--dag", "-o", self.folder / "one.car", self.root],
            ["export", "--split", "8MiB", "-o", self.folder / "cars"],
            ["gc", "--grace", "0", "--dry-run"],
        ):
            with self.subTest(command=words[:2]):
                self.assertEqual(self.read(self.hot), HOT)
                before = self.memory()
                self.assertExit(self.d.run(*words), 0)
                after = self.memory()
                self.assertEqual(after["moved_out"], before["moved_out"], "it pushed some out")
                self.assertEqual(after["blocks"], before["blocks"], "it brought some in")
                self.assertEqual(self.read(self.hot), HOT)
        before = self.memory()["moved_out"]
        self.read(self.cold)  # that the above can fail: these are no scan
        self.assertGreater(self.memory()["moved_out"], before + COLD // 2)


if __name__ == "__main__":
    cases.main()
