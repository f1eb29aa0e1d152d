#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One budget for the whole daemon: a store many times its size is filled and read at random (in
the soak suite also scrubbed, backed up, exported and collected beside puts), and what the process
holds stays below it. Where control groups can be made the kernel enforces it: what is over the
limit is killed.
"""

import contextlib
import json
import os
import random
import subprocess
from pathlib import Path

import cases
import daemon

BUDGET = 64 << 20
BEYOND = 24 << 20  # program and libraries, what the kernel keeps for sockets and rings
GROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def group(limit):
    """A control group with a memory limit; its file of process ids, or None where none can be
    made.
    """
    version_1 = (GROUPS / "memory").is_dir()
    where = (GROUPS / "memory" if version_1 else GROUPS) / f"millrace-e2e-{os.getpid()}"
    name = "memory.limit_in_bytes" if version_1 else "memory.max"
    try:
        where.mkdir()
        (where / name).write_text(str(limit))
    except OSError:
        with contextlib.suppress(OSError):
            where.rmdir()
        yield None
        return
    try:
        yield where / "cgroup.procs"
    finally:
        daemon.discard_all()
        with contextlib.suppress(OSError):
            where.rmdir()


def held(process):
    """Most it ever had in memory that is in no file."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return (kib["VmHWM"] - kib["RssFile"]) * 1024


class Budget(cases.Case):
    large, small = 2300, 15_000  # blocks of 256 KiB and of 4 KiB
    seconds = 4
    layouts = ("one core", "two cores")
    whole = False  # also all that reads or copies everything

    def load(self, d, size, keys, *more):
        words = [str(daemon.LOAD), "tlv", "--to", d.to, "--conns", "8", "--depth", "4"]
        words += ["--size", str(size), "--keys", str(keys), "--json", *more]
        done = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-1000:])
        said = json.loads(done.stdout)
        self.assertEqual((said["wrong"], said["errors"]), (0, 0), said)
        return said

    def upkeep(self, d, folder):
        """What reads, copies and marks everything, beside reads and puts; then all but one DAG
        goes, and its space comes back.
        """
        kept = random.Random(7).randbytes(3_000_000)
        (folder / "kept").write_bytes(kept)
        done = d.run("add", "-Q", folder / "kept")
        self.assertExit(done, 0)
        root = done.stdout.split()[-1]
        words = [str(daemon.LOAD), "tlv", "--to", d.to, "--conns", "4", "--depth", "4", "--mix"]
        words += ["80:20", "--size", "4096", "--keys", str(self.small), "--fill", "no"]
        words += ["--seconds", "3600", "--seed", "1"]
        load = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for command in (
                ["scrub"],
                ["backup", folder / "backup"],
                ["verify"],
                ["export", "-o", os.devnull],
                ["gc", "--grace", "1h"],
            ):
                self.assertExit(d.run(*command, timeout=1800), 0)
            self.assertIsNone(load.poll(), "the load ended")
        finally:
            load.kill()
            load.wait()
        freed = d.ask("stat")["store"]["upkeep"]["segments_freed"]
        self.assertExit(d.run("gc", "--grace", "0", timeout=1800), 0)
        daemon.wait_for(
            lambda: d.ask("stat")["store"]["upkeep"]["segments_freed"] > freed + 3,
            "space to come back",
            120,
        )
        self.assertEqual(d.run("cat", root, text=False).stdout, kept)

    def serve(self, d, name):
        for size, keys in ((262144, self.large), (4096, self.small)):
            self.load(d, size, keys, "--seconds", "1")
        for size, keys in ((4096, self.small), (262144, self.large)):
            self.load(d, size, keys, "--seconds", str(self.seconds), "--fill", "no")
        stat = d.ask("stat")
        memory, stored = stat["memory"], stat["store"]["bytes"]
        self.assertGreaterEqual(stored, self.large * 262144 + self.small * 4096)
        self.assertEqual(memory["whole_budget_bytes"], BUDGET)
        self.assertLessEqual(held(d.process), BUDGET, memory)
        if self.whole:
            self.upkeep(d, self.scratch())
            self.assertLessEqual(held(d.process), BUDGET, memory)
        print(
            f"{name}: a store of {stored >> 20} MiB, {stat['store']['blocks']} blocks; held at "
            f"most {held(d.process) >> 20} MiB of {BUDGET >> 20}; ladder: {memory['ladder']}"
        )

    def test_a_store_of_many_times_its_size_is_filled_and_read_within_it(self):
        layouts = daemon.layouts()
        for name in self.layouts:
            if name not in layouts:
                continue
            with self.subTest(layout=name), group(BUDGET + BEYOND) as procs:
                wrapper = ["sh", "-c", f'echo $$ > {procs} && exec "$@"', "sh"] if procs else []
                flags = [*layouts[name], "--set", f"memory.budget={BUDGET}"]
                d = self.daemon(segment="16MiB", flags=flags, wrapper=wrapper)
                self.serve(d, name)
                d.kill()  # what recovery holds counts, too
                d.start()
                if self.whole:  # all of it has been collected
                    self.load(d, 4096, self.small // 10, "--seconds", "1")
                else:
                    self.load(d, 4096, self.small, "--seconds", "1", "--fill", "no")
                self.assertLessEqual(held(d.process), BUDGET)
                print(f"{name}: held at most {held(d.process) >> 20} MiB after a kill")
                self.assertEqual(d.stop(60), 0)


if __name__ == "__main__":
    cases.main()
