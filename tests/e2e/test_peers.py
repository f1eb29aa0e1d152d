#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Slow, half-open, idle, churning and too many peers: memory stays bounded and the counters say
what happened.
"""

import random
import resource
import select
import socket
import struct
import time

import cases
import tlv
from content import raw_block
from daemon import PATIENCE, wait_for

MIB = 1 << 20


def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Peers(cases.Case):
    idle_count = 1000
    churn_count = 3000

    def served(self, flags=(), **more):
        d = self.daemon(flags=list(flags), **more)
        self.block = raw_block(random.Random(5).randbytes(200_000))
        self.small = raw_block(b"small one")
        with tlv.Client(d.address) as c:
            self.assertKind(c.put(self.block.mh, self.block.data), tlv.DONE)
            self.assertKind(c.put(self.small.mh, self.small.data), tlv.DONE)
        return d

    def assertServes(self, d, within=5.0):
        began = time.monotonic()
        with tlv.Client(d.address) as c:
            self.assertEqual(c.get(self.small.mh).body, self.small.data)
        self.assertLess(time.monotonic() - began, within * PATIENCE)

    def test_a_reader_that_never_reads_holds_no_more_than_its_share_and_is_closed(self):
        d = self.served(["--set", "net.stall_timeout=2s", "--set", "net.output_max=1MiB"])
        before = d.rss()
        slow = [tlv.Client(d.address, buffers=4096) for _ in range(20)]
        try:
            for c in slow:  # 20 × 1000 × 200 kB asked for, none of it read
                c.socket.setblocking(False)
                request = b"".join(tlv.get(i, self.block.mh) for i in range(1000))
                try:
                    c.socket.send(request)
                except BlockingIOError:
                    pass
            self.assertServes(d)
            wait_for(lambda: d.sum("net", "connections") <= 1, "all of them to be closed", 30)
            self.assertEqual(d.sum("net", "stalled_closes"), 20)
            self.assertLess(d.rss() - before, 64 * MIB)
            self.assertServes(d)
        finally:
            for c in slow:
                c.close()
        wait_for(lambda: d.sum("net", "connections") <= 1, "their slots to come back")

    def test_a_reader_that_is_only_slow_gets_all_of_it(self):
        d = self.served(["--set", "net.stall_timeout=5s"])
        with tlv.Client(d.address, buffers=4096) as c:
            count = 40
            c.send(b"".join(tlv.get(i, self.block.mh) for i in range(count)))
            for _ in range(count):
                select.select([], [], [], 0.02)  # the slowness under test, not a wait for anything
                self.assertEqual(c.read().body, self.block.data)

    def test_a_writer_that_stops_inside_a_body_costs_the_others_nothing(self):
        d = self.served()
        stuck = []
        try:
            for i in range(64):
                block = raw_block(random.Random(i).randbytes(1_000_000))
                c = tlv.Client(d.address)
                c.send(tlv.put(1, block.mh, block.data)[:500_000])
                stuck.append(c)
                if i % 16 == 0:
                    self.assertServes(d)
            self.assertServes(d)
            with tlv.Client(d.address) as c:
                block = raw_block(b"a small put goes through")
                self.assertIn(c.put(block.mh, block.data).kind, (tlv.DONE, tlv.BUSY))
        finally:
            for c in stuck:
                c.close()
        wait_for(lambda: d.sum("net", "connections") <= 1, "their slots to come back")
        with tlv.Client(d.address) as c:
            for i in range(64, 96):
                block = raw_block(random.Random(i).randbytes(1_000_000))
                self.assertKind(c.put(block.mh, block.data), tlv.DONE, "upload memory came back")

    def test_peers_that_vanish_and_half_open_ones_leave_nothing_behind(self):
        d = self.served()
        for _ in range(200):
            c = tlv.Client(d.address)
            c.send(tlv.get(1, self.block.mh) * 3)
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()  # RST, with replies under way
        half = [tlv.Client(d.address) for _ in range(50)]
        for c in half:
            c.send(tlv.get(7, self.small.mh))
            c.socket.shutdown(socket.SHUT_WR)
        for (
            c
        ) in half:  # asked, then said they are done asking: the answer still comes, then the end
            replies = c.read_until_closed()
            self.assertEqual([r.body for r in replies], [self.small.data])
            c.close()
        self.assertServes(d)
        wait_for(lambda: d.sum("net", "connections") <= 1, "their slots to come back")

    def test_idle_connections_are_cheap_and_the_counters_know_them(self):
        count = min(self.idle_count, descriptors() - 200)
        d = self.served()
        before = d.rss()
        idle = []
        try:
            for _ in range(count):
                idle.append(tlv.Client(d.address))
            wait_for(
                lambda: d.sum("net", "connections") >= count, f"{count} connections to be known", 30
            )
            self.assertLess(d.rss() - before, max(8 * MIB, count * 4096))
            self.assertServes(d)
            for c in idle[:: max(1, count // 100)]:
                self.assertKind(c.ping(), tlv.PONG)
            for c in idle:  # all of them wake at once
                c.send(tlv.get(1, self.small.mh))
            for c in idle:
                self.assertEqual(c.read().body, self.small.data)
        finally:
            for c in idle:
                c.close()
        wait_for(lambda: d.sum("net", "connections") <= 1, "their slots to come back", 30)

    def test_idle_timeout_closes_only_the_idle(self):
        d = self.served(["--set", "net.idle_timeout=1s"])
        with tlv.Client(d.address) as idle, tlv.Client(d.address) as busy:
            self.assertKind(idle.ping(), tlv.PONG)
            end = time.monotonic() + 20 * PATIENCE
            while not select.select([idle.socket], [], [], 0.05)[0]:
                self.assertKind(busy.ping(), tlv.PONG)
                self.assertLess(time.monotonic(), end, "the idle connection is still there")
            self.assertEqual(idle.read_until_closed(), [])
            self.assertKind(busy.ping(), tlv.PONG)

    def test_churn_leaks_neither_memory_nor_slots(self):
        d = self.served()

        def churn(count):
            for i in range(count):
                with tlv.Client(d.address) as c:
                    if i % 3:
                        self.assertEqual(c.get(self.small.mh).body, self.small.data)

        churn(500)
        before = d.rss()
        accepts = d.sum("net", "accepts")
        churn(self.churn_count)
        wait_for(lambda: d.sum("net", "connections") == 0, "every slot to come back")
        self.assertLess(d.rss() - before, 8 * MIB)
        self.assertEqual(d.sum("net", "accepts"), accepts + self.churn_count)
        self.assertEqual(d.sum("net", "accepts"), d.sum("net", "closes"))

    def test_beyond_the_limit_new_ones_are_refused_and_old_ones_keep_working(self):
        d = self.served(["--set", "net.connections_max=50"])
        kept, refused = [], 0
        try:
            for _ in range(200):
                c = tlv.Client(d.address, timeout=3 * PATIENCE)
                try:
                    self.assertKind(c.ping(), tlv.PONG)
                    kept.append(c)
                    continue
                except AssertionError:  # FAULT instead of PONG
                    pass
                except (tlv.Closed, ConnectionError):
                    pass
                refused += 1
                c.close()
            self.assertEqual((len(kept), refused), (50, 150))
            for c in kept:
                self.assertKind(c.ping(), tlv.PONG)
            self.assertEqual(d.sum("net", "refused_connections"), 150)
        finally:
            for c in kept:
                c.close()
        wait_for(lambda: d.sum("net", "connections") == 0, "room")
        self.assertServes(d)

    def test_out_of_descriptors_new_ones_are_refused_old_ones_serve_and_it_recovers(self):
        d = self.served(wrapper=["prlimit", "--nofile=300:300"])
        kept = []
        try:
            for _ in range(400):  # more than there are descriptors for
                try:
                    kept.append(tlv.Client(d.address, timeout=2 * PATIENCE))
                except OSError:
                    break
            alive = 0
            for c in kept[:150]:
                self.assertKind(c.ping(), tlv.PONG)
                alive += 1
            self.assertEqual(alive, 150)
            wait_for(lambda: d.sum("net", "no_descriptors") > 0, "refusals to be counted")
            self.assertEqual(kept[0].get(self.block.mh).body, self.block.data)
            put = raw_block(b"a write without descriptors to spare")
            self.assertKind(kept[1].put(put.mh, put.data), tlv.DONE)
        finally:
            for c in kept:
                c.close()
        wait_for(lambda: d.sum("net", "connections") == 0, "room")
        self.assertServes(d)

    def test_a_greedy_connection_does_not_hold_up_a_modest_one(self):
        d = self.served()
        with tlv.Client(d.address) as greedy, tlv.Client(d.address) as modest:
            greedy.socket.setblocking(False)
            flood = b"".join(tlv.get(i, self.block.mh) for i in range(2000))
            try:
                greedy.socket.send(flood)
            except BlockingIOError:
                pass
            worst = 0.0
            for _ in range(50):
                began = time.monotonic()
                self.assertEqual(modest.get(self.small.mh).body, self.small.data)
                worst = max(worst, time.monotonic() - began)
            self.assertLess(worst, 2.0 * PATIENCE)


if __name__ == "__main__":
    cases.main()
