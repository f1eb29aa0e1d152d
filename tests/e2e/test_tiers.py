#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiers in real directories: blocks spill to the slow one; it goes and comes back while the daemon
serves, and when it does not.
"""

import random
import shutil

import cases
import daemon
import tlv
from content import raw_block

COUNT = 120
BYTES = 400_000


class Tiers(cases.Case):
    def setUp(self):
        super().setUp()
        self.folder = self.scratch()
        self.slow = self.folder / "slow"
        seeded = random.Random(5)
        self.blocks = [raw_block(seeded.randbytes(BYTES)) for _ in range(COUNT)]
        self.flags = ["--memory", "1MiB", "--ssd", "fast:40MiB", "--hdd", str(self.slow)]

    def tiers(self, d):
        return d.ask("stat")["tiers"]

    def state(self, d):
        return self.tiers(d)[2]["state"]

    def kinds(self, d):
        with tlv.Client(d.address) as c:
            return [c.get(block.mh).kind for block in self.blocks]

    def filled(self):
        d = self.daemon(self.folder / "store", flags=self.flags)
        with tlv.Client(d.address) as c:
            for block in self.blocks:
                self.assertKind(c.put(block.mh, block.data), tlv.DONE)
        memory, fast, slow = self.tiers(d)
        self.assertEqual([memory["name"], fast["name"]], ["memory", "fast"])
        self.assertEqual([fast["kind"], slow["kind"]], ["ssd", "hdd"])
        self.assertEqual(fast["blocks"] + slow["blocks"], COUNT)
        self.assertGreater(slow["blocks"], COUNT // 4)
        self.assertLessEqual(fast["bytes_on_disk"], 40 << 20)
        return d

    def test_a_slow_tier_goes_and_comes_back_while_serving(self):
        d = self.filled()
        self.assertEqual(set(self.kinds(d)), {tlv.VALUE})
        self.slow.rename(self.folder / "away")
        daemon.wait_for(lambda: self.state(d) == "missing", "the tier to be missed")
        kinds = self.kinds(d)
        self.assertEqual(set(kinds), {tlv.VALUE, tlv.RETRY})
        self.assertGreater(kinds.count(tlv.RETRY), COUNT // 5)
        (self.folder / "away").rename(self.slow)
        daemon.wait_for(lambda: self.state(d) == "online", "the tier to be back")
        self.assertEqual(set(self.kinds(d)), {tlv.VALUE})
        self.assertEqual(d.stop(), 0)
        done = daemon.run("verify", "--store", d.directory)
        self.assertExit(done, 0)

    def test_a_slow_tier_that_is_missing_at_the_start_makes_nothing_absent(self):
        d = self.filled()
        self.assertEqual(d.stop(), 0)
        self.slow.rename(self.folder / "away")
        self.slow.mkdir()
        d.start()
        self.assertEqual(self.state(d), "missing")
        kinds = self.kinds(d)
        self.assertEqual(set(kinds), {tlv.VALUE, tlv.RETRY})
        self.assertEqual(list(self.slow.iterdir()), [], "nothing is set up in its place")
        self.assertIn("mount point", d.words())
        self.assertEqual(d.stop(), 0)
        self.slow.rmdir()
        (self.folder / "away").rename(self.slow)
        d.start()
        self.assertEqual(set(self.kinds(d)), {tlv.VALUE})

    def test_one_that_was_missing_at_the_start_is_taken_up_without_another(self):
        d = self.filled()
        self.assertEqual(d.stop(), 0)
        self.slow.rename(self.folder / "away")
        d.start()
        kinds = self.kinds(d)
        self.assertEqual(set(kinds), {tlv.VALUE, tlv.RETRY})
        gone = self.blocks[kinds.index(tlv.VALUE)]
        with tlv.Client(d.address) as c:
            self.assertKind(c.delete(gone.mh), tlv.DONE)
        (self.folder / "away").rename(self.slow)
        daemon.wait_for(lambda: self.state(d) == "online", "the tier to be taken up")
        for start in range(2):
            with self.subTest(start=start), tlv.Client(d.address) as c:
                for block in self.blocks:
                    kind = tlv.NOT_FOUND if block is gone else tlv.VALUE
                    self.assertKind(c.get(block.mh), kind)
            self.assertEqual(d.stop(), 0)
            d.start()

    def test_a_copy_of_the_store_is_kept_from_a_tier_in_use(self):
        d = self.filled()
        self.assertEqual(d.stop(), 0)
        shutil.copytree(d.directory, self.folder / "copy")
        d.start()
        for words in (["serve", "--tlv", "127.0.0.1:0"], ["verify", "--repair"]):
            with self.subTest(words=words):
                done = daemon.run(*words, "--store", self.folder / "copy")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{self.slow} is in use by another process", done.stderr)
        self.assertEqual(set(self.kinds(d)), {tlv.VALUE})

    def test_segments_that_are_gone_are_said(self):
        d = self.filled()
        self.assertEqual(d.stop(), 0)
        self.assertExit(daemon.run("verify", "--store", d.directory), 0)
        last = sorted(self.slow.glob("*.seg"))[-1]
        last.unlink()
        done = daemon.run("verify", "--store", d.directory)
        self.assertExit(done, 4)
        self.assertIn("damaged or gone", done.stdout)
        d.start()
        self.assertIn(f'"known":"{last.stem}"', d.words())
        self.assertEqual(d.ask("stat")["store"]["segments_gone"], 1)

    def test_nothing_is_formatted_beside_a_tier_that_has_a_store(self):
        d = self.filled()
        self.assertEqual(d.stop(), 0)
        shutil.rmtree(d.directory)
        done = daemon.run("serve", "--store", d.directory, "--tlv", "127.0.0.1:0", *self.flags)
        self.assertExit(done, 4)
        self.assertIn("will not format over", done.stderr)


if __name__ == "__main__":
    cases.main()
