#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A thread that waits for the disk and never comes back: the helper or the porter is held still
(ptrace), as a device does that answers no more. Reads and durable puts go on, and so does what
operators ask for; a stop says what does not end, and ends all the same.
"""

import ctypes
import os
import signal
from pathlib import Path

import cases
import killing
import tlv
from content import multihash
from daemon import wait_for

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def threads(d):
    """Name -> thread id."""
    tasks = Path(f"/proc/{d.process.pid}/task").iterdir()
    return {(task / "comm").read_text().strip(): int(task.name) for task in tasks}


class Stuck(cases.Case):
    def hold(self, thread):
        """It does not run any more, until it is killed."""
        if libc.ptrace(SEIZE, thread, None, None) != 0:
            self.skipTest(f"ptrace: {os.strerror(ctypes.get_errno())}")
        self.assertEqual(libc.ptrace(INTERRUPT, thread, None, None), 0)
        os.waitpid(thread, WALL)

    def ended(self, d, held):
        """Its threads are ours to bury before the process is anybody's."""
        for thread in [*held]:
            if os.waitpid(thread, WALL | os.WNOHANG)[0] == thread:
                held.remove(thread)
        return d.process.poll() is not None

    def stop_with(self, names, words, *flags):
        """These are held while clients go on, then it is told to stop and says `words`."""
        d = self.daemon(flags=flags)
        found = threads(d)
        held = [found[name] for name in names]
        blocks = [killing.body(number) for number in range(1, 40)]
        with tlv.Client(d.address) as c:
            for data in blocks[:20]:
                self.assertKind(c.put(multihash(data), data), tlv.DONE)
            for thread in held:
                self.hold(thread)
            for data in blocks[20:]:
                self.assertKind(c.put(multihash(data), data), tlv.DONE)
            for data in blocks:
                self.assertEqual(c.get(multihash(data)).body, data)
        self.assertEqual(d.ask("stat")["state"], "serving")
        d.signal(signal.SIGTERM)
        wait_for(lambda: self.ended(d, held), "the daemon to end in spite of it", 30)
        self.assertEqual(d.process.returncode, 1, d.words()[-2000:])
        self.assertIn(words, d.words())
        self.assertIn("the next start recovers the store", d.words())
        d.start()
        with tlv.Client(d.address) as c:
            for data in blocks:
                self.assertEqual(c.get(multihash(data)).body, data)
        self.assertEqual(d.stop(), 0)

    def test_a_helper_that_does_not_come_back(self):
        self.stop_with(["helper"], "a thread does not end")

    def test_a_porter_that_does_not_come_back(self):
        self.stop_with(["porter"], "drain timeout", "--set", "drain.timeout=300ms")


if __name__ == "__main__":
    cases.main()
