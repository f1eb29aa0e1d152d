#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Space that comes back and rot that is found: store/compact.c, store/scrub.c of a running daemon,
tools/millrace/cmd_scrub.c, and verify --repair on and off line.
"""

import json
import random

import cases
from daemon import run, wait_for


class Upkeep(cases.Case):
    def setUp(self):
        self.d = self.daemon()

    def add(self, seed, size):
        path = self.scratch() / f"{seed}"
        path.write_bytes(random.Random(seed).randbytes(size))
        done = self.d.run("add", "-Q", "--pin=false", path)
        self.assertExit(done, 0)
        return done.stdout.strip().splitlines()[-1]

    def put_three(self):
        """Blocks large enough that no segment of theirs is worth a compaction, which would leave
        them in a segment that is still open."""
        for seed in range(3):
            path = self.scratch() / f"{seed}"
            path.write_bytes(random.Random(90 + seed).randbytes(100_000))
            self.assertExit(self.d.run("put", path), 0)

    def upkeep(self):
        return self.d.ask("stat")["store"]["upkeep"]

    def test_what_a_collection_deletes_comes_back_as_space(self):
        kept = self.add(1, 1_000_000)
        self.assertExit(self.d.run("pin", kept), 0)
        for seed in range(2, 8):
            self.add(seed, 8_000_000)
        before = self.d.ask("stat")["store"]["bytes_on_disk"]
        self.assertExit(self.d.run("gc", "--grace", "0"), 0)
        wait_for(lambda: self.upkeep()["segments_freed"] >= 3, "segments to be let go", 40)
        self.assertLess(self.d.ask("stat")["store"]["bytes_on_disk"], before)
        done = self.d.run("cat", kept, text=False)
        self.assertEqual(done.stdout, random.Random(1).randbytes(1_000_000))
        self.d.kill()
        self.d.start()
        done = self.d.run("cat", kept, text=False)
        self.assertEqual(done.stdout, random.Random(1).randbytes(1_000_000), "after a kill too")
        self.assertEqual(self.d.ask("stat")["store"]["corrupt_ranges"], 0)

    def test_rot_is_found_named_and_healed_by_a_put(self):
        self.put_three()
        self.d.stop()
        self.d.start()  # what was open is sealed: the scrub looks at it
        done = self.d.run("scrub", "--json")
        self.assertExit(done, 0)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["seen"], answer["damaged"], answer["repaired"]), (3, 0, 0))
        self.d.stop()
        rotten = [p for p in self.d.directory.rglob("*.seg") if p.stat().st_size > 200_000][0]
        with open(rotten, "r+b") as file:
            file.seek(150_000)
            byte = file.read(1)
            file.seek(150_000)
            file.write(bytes([byte[0] ^ 1]))
        done = run("verify", "--store", self.d.directory, "--repair", "--json")
        self.assertExit(done, 4)
        report = json.loads(done.stdout)
        self.assertEqual((report["bad"], report["repaired"]), (1, 0))
        self.assertEqual(report["blocks"], 3)
        done = run("verify", "--store", self.d.directory)
        self.assertIn("2 sound blocks", done.stdout)
        self.assertIn("1 damaged", done.stdout)
        done = run("segdump", rotten, "--brief")
        self.assertIn("1 place in it does not verify", done.stderr)
        self.d.start()
        self.assertExit(self.d.run("scrub"), 4)
        done = self.d.run("verify", "--repair", "--admin", self.d.admin_path)
        self.assertExit(done, 4)
        self.assertIn("2 sound blocks", done.stdout)
        self.put_three()
        done = self.d.run("verify", "--repair", "--admin", self.d.admin_path)
        self.assertExit(done, 0)
        self.assertIn("0 damaged", done.stdout)


if __name__ == "__main__":
    cases.main()
