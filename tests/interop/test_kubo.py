#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kubo against the node: as client and as server, with Noise and with TLS, several at once, and
gone in the middle.
"""

import hashlib
import json
import subprocess
import unittest

import interop
import node
import peers
from interop import KIB, MIB, SECURITIES, SOAK, Clock, wait_for

import blocks
import cases
import content


@peers.needs(peers.KUBO)
class Client(interop.Case):
    """Kubo fetches from the node."""

    def get(self, kubo, root, seed, size, timeout=120):
        """`ipfs get`, and whether what it wrote is the file."""
        out = self.scratch() / "got"
        with Clock() as clock:
            kubo.run("get", "--progress=false", "-o", out, root, timeout=timeout)
        with open(out, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.assertEqual(digest, blocks.file_digest(seed, size))
        return clock

    def test_sizes(self):
        car, made = self.sizes_car("k")
        server = self.node(car)
        for security in SECURITIES:
            kubo = self.kubo(security=security)
            self.assertIn("success", kubo.connect(server.peer_address))
            for size, block in made.items():
                with self.subTest(security=security, size=size):
                    data = kubo.run("block", "get", block.text, text=False, timeout=30)
                    self.assertEqual(data, block.data)

    def test_identified(self):
        """Kubo learns who we are and what we speak, and pings us."""
        server = self.node()
        kubo = self.kubo()
        kubo.connect(server.peer_address)
        said = json.loads(kubo.run("id", server.id))
        self.assertIn("kubo" if node.STAND_IN else "millrace", said["AgentVersion"])
        self.assertIn("/ipfs/bitswap/1.2.0", said["Protocols"])
        self.assertEqual(said["ID"], server.id)
        self.assertIn("time=", kubo.run("ping", "-n", "3", server.id))

    def test_files(self):
        for security in SECURITIES:
            for size in (MIB, 200 * MIB) if security == "noise" else (MIB, 50 * MIB):
                with self.subTest(security=security, size=size):
                    car, root = self.file_car(f"f{size}", size)
                    server = self.node(car)
                    kubo = self.kubo(security=security)
                    kubo.connect(server.peer_address)
                    clock = self.get(kubo, root, f"f{size}", size)
                    self.report(f"{security}, {size >> 20} MiB: {clock.rate(size)}")

    @unittest.skipUnless(SOAK, "1 GB belongs to the soak suite")
    def test_a_gigabyte(self):
        car, root = self.file_car("giga", 1 << 30)
        server = self.node(car)
        for security in SECURITIES:
            kubo = self.kubo(security=security)
            kubo.connect(server.peer_address)
            clock = self.get(kubo, root, "giga", 1 << 30, timeout=600)
            self.report(f"{security}: {clock.rate(1 << 30)}")

    def test_dag_export(self):
        size = 20 * MIB
        car, root = self.file_car("x", size)
        server = self.node(car)
        kubo = self.kubo()
        kubo.connect(server.peer_address)
        out = kubo.run("dag", "export", "--progress=false", root, text=False)
        held = dict(content.car_blocks(out))
        self.assertEqual(node.file_of(held, root), blocks.file_digest("x", size))

    def test_ten_at_once(self):
        size = 10 * MIB
        car, root = self.file_car("ten", size)
        server = self.node(car)
        kubos = [self.kubo() for _ in range(10)]
        for kubo in kubos:
            kubo.connect(server.peer_address)
        with Clock() as clock:
            for each in [
                interop.Background(lambda k=kubo: k.run("cat", root, text=False)) for kubo in kubos
            ]:
                got = hashlib.sha256(each.finish()).hexdigest()
                self.assertEqual(got, blocks.file_digest("ten", size))
        self.report(f"ten clients: {clock.rate(10 * size)}")

    def test_small_blocks(self):
        """10,000 blocks of 1 KiB under one root."""
        car, root = self.file_car("small", 10_000 * KIB, KIB)
        server = self.node(car)
        kubo = self.kubo()
        kubo.connect(server.peer_address)
        with Clock() as clock:
            kubo.run("refs", "-r", root)
        self.report(f"{10_000 / clock.seconds:.0f} blocks/s")
        out = kubo.run("dag", "export", "--offline", "--progress=false", root, text=False)
        self.assertEqual(
            dict(content.car_blocks(out)), dict(content.car_blocks(car.read_bytes()))
        )

    def test_asks_before_it_is_there(self):
        """A want outlives the moment: the block arrives at the node later, and goes out then."""
        size = 100 * KIB
        car, root = self.file_car("late", size)
        server = self.node()
        kubo = self.kubo()
        kubo.connect(server.peer_address)
        asking = subprocess.Popen(
            [str(peers.KUBO), "cat", root], env=kubo.environment, stdout=subprocess.PIPE
        )
        self.addCleanup(asking.stdout.close)
        self.addCleanup(asking.kill)
        wait_for(lambda: root in kubo.run("bitswap", "wantlist"), "Kubo to want it")
        server.load(car)
        said, _ = asking.communicate(timeout=60)
        self.assertEqual(hashlib.sha256(said).hexdigest(), blocks.file_digest("late", size))

    def test_restarted_in_the_middle(self):
        """Kubo dies with wants outstanding, comes again and gets the rest."""
        size = 100 * MIB
        car, root = self.file_car("again", size)
        server = self.node(car)
        kubo = self.kubo()
        for _ in range(2):
            kubo.connect(server.peer_address)
            half = subprocess.Popen(
                [str(peers.KUBO), "refs", "-r", root],
                env=kubo.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(50):
                half.stdout.readline()
            kubo.end()
            half.stdout.close()
            half.wait(30)
            kubo.process.stdout.close()
            kubo.start()
        kubo.connect(server.peer_address)
        self.get(kubo, root, "again", size)


@peers.needs(peers.KUBO)
class Server(interop.Case):
    """The node fetches from Kubo."""

    def test_sizes(self):
        car, made = self.sizes_car("ks")
        for security in SECURITIES:
            kubo = self.kubo(car, security=security)
            client = self.node()
            for size, block in made.items():
                with self.subTest(security=security, size=size):
                    client.fetch(block.text, kubo.address)
                    self.assertEqual(client.block(block.text), block.data)

    def test_files(self):
        for security in SECURITIES:
            for size in (MIB, 200 * MIB) if security == "tls" else (MIB, 50 * MIB):
                with self.subTest(security=security, size=size):
                    car, root = self.file_car(f"s{size}", size)
                    kubo = self.kubo(car, security=security)
                    client = self.node()
                    with Clock() as clock:
                        client.fetch(root, kubo.address, dag=True)
                    self.assertHoldsFile(client, root, f"s{size}", size)
                    self.report(f"{security}, {size >> 20} MiB: {clock.rate(size)}")

    @unittest.skipUnless(SOAK, "1 GB belongs to the soak suite")
    def test_a_gigabyte(self):
        car, root = self.file_car("gigas", 1 << 30)
        for security in SECURITIES:
            kubo = self.kubo(car, security=security)
            client = self.node()
            with Clock() as clock:
                client.fetch(root, kubo.address, dag=True, timeout=600)
            self.assertHoldsFile(client, root, "gigas", 1 << 30)
            self.report(f"{security}: {clock.rate(1 << 30)}")

    def test_small_blocks(self):
        size = 10_000 * KIB
        car, root = self.file_car("ksmall", size, KIB)
        kubo = self.kubo(car)
        client = self.node()
        with Clock() as clock:
            client.fetch(root, kubo.address, dag=True)
        self.assertHoldsFile(client, root, "ksmall", size, KIB)
        self.report(f"{10_000 / clock.seconds:.0f} blocks/s")

    def test_what_kubo_makes(self):
        """A folder as Kubo lays it out: directories, CIDv0 and links of every kind it has."""
        kubo = self.kubo()
        folder = self.scratch() / "tree"
        # Kubo never sends a block of no bytes: whoever wants it must know it already.
        empty = [] if node.STAND_IN else [("a/none", 0)]
        for name, size in (("a/one", 1), ("a/b/big", 3 * MIB), ("two", 70_000), *empty):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hashlib.shake_128(name.encode()).digest(size))
        for version in (0, 1):
            with self.subTest(cid_version=version):
                root = kubo.run("add", "-Q", "-r", f"--cid-version={version}", folder).strip()
                client = self.node()
                client.fetch(root, kubo.address, dag=True)
                held = client.dag_blocks(root, self.scratch())
                out = kubo.run("dag", "export", "--progress=false", root, text=False)
                self.assertEqual(held, dict(content.car_blocks(out)))

    def test_restarted_in_the_middle(self):
        """Kubo ends while we fetch and comes again on the same address: what is here stays here,
        and asking again fetches the rest.
        """
        size = 200 * MIB
        car, root = self.file_car("sagain", size)
        kubo = self.kubo(car)
        client = self.node()
        fetching = interop.Background(
            lambda: client.fetch(root, kubo.address, dag=True, check=False, limit=30)
        )
        wait_for(lambda: client.blocks() > 20, "some blocks to come")
        kubo.end()
        kubo.process.stdout.close()
        had = client.blocks()
        kubo.start()
        held = fetching.finish()
        if not held:
            client.fetch(root, kubo.address, dag=True)
        self.assertHoldsFile(client, root, "sagain", size)
        self.report(f"killed after {had} blocks; the fetch {'went on' if held else 'ended'}")


if __name__ == "__main__":
    cases.main()
