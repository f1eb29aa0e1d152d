#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What takes too long for every change: 10,000 connections, 900 kills, 100,000 short connections,
minutes of load.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import cases  # noqa: E402
import daemon  # noqa: E402
import killing  # noqa: E402
import test_kill  # noqa: E402
import test_memory  # noqa: E402
import test_peers  # noqa: E402

SECONDS = int(os.environ.get("MILLRACE_SOAK_SECONDS", "600"))


class Crowd(test_peers.Peers):
    """The cases of test_peers with ten and thirty times the peers."""

    idle_count = 10_000
    churn_count = 100_000


class Kills(cases.Case):
    def test_five_hundred(self):
        for seed, (name, flags) in enumerate(daemon.layouts().items(), 100):
            with self.subTest(layout=name):
                problems, acknowledged, proven = killing.loop(
                    125, seed, flags, report=lambda words: print(words, flush=True)
                )
                self.assertEqual(problems, [])
                print(
                    f"125 kills on {name}, seed {seed}: "
                    f"{acknowledged} acknowledged, {proven} look-ups proven"
                )


class Midst(test_kill.Midst):
    """Fifty kills in the midst of each activity."""

    kills, seed = 50, int(os.environ.get("MILLRACE_SOAK_SEED", "200"))
    report = staticmethod(lambda words: print(words, flush=True))


class Budget(test_memory.Budget):
    """A hundred times its size, and everything that walks over all of it."""

    large, small = 22_000, 250_000
    seconds = min(60, SECONDS)
    whole = True

    def serve(self, d, name):
        rungs, over = set(), threading.Event()

        def watch():
            while not over.wait(0.02):
                with contextlib.suppress(OSError, ValueError):
                    rungs.add(d.ask("stat")["memory"]["ladder"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            super().serve(d, name)
        finally:
            over.set()
            watcher.join()
            print(f"{name}: rungs of the ladder that were seen: {', '.join(sorted(rungs))}")


class Load(cases.Case):
    def test_mixed_load_leaks_no_memory(self):
        d = self.daemon(segment="64MiB", flags=["--memory", "64MiB"])

        def load(seconds):
            words = [
                str(daemon.LOAD),
                "tlv",
                "--to",
                d.to,
                "--conns",
                "32",
                "--depth",
                "8",
                "--size",
                "4096",
                "--keys",
                "50000",
                "--mix",
                "95:5",
                "--seconds",
                str(seconds),
                "--json",
            ]
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=seconds + 300, check=False
            )
            self.assertEqual(done.returncode, 0, done.stderr[-1000:])
            said = json.loads(done.stdout)
            self.assertEqual((said["wrong"], said["errors"]), (0, 0), said)
            return said

        load(max(30, SECONDS // 10))  # every pool and cache has been filled once
        before = d.rss()
        said = load(SECONDS)
        print(
            f"{said['requests']} requests, {said['rate']:.0f}/s, p99 {said['p99_us']} us, "
            f"resident {before >> 20} -> {d.rss() >> 20} MiB"
        )
        self.assertLess(d.rss() - before, 32 << 20)
        self.assertEqual(d.stop(), 0, d.words())


if __name__ == "__main__":
    cases.main()
