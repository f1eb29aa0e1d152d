#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Our Go peer (go-libp2p, boxo's codec and server) against the node: every size, both ways of
encrypting, every key type, what is legal but odd, and servers that are odd.
"""

import unittest

import interop
import node
import peers
from interop import KIB, SECURITIES, SIZES, Clock

import cases


@peers.needs(peers.GO_PEER)
class Client(interop.Case):
    """The Go peer asks the node."""

    def want(self, server, *flags, **more):
        return peers.go_peer("want", "--to", server.peer_address, *flags, **more)

    def test_sizes(self):
        car, made = self.sizes_car("go")
        server = self.node(car)
        names = self.cid_file(b.text for b in made.values())
        for security in SECURITIES:
            with self.subTest(security=security):
                said = self.want(server, "--cids", names, "--security", security)
                self.assertAnswered(said, len(SIZES))
                self.assertEqual(said["bytes"], sum(SIZES))

    def test_ten_thousand(self):
        server = self.node(self.seeded_car("k", 10_000, KIB))
        for security in SECURITIES:
            for depth in (1024, 512):
                with self.subTest(security=security, depth=depth):
                    said = self.want(
                        server,
                        *("--seed", "k", "--blocks", 10_000, "--size", KIB),
                        *("--depth", depth, "--security", security),
                    )
                    self.assertAnswered(said, 10_000)
                    self.report(f"{security}, {depth} in flight: {said['rate']:.0f} blocks/s")
        said = self.want(
            server, "--seed", "k", "--blocks", 10_000, "--size", KIB, "--depth", 1, "--count", 500
        )
        self.assertAnswered(said, 500)
        self.report(f"one in flight: p50 {said['p50_us']:.0f} us")

    def test_large(self):
        server = self.node(self.seeded_car("l", 200, 256 * KIB))
        for security in SECURITIES:
            said = self.want(
                server,
                *("--seed", "l", "--blocks", 200, "--size", 256 * KIB),
                *("--depth", 64, "--security", security, "--count", 1000),
            )
            self.assertAnswered(said, 1000)
            self.report(f"{security}: {said['mb_s']:.0f} MB/s")

    def test_have(self):
        server = self.node(self.seeded_car("h", 100, 64 * KIB))
        flags = ("--blocks", 100, "--size", 64 * KIB, "--have")
        self.assertAnswered(self.want(server, "--seed", "h", *flags), 100, "haves")
        self.assertAnswered(self.want(server, "--seed", "nobody", *flags), 100, "dont_haves")

    def test_ten_clients(self):
        server = self.node(self.seeded_car("t", 2000, 4 * KIB))
        said = self.want(
            server,
            *("--seed", "t", "--blocks", 2000, "--size", 4 * KIB),
            *("--clients", 10, "--depth", 256),
        )
        self.assertAnswered(said, 20_000)

    def test_key_types(self):
        server = self.node(self.seeded_car("y", 8, KIB))
        for security in (*SECURITIES, "both"):
            for key in ("ed25519", "secp256k1", "ecdsa", "rsa"):
                with self.subTest(security=security, key=key):
                    said = self.want(
                        server,
                        *("--seed", "y", "--blocks", 8, "--size", KIB),
                        *("--security", security, "--key", key),
                    )
                    self.assertAnswered(said, 8)

    def test_odd(self):
        for size in (500, 300 * KIB):
            server = self.node(self.seeded_car("o", 8, size))
            for security in SECURITIES:
                said = peers.go_peer(
                    "odd",
                    *("--to", server.peer_address, "--security", security),
                    *("--seed", "o", "--blocks", 8, "--size", size),
                    check=False,
                    timeout=300,
                )
                self.assertTrue(said)
                for one in said:
                    with self.subTest(case=one["case"], security=security, size=size):
                        self.assertTrue(one["ok"], one)

    def test_gone_in_the_middle(self):
        """Twenty clients vanish with wants outstanding; the next is served as if nothing were."""
        server = self.node(self.seeded_car("g", 1000, 64 * KIB))
        flags = ("--seed", "g", "--blocks", 1000, "--size", 64 * KIB, "--depth", 512)
        for _ in range(4):
            self.want(server, *flags, "--clients", 5, "--quit-at", 50)
        self.assertAnswered(self.want(server, *flags), 1000)
        interop.wait_for(lambda: server.connected() == 0, "every peer to be gone")

    def test_connections(self):
        server = self.node()
        for security in SECURITIES:
            said = peers.go_peer(
                "dial",
                *("--to", server.peer_address, "--security", security),
                *("--count", 100, "--parallel", 4, "--pings", 20),
            )
            self.assertEqual((said["connects"], said["failed"], said["pings"]), (100, 0, 20))
            self.report(f"{security}: {said['rate']:.0f} connections/s")


@peers.needs(peers.GO_PEER)
class Server(interop.Case):
    """The node asks the Go peer."""

    def test_sizes(self):
        car, made = self.sizes_car("gs")
        for security in SECURITIES:
            server = self.go_server("--car", car, security=security)
            client = self.node()
            for size, block in made.items():
                with self.subTest(security=security, size=size):
                    client.fetch(block.text, server.address)
                    self.assertEqual(client.block(block.text), block.data)

    def test_ten_thousand(self):
        size = 10_000 * KIB
        car, root = self.file_car("gt", size, KIB)
        for security in SECURITIES:
            server = self.go_server("--car", car, security=security)
            client = self.node()
            with Clock() as clock:
                client.fetch(root, server.address, dag=True)
            held = self.assertHoldsFile(client, root, "gt", size, KIB)
            self.assertEqual(server.ask("stat")["sent"], len(held))  # each of them once
            self.report(f"{security}: {10_000 / clock.seconds:.0f} blocks/s")

    def test_from_a_peer_that_came_by_itself(self):
        """The node is connected to, and fetches over that connection."""
        car, root = self.file_car("gc", 3_000_000)
        server = self.go_server("--car", car)
        client = self.node()
        server.ask("connect " + client.peer_address)
        client.fetch(root, server.address, dag=True)
        self.assertHoldsFile(client, root, "gc", 3_000_000)

    def test_boxo_fetches_what_was_fetched(self):
        """A block travels from one boxo to another through the node."""
        car, root = self.file_car("gb", 300_000)
        first, second = self.go_server("--car", car), self.go_server()
        middle = self.node()
        middle.fetch(root, first.address, dag=True)
        second.ask("connect " + middle.peer_address)
        said = second.ask("get " + root)
        self.assertNotIn("error", said)

    def test_odd_servers(self):
        size = 40 * KIB
        car, root = self.file_car("os", size, 8 * KIB)
        for name in ("byte-by-byte", "one-stream", "many-messages", "unknown-fields", "twice"):
            with self.subTest(odd=name):
                server = self.go_server("--car", car, "--odd", name)
                client = self.node()
                client.fetch(root, server.address, dag=True)
                self.assertHoldsFile(client, root, "os", size, 8 * KIB)

    @unittest.skipIf(node.STAND_IN, "Kubo would wait for ever")
    def test_servers_that_lie(self):
        """What a liar sends is never stored; beside an honest peer it only costs time, and one
        that sends too much is borne.
        """
        car, root = self.file_car("ol", 40 * KIB, 8 * KIB)
        honest = self.go_server("--car", car)
        for name in ("wrong-bytes", "half-a-message", "unasked-too", "silent", "dont-have-once"):
            with self.subTest(odd=name):
                liar = self.go_server("--car", car, "--odd", name)
                alone, beside = self.node(), self.node()
                came = alone.fetch(root, liar.address, dag=True, check=False, limit=2)
                self.assertEqual((came, alone.blocks()), (True, 6) if came else (False, 0))
                self.assertEqual(came, name == "unasked-too")
                beside.fetch(root, [liar.address, honest.address], dag=True)
                self.assertHoldsFile(beside, root, "ol", 40 * KIB, 8 * KIB)
                self.assertEqual(beside.blocks(), 6)


if __name__ == "__main__":
    cases.main()
