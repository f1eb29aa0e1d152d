#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Millrace fetches from Millrace, from outside: `millrace fetch` (tools/millrace/cmd_fetch.c) and
what carries it out: engine/swarm/front.c, engine/swarm/desk.c, engine/swarm/resolve.c,
engine/swarm/errand.c, engine/swarm/client.c, engine/swarm/session.c, engine/swarm/dial.c,
engine/swarm/wants.c, engine/swarm/intake.c and engine/swarm/far.c.
"""

import json
import random
import signal
import socket
import subprocess
import threading

import cases
import tlv
from content import CODEC_DAG_PB, Block, car, car_blocks, dag_pb, raw_block
from daemon import MILLRACE, PATIENCE, free_port, layouts, run, wait_for


def tree(seed, leaves, leaf_bytes, fanout=100):
    """(root, blocks) of dag-pb nodes over raw leaves, some named twice, one of them empty."""
    source = random.Random(seed)
    leafs = [raw_block(b"")] + [raw_block(source.randbytes(leaf_bytes)) for _ in range(leaves)]
    blocks, level = list(leafs), leafs + leafs[: leaves // 10]
    while len(level) > 1:
        level = [
            Block(CODEC_DAG_PB, dag_pb([(b.cid, 0) for b in level[at : at + fanout]], b""))
            for at in range(0, len(level), fanout)
        ]
        blocks += level
    return level[0], blocks


class Fetch(cases.Case):
    def node(self, flags=(), **more):
        port = free_port()
        d = self.daemon(flags=["--bitswap", f"127.0.0.1:{port}", *flags], **more)
        d.bitswap = port
        d.multiaddr = d.ask("id")["addrs"][0]
        return d

    def pair(self, *arguments, **more):
        return self.node(*arguments, **more), self.node(*arguments, **more)

    def put(self, d, blocks):
        file = self.scratch() / "blocks.car"
        file.write_bytes(car([blocks[-1]], blocks))
        self.assertExit(d.run("import", file), 0)

    def fetch(self, d, block, *arguments, status=0):
        done = run("fetch", "--admin", d.admin_path, block.text, *arguments, timeout=100)
        self.assertExit(done, status)
        return done

    def numbers(self, d, block, *arguments):
        return json.loads(self.fetch(d, block, "--json", *arguments).stdout)

    def has(self, d, block):
        with tlv.Client(d.address) as c:
            reply = c.get(block.mh)
            return reply.kind == tlv.VALUE and reply.body == block.data

    def test_a_block_of_every_size_comes_over_and_is_durable(self):
        a, b = self.pair()
        source = random.Random(1)
        sizes = [0, 1, 1000, 1024, 8192, 8193, 65519, 65520, 262144, 1 << 20, 2 << 20]
        blocks = [raw_block(source.randbytes(size)) for size in sizes]
        self.put(a, blocks)
        for block in blocks:
            numbers = self.numbers(b, block, "--from", a.multiaddr)
            self.assertEqual((numbers["state"], numbers["blocks"]), ("done", 1))
            self.assertEqual(numbers["bytes"], len(block.data))
        b.kill()
        b.start()
        for block in blocks:
            self.assertTrue(self.has(b, block), len(block.data))

    def test_a_dag_comes_whole_once_and_then_is_here(self):
        a, b = self.pair()
        root, blocks = tree(2, 3000, 900)
        self.put(a, blocks)
        numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr)
        self.assertEqual(numbers["known"], len(blocks))
        self.assertEqual(numbers["blocks"], len(blocks))
        self.assertEqual(numbers["duplicates"], 0)
        self.assertEqual(b.sum("client", "lies"), 0)
        exported = self.scratch() / "dag.car"
        self.assertExit(b.run("export", "--dag", "-o", exported, root.text), 0)
        self.assertEqual(
            {data for _, data in car_blocks(exported.read_bytes())}, {b.data for b in blocks}
        )
        again = self.numbers(b, root, "--dag", "--from", a.multiaddr)
        self.assertEqual((again["blocks"], again["here_blocks"]), (0, len(blocks)))
        self.assertEqual(a.sum("ledger", "wants"), 0)

    def test_what_is_half_here_is_completed(self):
        a, b = self.pair()
        root, blocks = tree(3, 1000, 500)
        self.put(a, blocks)
        half = [block for i, block in enumerate(blocks) if i % 2 == 0 or block is root]
        self.put(b, half)
        numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr)
        self.assertEqual(numbers["here_blocks"], len(half))
        self.assertEqual(numbers["blocks"], len(blocks) - len(half))

    def test_without_from_the_connected_peers_are_asked(self):
        a, b = self.pair()
        root, blocks = tree(4, 100, 700)
        self.put(a, blocks)
        self.fetch(b, root, "--dag", "--timeout", "60s", status=3)  # nobody is there
        self.assertExit(run("connect", "--admin", a.admin_path, b.multiaddr), 0)
        self.assertEqual(self.numbers(b, root, "--dag")["blocks"], len(blocks))

    def test_sessions_use_peers_of_every_core(self):
        flags = layouts().get("two cores") or layouts()["four cores, overcommitted"]
        a, b, c = self.node(flags), self.node(flags), self.node(flags)
        dags = [tree(40 + i, 200, 1500) for i in range(8)]
        for i, (_, blocks) in enumerate(dags):
            self.put((a, c)[i % 2], blocks)
        for d in (a, c):  # two connections of each: on both cores
            self.assertExit(run("connect", "--admin", d.admin_path, b.multiaddr), 0)
            self.assertExit(run("connect", "--admin", b.admin_path, d.multiaddr), 0)
        for i, (root, blocks) in enumerate(dags):
            if i == len(dags) // 2:  # an odd number of requests: now the other core begins
                nobody = self.node().multiaddr.rsplit("/", 1)[1]
                self.assertExit(run("connect", "--admin", b.admin_path, nobody), 1)
            numbers = self.numbers(b, root, "--dag")
            self.assertGreaterEqual(numbers["peers"], 2)
            self.assertEqual(numbers["known"], len(blocks))
            self.assertEqual(numbers["unwanted"], 0)
            # nobody has this one: what was asked of either core's peers is taken back
            self.assertExit(self.fetch(b, raw_block(b"nowhere %d" % i), status=3), 3)
        cores = [core["client"] for core in b.ask("stat")["cores"] if "client" in core]
        self.assertGreater(len([core for core in cores if core["begun"] > 0]), 1, cores)
        self.assertGreater(len([core for core in cores if core["stored"] > 0]), 1, cores)
        self.assertEqual(sum(core["notes_lost"] for core in cores), 0)
        wait_for(lambda: a.sum("ledger", "wants") + c.sum("ledger", "wants") == 0, "no want left")
        self.assertEqual(b.stop(), 0)

    def test_who_is_connected_is_not_dialled_again(self):
        flags = layouts().get("two cores") or layouts()["four cores, overcommitted"]
        a, b = self.node(flags), self.node(flags)
        blocks = [raw_block(bytes([i]) * 3000) for i in range(6)]
        self.put(a, blocks)
        for _ in range(3):
            self.assertExit(run("connect", "--admin", b.admin_path, a.multiaddr), 0)
        for block in blocks:
            self.assertEqual(self.numbers(b, block, "--from", a.multiaddr)["blocks"], 1)
        self.assertEqual((b.sum("client", "dials"), b.sum("swarm", "peers")), (1, 1))

    def test_two_peers_with_half_each_make_a_whole(self):
        a, b = self.pair()
        c = self.node()
        root, blocks = tree(5, 1500, 600)
        self.put(a, [block for i, block in enumerate(blocks) if i % 2 == 0])
        self.put(c, [block for i, block in enumerate(blocks) if i % 2 == 1])
        numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr, "--from", c.multiaddr)
        self.assertEqual(numbers["blocks"], len(blocks))
        self.assertGreater(numbers["dont_haves"], 0)

    def test_a_block_nobody_has_is_named_and_the_status_is_3(self):
        a, b = self.pair()
        root, blocks = tree(6, 50, 300)
        missing = blocks[7]
        self.put(a, [block for block in blocks if block is not missing])
        done = self.fetch(b, root, "--dag", "--from", a.multiaddr, status=3)
        self.assertIn(missing.text, done.stderr)

    def test_who_cannot_be_reached_is_said_at_once(self):
        b = self.node()
        block = raw_block(b"somewhere")
        port = free_port()
        done = self.fetch(b, block, "--from", f"/ip4/127.0.0.1/tcp/{port}", status=3)
        self.assertIn("Connection refused", done.stderr)
        done = self.fetch(b, block, "--from", f"/ip4/127.0.0.1/tcp/{b.port}", status=3)
        self.assertIn("handshake", done.stderr)  # that is TLV
        a = self.node()
        other = a.multiaddr.rsplit("/", 1)[0]
        wrong = self.node().multiaddr.rsplit("/", 1)[1]
        done = self.fetch(b, block, "--from", f"{other}/{wrong}", status=3)
        self.assertIn("another peer answered", done.stderr)
        self.assertIn("it is " + a.multiaddr.rsplit("/", 1)[1], done.stderr)
        done = self.fetch(b, block, "--from", b.multiaddr, status=1)
        self.assertIn("that id is this node's own", done.stderr)
        self.fetch(b, block, "--from", "/ip4/1.2.3.4/udp/1", status=2)
        done = self.fetch(b, block, "--from", "/dns4/nowhere.invalid/tcp/1", status=1)
        self.assertIn("nowhere.invalid", done.stderr)

    def test_an_id_is_enough_for_who_is_connected(self):
        a, b = self.pair()
        blocks = [raw_block(b"one"), raw_block(b"two")]
        self.put(a, blocks)
        who = a.multiaddr.rsplit("/", 1)[1]
        done = self.fetch(b, blocks[0], "--from", who, status=1)
        self.assertIn("is not connected, and an id does not say where to dial", done.stderr)
        self.assertExit(run("connect", "--admin", b.admin_path, who), 1)
        self.assertExit(run("connect", "--admin", b.admin_path, a.multiaddr), 0)
        for block, name in zip(blocks, (who, f"/p2p/{who}"), strict=True):
            self.assertExit(run("connect", "--admin", b.admin_path, name), 0)
            self.assertExit(run("ping", "--admin", b.admin_path, "-c", "1", name), 0)
            self.assertEqual(self.numbers(b, block, "--from", name)["blocks"], 1)
        self.assertEqual(b.sum("client", "dials"), 1)

    def test_a_name_is_resolved(self):
        a, b = self.pair()
        block = raw_block(b"by name")
        self.put(a, [block])
        self.fetch(b, block, "--from", f"/dns4/localhost/tcp/{a.bitswap}")
        self.assertTrue(self.has(b, block))

    def test_a_peer_that_restarts_in_the_middle_is_dialled_again(self):
        a, b = self.pair()
        root, blocks = tree(7, 6000, 3000)
        self.put(a, blocks)
        words = [str(MILLRACE), "fetch", "--admin", str(b.admin_path), "--dag", root.text]
        words += ["--from", a.multiaddr, "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            wait_for(lambda: b.sum("client", "stored") > 200, "some blocks to come")
            a.kill()
            a.start()
            out, _ = process.communicate(timeout=100 * PATIENCE)
            self.assertEqual(process.returncode, 0, out)
        self.assertEqual(json.loads(out)["known"], len(blocks))
        self.assertTrue(all(self.has(b, block) for block in blocks[::97]))

    def test_an_interrupted_fetch_ends_takes_back_its_wants_and_goes_on_later(self):
        a, b = self.pair()
        root, blocks = tree(8, 6000, 3000)
        self.put(a, blocks)
        words = [str(MILLRACE), "fetch", "--admin", str(b.admin_path), "--dag", root.text]
        words += ["--from", a.multiaddr]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: b.sum("client", "stored") > 200, "some blocks to come")
            process.send_signal(signal.SIGINT)
            _, words = process.communicate(timeout=60 * PATIENCE)
            self.assertEqual(process.returncode, 1, words)
            self.assertRegex(words, "interrupted; the [0-9,]+ blocks that came are kept")
        wait_for(lambda: a.sum("ledger", "wants") == 0, "the wants to be taken back")
        wait_for(lambda: b.sum("client", "sessions") == 0, "the session to end")
        numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr)
        self.assertGreater(numbers["here_blocks"], 200)
        self.assertEqual(numbers["known"], len(blocks))

    def test_sessions_share_their_peers_and_a_limit(self):
        a, b = self.pair()
        dags = [tree(20 + i, 300, 2000) for i in range(6)]
        for _, blocks in dags:
            self.put(a, blocks)
        results = [None] * len(dags)

        def one(i):
            results[i] = self.numbers(b, dags[i][0], "--dag", "--from", a.multiaddr)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(len(dags))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, (_, blocks) in enumerate(dags):
            self.assertEqual(results[i]["known"], len(blocks))
        self.assertEqual(b.sum("client", "lies"), 0)

    def test_every_layout_fetches(self):
        a = self.node()
        root, blocks = tree(9, 800, 20000)
        self.put(a, blocks)
        for name, flags in layouts().items():
            with self.subTest(name):
                b = self.node(flags)
                numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr)
                self.assertEqual(numbers["blocks"], len(blocks))
                self.assertEqual(b.stop(), 0)

    def test_a_daemon_that_stops_in_the_middle_stops(self):
        a, b = self.pair()
        root, blocks = tree(10, 6000, 3000)
        self.put(a, blocks)
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(b.admin_path))
            request = {"command": "fetch", "cid": root.text, "dag": True, "from": [a.multiaddr]}
            admin.sendall(json.dumps(request).encode() + b"\n")
            self.assertIn("session", json.loads(admin.recv(4096)))
        wait_for(lambda: b.sum("client", "stored") > 100, "some blocks to come")
        self.assertEqual(b.stop(), 0)
        b.start()
        numbers = self.numbers(b, root, "--dag", "--from", a.multiaddr)
        self.assertGreater(numbers["here_blocks"], 100)

    def test_peers_are_shown_pinged_and_sent_away(self):
        a, b = self.pair()
        self.assertExit(run("connect", "--admin", b.admin_path, a.multiaddr), 0)
        shown = b.ask("peers")
        self.assertEqual(shown["total"], 1)
        peer = shown["peers"][0]
        self.assertEqual(peer["id"], a.ask("id")["id"])
        self.assertEqual(peer["address"], f"/ip4/127.0.0.1/tcp/{a.bitswap}")
        self.assertEqual((peer["direction"], peer["state"]), ("outbound", "open"))
        self.assertEqual(a.ask("peers")["peers"][0]["direction"], "inbound")
        self.assertExit(run("ping", "--admin", b.admin_path, "-c", "3", peer["id"]), 0)
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(b.admin_path))
            request = {"command": "disconnect", "peer": peer["id"]}
            admin.sendall(json.dumps(request).encode() + b"\n")
            self.assertEqual(json.loads(admin.recv(4096)), {"disconnected": 1})
        wait_for(lambda: a.ask("peers")["total"] == 0, "the peer to be gone")


if __name__ == "__main__":
    cases.main()
