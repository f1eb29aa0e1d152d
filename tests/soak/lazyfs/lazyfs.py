#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The daemon on LazyFS (FUSE): real calls, io_uring included, on a disk that forgets all that was
not synced. It is killed under writers, the disk forgets, it starts again: what was acknowledged is
there, what was deleted is not.

LazyFS is made by the script beside this one; where it cannot be made or mounted, all of this is
skipped. MILLRACE_LAZYFS_KILLS: how often, default 40.
"""

import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "e2e"))

import cases  # noqa: E402
import killing  # noqa: E402
from daemon import Daemon, wait_for  # noqa: E402

KILLS = int(os.environ.get("MILLRACE_LAZYFS_KILLS", "40"))
CONFIG = """[faults]
fifo_path="{0}/order"
fifo_path_completed="{0}/done"
[cache]
apply_eviction=false
[cache.simple]
custom_size="0.5gb"
blocks_per_page=1
[filesystem]
log_all_operations=false
logfile="{0}/log"
"""


class Lazy:
    """One mounted LazyFS: `where` is what the daemon sees."""

    def __init__(self, program, folder):
        self.folder, self.where = folder, folder / "mounted"
        self.where.mkdir()
        (folder / "root").mkdir()
        (folder / "conf").write_text(CONFIG.format(folder))
        self.said = open(folder / "said", "wb")
        words = [str(program), str(self.where), "--config-path", str(folder / "conf"), "-f"]
        words += ["-o", "modules=subdir", "-o", f"subdir={folder}/root"]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.said, stderr=subprocess.STDOUT
        )

        self.done = -1  # it says there what it has done; open, or it waits for us

    def mounted(self):
        if self.done < 0 and (self.folder / "done").exists():
            self.done = os.open(self.folder / "done", os.O_RDONLY | os.O_NONBLOCK)
        there = os.path.ismount(self.where) and self.done >= 0
        return there or self.process.poll() is not None

    def forget(self):
        """All that was not synced is gone when this returns."""
        (self.folder / "order").write_text("lazyfs::clear-cache\n")
        if not select.select([self.done], [], [], 60)[0] or not os.read(self.done, 4096):
            raise AssertionError("LazyFS did not clear its cache")

    def end(self):
        subprocess.run(["fusermount3", "-u", "-z", str(self.where)], check=False)
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        self.said.close()
        if self.done >= 0:
            os.close(self.done)


class PowerLoss(cases.Case):
    @classmethod
    def setUpClass(cls):
        cls.built = Path(tempfile.mkdtemp(prefix="millrace-lazyfs-"))
        cls.addClassCleanup(shutil.rmtree, cls.built, ignore_errors=True)
        build = Path(__file__).resolve().parent / "build"
        done = subprocess.run(
            [str(build), str(cls.built / "lazyfs")], capture_output=True, text=True, check=False
        )
        if done.returncode == 77:
            raise cases.unittest.SkipTest(done.stdout.strip())
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)

    def mounted(self):
        # Not as other scratch directories: LazyFS takes "-o" in a path for the next option, and
        # hands O_DIRECT on with buffers of any alignment, which only memory takes.
        folder = Path(tempfile.mkdtemp(prefix="millrace.lazyfs.", dir="/dev/shm"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        lazy = Lazy(self.built / "lazyfs", folder)
        self.addCleanup(lazy.end)
        wait_for(lazy.mounted, "LazyFS to be mounted", 30)
        if lazy.process.poll() is not None:
            self.skipTest("it cannot be mounted: " + (folder / "said").read_text()[-300:])
        return lazy

    def test_what_was_not_synced_is_lost(self):
        """The tool does what it is here for."""
        lazy = self.mounted()
        for name, synced in (("kept", True), ("lost", False)):
            with open(lazy.where / name, "wb") as file:
                file.write(b"something")
                file.flush()
                if synced:
                    os.fsync(file.fileno())
        lazy.forget()
        self.assertEqual((lazy.where / "kept").read_bytes(), b"something")
        self.assertEqual((lazy.where / "lost").read_bytes(), b"")

    def test_what_was_acknowledged_is_there(self):
        lazy = self.mounted()
        source, seed = random.Random(31), 31
        ledger, lock = killing.Ledger(), threading.Lock()
        number, acknowledged = 1, 0
        # FUSE knows no sockets, so the store's own directory lies elsewhere: the segments do not.
        with Daemon(lazy.folder / "store", flags=["--ssd", f"{lazy.where}/ssd:2GiB"]) as d:
            for kill in range(1, KILLS + 1):
                threads = [
                    killing.Writer(d.address, ledger, lock, number + i, 2, source.random())
                    for i in range(2)
                ]
                for thread in threads:
                    thread.start()
                target = source.choice((1, 5, 20, 60))
                wait_for(lambda: sum(t.acknowledged for t in threads) >= target, "puts", 60)
                d.kill()
                for thread in threads:
                    thread.join(30)
                    self.assertIsNone(thread.problem)
                acknowledged += sum(t.acknowledged for t in threads)
                number = max(t.number for t in threads) + 2
                lazy.forget()
                d.start()
                recent = range(max(1, number - 1500), number)
                chosen = range(1, number) if kill == KILLS else recent
                self.assertEqual(killing.prove(d, ledger, chosen), [], f"kill {kill}")
        print(f"{KILLS} losses of what was not synced, seed {seed}: {acknowledged} acknowledged")


if __name__ == "__main__":
    cases.main()
