#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Large bodies to another host: a daemon in a network of its own, joined to ours by a pair of
virtual interfaces. Such a pair always copies, and the daemon notices. Needs root, and is skipped
without it.
"""

import os
import random
import subprocess
import sys

import cases
import daemon
import tlv
from content import raw_block

APART = "MILLRACE_APART"
OURS, THEIRS = "10.77.0.1", "10.77.0.2"


def ip(*words, inside=None):
    enter = ["nsenter", "-t", str(inside), "-n"] if inside else []
    subprocess.run([*enter, "ip", *words], check=True, capture_output=True)


class Apart(cases.Case):
    """The daemon's address is no address of ours."""

    def setUp(self):
        super().setUp()
        ip("link", "set", "lo", "up")
        self.daemon_apart = self.daemon(wrapper=["unshare", "-n"], listen="0.0.0.0:{port}")
        pid = self.daemon_apart.process.pid
        ip("link", "add", "name", "mr0", "type", "veth", "peer", "name", "mr1", "netns", str(pid))
        ip("addr", "add", OURS + "/30", "dev", "mr0")
        ip("link", "set", "mr0", "up")
        ip("addr", "add", THEIRS + "/30", "dev", "mr1", inside=pid)
        ip("link", "set", "mr1", "up", inside=pid)
        self.address = (THEIRS, self.daemon_apart.port)

    def tearDown(self):
        subprocess.run(["ip", "link", "del", "mr0"], check=False, capture_output=True)
        super().tearDown()

    def count(self, name):
        return self.daemon_apart.sum("net", name)

    def put(self, client, seed, size):
        block = raw_block(random.Random(seed).randbytes(size))
        self.assertKind(client.put(block.mh, block.data), tlv.DONE)
        return block

    def test_sends_that_are_copied_all_the_same_become_plain_ones(self):
        with tlv.Client(self.address) as c:
            block = self.put(c, 1, 1 << 20)
            self.assertEqual(c.get(block.mh).body, block.data)
            self.assertGreaterEqual(self.count("zero_sends"), 1)
            daemon.wait_for(lambda: self.count("zero_copied") >= 1, "the kernel's word")
            daemon.wait_for(lambda: self.count("zero_lent") == 0, "all frames to come back")
            before = self.count("zero_sends")
            for _ in range(5):
                self.assertEqual(c.get(block.mh).body, block.data)
            self.assertEqual(self.count("zero_sends"), before, "this socket has had its try")

    def test_what_is_asked_for_often_leaves_by_sendfile_here_too(self):
        with tlv.Client(self.address) as c:
            block = self.put(c, 2, 300000)
            for _ in range(40):
                self.assertEqual(c.get(block.mh).body, block.data)
        if self.count("file_sends") == 0:
            self.skipTest("a build without jemalloc has no file")
        self.assertGreaterEqual(self.count("file_bytes"), 10 * len(block.data))


if __name__ == "__main__":
    if APART not in os.environ:
        pair = "ip link add name mr0 type veth peer name mr1".split()
        probe = subprocess.run(["unshare", "-n", *pair], check=False, capture_output=True)
        if probe.returncode != 0:
            print("skipped: no network of one's own here (needs root, veth and ip)")
            sys.exit(77)
        os.environ[APART] = "1"  # interfaces are made where nobody else sees them
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    cases.main()
