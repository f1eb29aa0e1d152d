#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Helia against the node, both ways: every size, many blocks, sessions, a DAG of 200 MB, and gone
in the middle.
"""

import interop
import node
import peers
from interop import KIB, MIB, SECURITIES, SIZES, Clock

import cases


@peers.needs(peers.NODE)
class Client(interop.Case):
    """Helia fetches from the node."""

    def assertFetched(self, said, blocks, size):
        self.assertEqual((said["blocks"], said["bytes"], said["wrong"]), (blocks, size, 0), said)

    def test_sizes(self):
        car, made = self.sizes_car("h")
        server = self.node(car)
        for security in SECURITIES:
            with self.subTest(security=security):
                helia = self.helia(security=security)
                said = helia.ask("connect", to=server.peer_address)
                self.assertEqual(said["peer"], server.id)
                said = helia.ask("fetch", cids=[b.text for b in made.values()])
                self.assertFetched(said, len(SIZES), sum(SIZES))

    def test_ten_thousand(self):
        server = self.node(self.seeded_car("hk", 10_000, KIB))
        helia = self.helia()
        helia.ask("connect", to=server.peer_address)
        half = {"seed": "hk", "count": 5000, "size": KIB, "depth": 64}
        said = helia.ask("fetch", **half)
        self.assertFetched(said, 5000, 5000 * KIB)
        self.report(f"{said['rate']:.0f} blocks/s")
        half["from"] = 5000
        said = helia.ask("fetch", session=True, providers=[server.peer_address], **half)
        self.assertFetched(said, 5000, 5000 * KIB)
        self.report(f"in a session: {said['rate']:.0f} blocks/s")

    def test_dag(self):
        size = 200 * MIB
        car, root = self.file_car("hd", size)
        server = self.node(car)
        helia = self.helia()
        helia.ask("connect", to=server.peer_address)
        said = helia.ask("dag", root=root, depth=32)
        self.assertEqual((said["leaves"], said["wrong"]), (size, 0), said)
        self.report(f"{said['bytes'] / 1e6 / said['seconds']:.0f} MB/s")

    def test_session_dag(self):
        size = 20 * MIB
        car, root = self.file_car("hs", size)
        server = self.node(car)
        helia = self.helia()
        said = helia.ask("dag", root=root, session=True, providers=[server.peer_address])
        self.assertEqual((said["leaves"], said["wrong"]), (size, 0), said)

    def test_kept_alive(self):
        """Pings are answered, in the middle of a transfer too; nothing is closed meanwhile."""
        size = 50 * MIB
        car, root = self.file_car("hp", size)
        server = self.node(car)
        helia = self.helia()
        helia.ask("connect", to=server.peer_address)
        helia.ask("ping", to=server.peer_address)
        helia.ask("dag", root=root)
        helia.ask("ping", to=server.peer_address)
        self.assertEqual(len(helia.ask("peers")["peers"]), 1)

    def test_gone_in_the_middle(self):
        """It disconnects with wants outstanding, comes again and gets the rest."""
        count, size = 400, 256 * KIB
        server = self.node(self.seeded_car("hg", count, size))
        helia = self.helia()
        for quit_at in (20, 60):
            helia.ask("connect", to=server.peer_address)
            said = helia.ask("fetch", seed="hg", count=count, size=size, quitAt=quit_at)
            self.assertTrue(said["quit"])
            helia.ask("forget", seed="hg", count=count, size=size)
        helia.ask("connect", to=server.peer_address)
        said = helia.ask("fetch", seed="hg", count=count, size=size)
        self.assertFetched(said, count, count * size)

    def test_asks_before_it_is_there(self):
        server = self.node()
        helia = self.helia()
        helia.ask("connect", to=server.peer_address)
        helia.begin("fetch", seed="hl", count=8, size=4 * KIB)
        interop.wait_for(lambda: server.wanted() >= 8, "its wants to arrive")
        server.load(self.seeded_car("hl", 8, 4 * KIB))
        self.assertFetched(helia.finish(), 8, 32 * KIB)


@peers.needs(peers.NODE)
class Server(interop.Case):
    """The node fetches from Helia."""

    def test_sizes(self):
        car, made = self.sizes_car("hss")
        for security in SECURITIES:
            helia = self.helia(security=security)
            helia.ask("load", car=str(car))
            client = self.node()
            for size, block in made.items():
                with self.subTest(security=security, size=size):
                    client.fetch(block.text, helia.address)
                    self.assertEqual(client.block(block.text), block.data)

    def test_ten_thousand(self):
        self.fetch_file("hst", 10_000 * KIB, KIB)

    def test_dag(self):
        self.fetch_file("hsd", 200 * MIB, 256 * KIB)

    def fetch_file(self, seed, size, chunk):
        car, root = self.file_car(seed, size, chunk)
        helia = self.helia()
        helia.ask("load", car=str(car))
        client = self.node()
        with Clock() as clock:
            client.fetch(root, helia.address, dag=True)
        self.assertHoldsFile(client, root, seed, size, chunk)
        self.report(f"{clock.rate(size)}, {size / chunk / clock.seconds:.0f} blocks/s")

    def test_over_its_own_connection(self):
        """Helia dials, and is then fetched from."""
        size = 5 * MIB
        car, root = self.file_car("hso", size)
        helia = self.helia()
        helia.ask("load", car=str(car))
        client = self.node()
        helia.ask("connect", to=client.peer_address)
        client.fetch(root, helia.address, dag=True)
        self.assertHoldsFile(client, root, "hso", size)

    def test_gone_in_the_middle(self):
        """Helia hangs up while we fetch; asking again fetches the rest."""
        size = 50 * MIB
        car, root = self.file_car("hsg", size)
        helia = self.helia()
        helia.ask("load", car=str(car))
        client = self.node()
        fetching = interop.Background(
            lambda: client.fetch(root, helia.address, dag=True, check=False, limit=60)
        )
        interop.wait_for(lambda: client.blocks() > 20, "some blocks to come")
        helia.ask("disconnect")
        if not fetching.finish():
            client.fetch(root, helia.address, dag=True)
        self.assertHoldsFile(client, root, "hsg", size)


if __name__ == "__main__":
    cases.main()
