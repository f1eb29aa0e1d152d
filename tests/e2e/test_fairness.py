#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Peers that take more than their part: each class keeps memory, jobs and buffers of its own, and
nobody waits for those who do not send, do not read or ask without end.
"""

import random
import select
import signal
import statistics
import struct
import threading
import time

import cases
import daemon
import tlv
from content import raw_block
from daemon import PATIENCE, wait_for

MIB = 1 << 20


def list_request(number, items=1, **more):
    return tlv.request(tlv.LIST, number, struct.pack(">QH", 0, items), **more)


def send_some(client, data):
    """As much of it as the socket takes at once; how much that was."""
    client.socket.setblocking(False)
    try:
        return client.socket.send(data)
    except BlockingIOError:
        return 0


class Fair(cases.Case):
    def served(self, *settings):
        flags = list(daemon.layouts()["one core"])
        for setting in settings:
            flags += ["--set", setting]
        return self.daemon(flags=flags)

    def client(self, d, cls=None, buffers=0, seconds=5):
        c = tlv.Client(
            d.address,
            timeout=seconds * PATIENCE,
            buffers=buffers,
            greet=cls is not None,
            cls=tlv.NORMAL if cls is None else cls,
        )
        self.addCleanup(c.close)
        return c

    def stored(self, d, size, seed=1):
        block = raw_block(random.Random(seed).randbytes(size))
        with tlv.Client(d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            self.assertEqual(c.get(block.mh).body, block.data)
        return block


class Shares(Fair):
    def test_upload_memory_filled_by_low_leaves_critical_its_share(self):
        d = self.served("net.body_max=8MiB", "net.stall_timeout=1s")
        small = self.stored(d, 100)
        stuck = []
        for seed in range(140):  # promises of more than all upload memory, each half kept
            block = raw_block(random.Random(seed).randbytes(65_000))
            c = self.client(d, tlv.LOW)
            c.send(tlv.put(7, block.mh, block.data)[:30_000])
            stuck.append(c)
        wait_for(lambda: d.sum("net", "no_body_memory") > 0, "upload memory to be full")
        critical = self.client(d, tlv.CRITICAL)
        upload = raw_block(random.Random(99).randbytes(500_000))
        self.assertKind(critical.put(upload.mh, upload.data), tlv.DONE)
        self.assertKind(critical.have([small.mh, upload.mh]), tlv.HAVES)

        def ended():
            return d.sum("net", "stalled_closes") >= 50

        wait_for(ended, "the half-sent uploads to be ended", 6)
        low = self.client(d, tlv.LOW)
        upload = raw_block(random.Random(98).randbytes(500_000))
        self.assertKind(low.put(upload.mh, upload.data), tlv.DONE, "their memory came back")

    def test_jobs_filled_by_low_and_normal_leave_critical_its_share(self):
        d = self.served("net.jobs_max=64", "net.output_max=64KiB", "sched.shed=off")
        large, small = self.stored(d, MIB), self.stored(d, 100, seed=2)
        early = self.client(d, tlv.CRITICAL)
        prober = self.client(d, tlv.NORMAL)

        def flood(cls, used):
            """Class normal, and what they ask for is as low as they say; until that many jobs are
            held, look after look.
            """
            peers = [self.client(d, tlv.NORMAL, buffers=4096) for _ in range(20)]
            requests = b"".join(tlv.get(i, large.mh, cls=cls) for i in range(100))
            looks = []

            def held():
                for c in peers:
                    send_some(c, requests)
                looks.append(d.sum("net", "jobs_used") >= used)
                select.select([], [], [], 0.05)
                return len(looks) >= 6 and all(looks[-6:])

            wait_for(held, f"{used} jobs to be held", 4)

        flood(tlv.LOW, 32)
        prober.send(b"".join(tlv.get(i, small.mh, cls=tlv.LOW) for i in range(60)))
        kinds = [prober.read().kind for _ in range(60)]
        self.assertEqual(set(kinds) - {tlv.VALUE}, {tlv.BUSY})
        self.assertGreaterEqual(kinds.count(tlv.BUSY), 40, "40 of 64 jobs are all Low can have")
        self.assertEqual(prober.get(small.mh).body, small.data)
        flood(tlv.NORMAL, 40)
        self.assertEqual(early.get(small.mh).body, small.data)
        late = self.client(d, tlv.CRITICAL)
        self.assertKind(late.welcome, tlv.WELCOME)
        self.assertEqual(late.get(small.mh).body, small.data)

    def test_first_segments_that_nobody_can_finish_leave_room_for_a_hello(self):
        d = self.served("net.output_max=64KiB", "net.jobs_max=1024")
        large, small = self.stored(d, MIB), self.stored(d, 100, seed=2)
        requests = b"".join(tlv.get(i, large.mh, cls=tlv.LOW) for i in range(100))
        for _ in range(100):  # one buffer each that cannot be read to its end
            send_some(self.client(d, buffers=4096), requests[:4096])
        looks = [0]

        def settled():
            looks.append(d.sum("net", "requests"))
            select.select([], [], [], 0.1)
            return looks[-1] == looks[-2] and d.sum("net", "deferred") > 0

        wait_for(settled, "nothing of them to be read any more", 4)
        for _ in range(20):
            with self.client(d, tlv.CRITICAL) as late:
                self.assertKind(late.welcome, tlv.WELCOME)
                self.assertEqual(late.get(small.mh).body, small.data)

    def test_starved_receives_go_on_in_the_order_they_came(self):
        d = self.served("net.buffers=16")
        absent = raw_block(b"cheap to ask for, cheap to hear of, dear to look for")
        flood = b"".join(tlv.get(i, absent.mh) for i in range(1500))
        clients = [self.client(d) for _ in range(40)]
        by_socket = {c.socket: [c, 0, b""] for c in clients}
        for c in clients:
            c.socket.setblocking(False)
        end = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < end:
            readable, writable, _ = select.select(by_socket, by_socket, [], 0.1)
            for each in readable:
                more = each.recv(1 << 18)
                self.assertTrue(more, "a connection was ended")
                by_socket[each][1] += len(more)
            for each in writable:
                of = by_socket[each]
                of[2] = of[2] or flood
                of[2] = of[2][each.send(of[2]) :]
        answered = sorted(count for _, count, _ in by_socket.values())
        self.assertGreater(d.sum("net", "starved"), 0, "buffers were not what was short")
        # The median alone says nothing where more than half of them got nothing.
        fair = max(statistics.median(answered), statistics.mean(answered))
        self.assertGreaterEqual(answered[0], fair / 10, answered)


class Flooders(threading.Thread):
    """Peers that ask for one block again and again, never read, and come back when closed."""

    def __init__(self, address, block, count):
        super().__init__(daemon=True)
        self.address, self.count = address, count
        self.requests = b"".join(tlv.get(i, block.mh, cls=tlv.LOW) for i in range(4000))
        self.done = threading.Event()
        self.came = 0

    def run(self):
        peers = [[None, 0] for _ in range(self.count)]
        while not self.done.wait(0.02):
            for peer in peers:
                try:
                    if peer[0] is None:
                        peer[:] = [tlv.Client(self.address, buffers=4096), 0]
                        self.came += 1
                    peer[1] += send_some(peer[0], self.requests[peer[1] :])
                    peer[1] %= len(self.requests)
                except OSError:
                    if peer[0] is not None:
                        peer[0].close()
                    peer[0] = None
        for peer in peers:
            if peer[0] is not None:
                peer[0].close()


class Readers(Fair):
    def test_peers_that_do_not_read_do_not_slow_one_that_does(self):
        d = self.served("net.stall_timeout=300ms", "store.memory=32MiB")
        block, small = self.stored(d, 2100), self.stored(d, 100, seed=2)
        honest = self.client(d, tlv.CRITICAL)
        before = d.ask("stat")["memory"]["rss_bytes"]
        flooders = Flooders(d.address, block, 24)
        flooders.start()
        try:
            wait_for(lambda: flooders.came >= 24, "them to be there")
            took, memory = [], []
            end = time.monotonic() + 3 * PATIENCE
            while time.monotonic() < end:
                began = time.monotonic()
                self.assertEqual(honest.get(small.mh).body, small.data)
                took.append(time.monotonic() - began)
                if len(took) % 50 == 0:
                    memory.append(d.ask("stat")["memory"])
                select.select([], [], [], 0.002)  # a modest rate, not a wait for anything
        finally:
            flooders.done.set()
            flooders.join(10 * PATIENCE)
        took.sort()
        self.assertGreater(len(took), 50)
        self.assertLess(took[len(took) * 99 // 100], 0.1 * PATIENCE)
        memory.append(d.ask("stat")["memory"])
        self.assertLess(max(m["rss_bytes"] for m in memory) - before, 64 * MIB)
        self.assertLessEqual(max(m["frames_bytes"] for m in memory), 48 * MIB)
        self.assertGreater(d.sum("net", "stalled_closes"), 0)

    def test_a_reader_that_is_steadily_slow_is_not_called_stalled(self):
        d = self.served("net.stall_timeout=2s")
        block = self.stored(d, 2 * MIB)
        c = self.client(d, buffers=65536)
        c.send(b"".join(tlv.get(i, block.mh) for i in range(20)))
        began, got = time.monotonic(), 0
        while time.monotonic() - began < 4.5:
            if got > 500_000 * (time.monotonic() - began):
                select.select([], [], [], 0.02)  # the slowness under test
                continue
            more = c.socket.recv(25_000)
            self.assertTrue(more, f"closed after {time.monotonic() - began:.1f} s, {got} bytes")
            got += len(more)
        self.assertEqual(d.sum("net", "stalled_closes"), 0)


class Loop(threading.Thread):
    """Keeps 16 GETs in flight until the connection ends; remembers how that was."""

    def __init__(self, address, block):
        super().__init__(daemon=True)
        self.address, self.block = address, block
        self.answers, self.wrong, self.end = 0, [], None

    def run(self):
        try:
            with tlv.Client(self.address) as c:
                c.send(b"".join(tlv.get(i, self.block.mh) for i in range(16)))
                while True:
                    reply = c.read()
                    if reply.kind != tlv.VALUE or reply.body != self.block.data:
                        self.wrong.append(reply)
                    self.answers += 1
                    c.send(tlv.get(reply.id, self.block.mh))
        except (tlv.Closed, OSError) as error:
            self.end = error


class Drain(Fair):
    def test_term_under_a_closed_loop_ends_every_connection_with_eof(self):
        d = self.served()
        block = self.stored(d, 3000)
        loops = [Loop(d.address, block) for _ in range(6)]
        for loop in loops:
            loop.start()
        wait_for(lambda: all(loop.answers > 100 for loop in loops), "the loops to turn")
        d.signal(signal.SIGTERM)
        self.assertEqual(d.wait(8), 0, d.words())
        for loop in loops:
            loop.join(5 * PATIENCE)
            self.assertFalse(loop.is_alive(), "a connection was not ended")
            # At the border of two frames: no answer was cut, and nothing was reset.
            self.assertEqual(str(loop.end), "end of stream, 0 of 2 bytes there")
            self.assertEqual(loop.wrong, [])


class Lists(Fair):
    count = 15_000

    def emptied(self):
        """A daemon on a store of blocks that were all deleted: the longest way to an item."""
        d = self.served()
        blocks = [raw_block(struct.pack(">I", i)) for i in range(self.count)]
        with tlv.Client(d.address) as c:
            for request, kind in (
                (lambda i: tlv.put(i, blocks[i].mh, blocks[i].data), tlv.DONE),
                (lambda i: tlv.request(tlv.DELETE, i, blocks[i].mh), tlv.DONE),
            ):
                for at in range(0, self.count, 500):
                    c.send(b"".join(request(i) for i in range(at, at + 500)))
                    for _ in range(500):
                        self.assertKind(c.read(), kind)
        return d

    def test_lists_that_nobody_waits_for_hold_up_nobody(self):
        d = self.emptied()
        for _ in range(2):
            with tlv.Client(d.address) as gone:
                gone.send(b"".join(list_request(i) for i in range(200)))
                self.assertIn(gone.read().kind, (tlv.ITEMS, tlv.BUSY))
        c = self.client(d, seconds=10)
        began = time.monotonic()
        self.assertKind(c.stat(), tlv.STATS)
        self.assertLess(time.monotonic() - began, 2 * PATIENCE)
        # Those before it take longer than its deadline.
        self.client(d).send(b"".join(list_request(i) for i in range(3)))
        c.send(b"".join(list_request(i) for i in range(2)) + list_request(9, deadline_ms=1))
        late = {reply.id: reply for reply in (c.read() for _ in range(3))}[9]
        self.assertFault(late, tlv.EXPIRED)

    def test_a_connection_has_only_a_few_of_them_in_flight(self):
        d = self.served()
        self.stored(d, 100)
        c = self.client(d)
        for one, good in (
            (list_request, tlv.ITEMS),
            (lambda i: tlv.request(tlv.STAT, i), tlv.STATS),
        ):
            c.send(b"".join(one(i) for i in range(50)))
            kinds = [c.read().kind for _ in range(50)]
            self.assertEqual(set(kinds), {good, tlv.BUSY})
            self.assertGreaterEqual(kinds.count(tlv.BUSY), 30, "one segment, one turn")
            self.assertKind(c.ask(one(50)), good)


class Boot(Fair):
    def test_whoever_connects_while_it_starts_is_answered(self):
        for _ in range(3):
            d = self.daemon(start=False, flags=daemon.layouts()["four cores, overcommitted"])
            d.spawn()
            early = []

            def connected(d=d, early=early):
                if d.process.poll() is not None:
                    self.assertTrue(d.words().endswith(daemon.RINGS_REFUSED), d.words())
                    d.spawn()  # the rings of the one before come back a moment later
                try:
                    early.append(tlv.Client(d.address, timeout=5 * PATIENCE))
                    early[-1].send(tlv.request(tlv.PING, 5))
                except ConnectionError:
                    return False
                return len(early) >= 8

            wait_for(connected, "eight connections", 10)
            for c in early:
                self.addCleanup(c.close)
                self.assertKind(c.read(), tlv.PONG)
            self.assertEqual(d.stop(), 0, d.words())


if __name__ == "__main__":
    cases.main()
