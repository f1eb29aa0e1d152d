#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`millrace connect`, `peers` and `ping` with everybody's programs, and a DAG that passes through
all of them.
"""

import unittest

import interop
import node
import peers
from interop import MIB

import blocks
import cases


@unittest.skipIf(node.STAND_IN, "these are Millrace's own commands")
@peers.needs(peers.KUBO, peers.GO_PEER, peers.NODE)
class Commands(interop.Case):
    def test_connect_peers_ping(self):
        d = self.node()
        others = {
            "kubo": self.kubo(security="tls"),
            "helia": self.helia(),
            "millrace-interop": self.go_server(),
        }
        for other in others.values():
            d.connect(other.address)
            said = d.ping(other.address)
            self.assertEqual((said["sent"], said["answered"]), (3, 3), said)
        listed = {p["id"]: p for p in d.peers()}
        self.assertEqual(set(listed), {other.id for other in others.values()})
        for agent, other in others.items():
            line = listed[other.id]
            self.assertIn(agent, line["agent"])
            self.assertEqual((line["state"], line["direction"]), ("open", "outbound"))
            self.assertEqual(line["security"], "/tls/1.0.0" if agent == "kubo" else "/noise")
        for other in others.values():
            d.command("connect", "--disconnect", other.id)
        interop.wait_for(lambda: d.connected() == 0, "nobody to be connected")
        self.assertNotIn(d.id, others["kubo"].run("swarm", "peers"))

    def test_who_is_somebody_else_is_refused(self):
        d, kubo, go = self.node(), self.kubo(), self.go_server()
        wrong = kubo.address.replace(kubo.id, go.id)
        done = d.command("connect", wrong, check=False)
        self.assertExit(done, 1)
        self.assertIn("another peer", done.stderr)
        done = d.command("connect", "/ip4/127.0.0.1/tcp/1", check=False)
        self.assertExit(done, 1)
        self.assertIn("refused", done.stderr)

    def test_a_dag_goes_round(self):
        """Kubo to us, us to Helia, Helia to another of us, which a second Kubo reads."""
        size = 5 * MIB
        car, root = self.file_car("round", size)
        first, last, helia = self.kubo(car), self.kubo(), self.helia()
        d, e = self.node(), self.node()
        d.fetch(root, first.address, dag=True)
        helia.ask("connect", to=d.peer_address)
        self.assertEqual(helia.ask("dag", root=root)["leaves"], size)
        e.fetch(root, helia.address, dag=True)
        last.connect(e.peer_address)
        out = last.run("cat", root, text=False)
        self.assertEqual(len(out), size)
        self.assertHoldsFile(e, root, "round", size)

    def test_several_sources(self):
        """A DAG of which Kubo, Helia and the Go peer have a third each."""
        car, root = self.file_car("thirds", 8 * MIB)
        whole = list(blocks.file_dag("thirds", 8 * MIB))
        parts = []
        for i in range(3):
            part = [b for n, b in enumerate(whole) if n % 3 == i]
            parts.append(self.scratch() / "part.car")
            blocks.write_car(parts[-1], part)
        helia = self.helia()
        helia.ask("load", car=str(parts[1]))
        sources = [self.kubo(parts[0]), helia, self.go_server("--car", parts[2])]
        d = self.node()
        d.fetch(root, [s.address for s in sources], dag=True)
        self.assertHoldsFile(d, root, "thirds", 8 * MIB)


if __name__ == "__main__":
    cases.main()
