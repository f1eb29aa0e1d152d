#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pin, unpin, pins and gc by the command line: nothing pinned is lost, all else goes.

The whole way: tools/millrace/cmd_pin.c, tools/millrace/cmd_gc.c, tools/millrace/task.c,
engine/tasks.c, engine/store_links.c, store/pinning.c, store/gc.c.
"""

import json
import random
import threading

import cases
import tlv
from content import raw_block


class Pins(cases.Case):
    def setUp(self):
        self.d = self.daemon()

    def add(self, seed, size=1_500_000, pinned=True):
        """Adds so many bytes. Returns: the root's CID."""
        path = self.scratch() / f"{seed}"
        path.write_bytes(random.Random(seed).randbytes(size))
        flags = [] if pinned else ["--pin=false"]
        done = self.d.run("add", "-Q", *flags, path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip().splitlines()[-1]

    def pins(self):
        done = self.d.run("pins", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {pin["cid"]: pin for pin in json.loads(done.stdout)}

    def gc(self, *flags):
        done = self.d.run("gc", "--json", *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def whole(self, cid, seed, size=1_500_000):
        done = self.d.run("cat", cid, text=False)
        return done.returncode == 0 and done.stdout == random.Random(seed).randbytes(size)

    def test_a_pinned_file_stays_and_an_unpinned_one_goes(self):
        kept, lost = self.add(1), self.add(2, pinned=False)
        self.assertEqual(list(self.pins()), [kept])
        self.assertEqual(self.gc("--dry-run")["blocks"], 0, "all are younger than an hour")
        self.assertEqual(self.gc("--dry-run", "--grace", "0")["blocks"], 7)
        self.assertTrue(self.whole(lost, 2), "a dry run deletes nothing")
        done = self.d.run("gc", "--grace", "0")
        self.assertIn("collected 7 blocks", done.stdout)
        self.assertTrue(self.whole(kept, 1))
        self.assertEqual(self.d.run("cat", lost).returncode, 3)
        self.assertIn("nothing to collect", self.d.run("gc", "--grace", "0").stdout)
        self.assertEqual(self.d.run("unpin", kept).returncode, 0)
        self.assertEqual(self.gc("--grace", "0")["blocks"], 7)
        self.assertEqual(self.d.run("has", kept).returncode, 3)
        self.assertEqual(self.d.ask("stat")["store"]["live_bytes"], 0)

    def test_names_modes_and_what_is_wrong(self):
        cid = self.add(3, pinned=False)
        self.assertEqual(self.d.run("unpin", cid).returncode, 3)
        done = self.d.run("pin", cid, "--direct", "--name", "one block")
        self.assertIn("directly (1 block)", done.stdout, done.stderr)
        done = self.d.run("pin", cid, "--name", "all")
        self.assertIn("recursively (7 blocks)", done.stdout, done.stderr)
        self.assertEqual(self.pins()[cid], {"cid": cid, "mode": "recursive", "name": "all"})
        self.assertIn(f"{cid} recursive all", self.d.run("pins").stdout)
        done = self.d.run("pin", "--direct", cid)
        self.assertEqual(done.returncode, 1)
        self.assertIn("pinned recursively already", done.stderr)
        absent = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        done = self.d.run("pin", absent)
        self.assertEqual(done.returncode, 3)
        self.assertIn(absent, done.stderr)
        self.assertEqual(self.d.run("pin", "no-cid").returncode, 2)
        self.assertEqual(self.d.run("gc", "--grace", "soon").returncode, 2)

    def test_a_hole_stops_a_collection_and_is_named(self):
        cid, other = self.add(4), self.add(5, pinned=False)
        leaf = raw_block(random.Random(4).randbytes(1_500_000)[:262144])
        with tlv.Client(self.d.address, greet=True) as c:
            c.delete(leaf.mh)
        done = self.d.run("gc", "--grace", "0")
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertIn("nothing was collected", done.stderr)
        self.assertIn(leaf.text, done.stderr)
        self.assertTrue(self.whole(other, 5))

    def test_a_collection_beside_uploads_takes_nothing_of_them(self):
        stop = threading.Event()
        results = []

        def collect():
            while not stop.is_set():
                results.append(self.d.run("gc").returncode)

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            cids = [self.add(seed) for seed in range(10, 16)]
        finally:
            stop.set()
            thread.join()
        self.assertEqual(set(results), {0})
        self.gc("--grace", "0")
        for seed, cid in zip(range(10, 16), cids):
            self.assertTrue(self.whole(cid, seed), seed)

    def test_pins_and_collections_outlive_a_kill(self):
        kept = [self.add(seed) for seed in range(20, 24)]
        for turn in range(4):
            lost = self.add(100 + turn, pinned=turn % 2 == 0)
            if turn % 2 == 0:
                self.assertEqual(self.d.run("unpin", lost).returncode, 0)
            thread = threading.Thread(target=self.d.run, args=("gc", "--grace", "0"))
            thread.start()
            if turn > 1:
                thread.join()
            self.d.kill()
            thread.join()
            self.d.start()
            self.assertEqual(set(self.pins()), set(kept))
            for seed, cid in zip(range(20, 24), kept):
                self.assertTrue(self.whole(cid, seed), seed)
            self.gc("--grace", "0")
            self.assertEqual(self.d.run("has", lost).returncode, 3)

    def test_a_daemon_stops_in_the_midst(self):
        self.add(30)
        threads = [
            threading.Thread(target=self.d.run, args=("gc", "--grace", "0")) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        self.assertEqual(self.d.stop(), 0)
        for thread in threads:
            thread.join()
        self.assertIn('"store":"clean"', self.d.words())


if __name__ == "__main__":
    cases.main()
