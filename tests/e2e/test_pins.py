#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pin, unpin, pins and gc by the command line: nothing pinned is lost, all else goes.

The whole way: tools/millrace/cmd_pin.c, tools/millrace/cmd_gc.c, tools/millrace/task.c,
tools/millrace/bring.c, tools/millrace/interrupt.c,
engine/tasks.c, engine/store_links.c, store/pinning.c, store/gc.c.
"""

import json
import random
import signal
import socket
import subprocess
import threading

import cases
import tlv
from content import car, raw_block
from daemon import MILLRACE, PATIENCE, free_port, wait_for


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
        dry = self.gc("--dry-run")
        self.assertEqual((dry["blocks"], dry["pinned"], dry["young"]), (0, 7, 7), dry)
        self.assertEqual(self.gc("--dry-run", "--grace", "0")["blocks"], 7)
        self.assertTrue(self.whole(lost, 2), "a dry run deletes nothing")
        done = self.d.run("gc", "--grace", "0")
        self.assertIn("collected 7 blocks", done.stdout)
        self.assertTrue(self.whole(kept, 1))
        self.assertEqual(self.d.run("cat", lost).returncode, 3)
        self.assertEqual(
            self.d.run("gc", "--grace", "0").stdout,
            "nothing to collect: 7 pinned, 0 younger than the grace\n",
        )
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
        self.assertIn(f"{absent} is not here, and there is no peer to fetch it from", done.stderr)
        done = self.d.run("pins", cid, absent)
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout, f"{cid} recursive all\n")
        self.assertIn(f"{absent} is not pinned", done.stderr)
        self.assertEqual(self.d.run("pins", "-q").stdout, f"{cid}\n")
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


class FromPeers(cases.Case):
    """A pin of what is not whole here brings the rest from peers, as Kubo's does."""

    SIZE = 3_000_000

    def setUp(self):
        self.here, self.there = [
            self.daemon(flags=["--bitswap", f"127.0.0.1:{free_port()}"]) for _ in range(2)
        ]
        path = self.scratch() / "file"
        path.write_bytes(random.Random(50).randbytes(self.SIZE))
        done = self.there.run("add", "-Q", path)
        self.assertExit(done, 0)
        self.cid, self.file = done.stdout.strip(), path
        self.peer = self.there.ask("id")["addrs"][0]

    def leaves(self):
        data = self.file.read_bytes()
        return [raw_block(data[at : at + 262144]) for at in range(0, len(data), 262144)]

    def pin(self, status, *flags):
        done = self.here.run("pin", self.cid, *flags)
        self.assertExit(done, status)
        return done

    def test_what_is_missing_is_fetched_kept_and_pinned(self):
        self.assertExit(self.here.run("put", "-", input="other"), 0)
        some = self.scratch() / "some.car"
        some.write_bytes(car([self.leaves()[0]], self.leaves()[:5]))
        self.assertExit(self.here.run("import", some), 0)
        done = self.pin(0, "--from", self.peer, "--json", "--name", "from there")
        said = json.loads(done.stdout)
        self.assertEqual((said["blocks"], said["fetched"], said["mode"]), (13, 8, "recursive"))
        self.here.kill()
        self.here.start()
        self.assertExit(self.here.run("gc", "--grace", "0"), 0)
        done = self.here.run("cat", self.cid, text=False)
        self.assertEqual(done.stdout, self.file.read_bytes())
        done = self.pin(0)
        self.assertEqual(done.stderr, "", "all was here")

    def test_offline_it_is_refused_and_the_first_missing_block_named(self):
        done = self.pin(3, "--offline", "--from", self.peer)
        self.assertIn(f"block {self.cid} is not here", done.stderr)
        self.assertEqual(self.here.ask("stat")["store"]["blocks"], 0)
        self.pin(0, "--direct", "--from", self.peer)
        self.assertEqual(self.here.ask("stat")["store"]["blocks"], 1, "the block alone")
        done = self.pin(3, "--offline")
        self.assertIn(self.leaves()[0].text, done.stderr)

    def test_nobody_has_a_block_of_it(self):
        lost = self.leaves()[3]
        with tlv.Client(self.there.address, greet=True) as c:
            c.delete(lost.mh)
        done = self.pin(3, "--from", self.peer)
        self.assertIn(lost.text, done.stderr)
        self.assertIn("the next pin goes on", done.stderr)
        self.assertEqual(self.here.run("pins").stdout, "")

    def test_what_is_late_or_interrupted_ends_and_leaves_no_pin(self):
        listener = socket.create_server(("127.0.0.1", 0))  # takes connections, says nothing
        self.addCleanup(listener.close)
        silent = f"/ip4/127.0.0.1/tcp/{listener.getsockname()[1]}"
        done = self.pin(1, "--from", silent, "--timeout", "50ms")
        self.assertIn("not done within --timeout", done.stderr)
        words = [MILLRACE, "pin", "--admin", self.here.admin_path, self.cid, "--from", silent]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: self.here.sum("client", "sessions") == 1, "the fetch to begin")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(20 * PATIENCE), 1)
            self.assertIn("interrupted", process.stderr.read())
        wait_for(lambda: self.here.sum("client", "sessions") == 0, "the fetch to end")
        self.assertEqual(self.here.run("pins").stdout, "")


if __name__ == "__main__":
    cases.main()
