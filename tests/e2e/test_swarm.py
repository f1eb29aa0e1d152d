#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many peers want blocks of the daemon over Bitswap, and others attack it: every block comes right,
no honest want is lost beside an attack, and everything the peers held is given back.
"""

import json
import subprocess

import cases
import daemon
from daemon import PATIENCE, wait_for

GAUGES = (
    ("net", "connections"),
    ("net", "jobs_used"),
    ("swarm", "peers"),
    ("swarm", "streams"),
    ("ledger", "wants"),
    ("ledger", "waiting"),
)
SECONDS = "0.5"


def attacks():
    words = [str(daemon.LOAD), "bitswap", "--hostile", "list"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines()]


class Swarm(cases.Case):
    def served(self, layout="one core", *settings):
        self.peers = f"127.0.0.1:{daemon.free_port()}"
        flags = [*daemon.layouts()[layout], "--bitswap", self.peers]
        for setting in settings:
            flags += ["--set", setting]
        return self.daemon(flags=flags)

    def load(self, *words, fill=None, good=True):
        """One run of the generator. Returns: its object."""
        line = [str(daemon.LOAD), "bitswap", "--to", self.peers, *map(str, words), "--json"]
        line += ["--warmup", "0.1", "--drain", "20", "--seconds", SECONDS]
        if fill:
            line += ["--tlv", fill.to]
        done = subprocess.run(line, capture_output=True, text=True, timeout=100 * PATIENCE,
                              check=False)
        self.assertTrue(done.stdout.startswith("{"), f"{line}: {done.stderr[-500:]}")
        result = json.loads(done.stdout)
        if good:
            self.assertGreater(result["requests"], 0, result)
            lost = ("errors", "wrong", "unanswered", "not_found", "peers_lost")
            self.assertEqual({name: result[name] for name in lost}, dict.fromkeys(lost, 0), result)
        return result

    def back(self, d, seconds=60):
        def above():
            return {f"{p}.{n}": d.sum(p, n) for p, n in GAUGES if d.sum(p, n) > 0}

        wait_for(lambda: not above(), f"everything to come back: {above()}", seconds)


class Wants(Swarm):
    def test_blocks_of_all_sizes_over_noise_and_tls(self):
        d = self.served()
        for size, keys in (("8", 400), ("1000", 400), ("256KiB", 64), ("2MiB", 20)):
            shape = ("--size", size, "--keys", keys, "--conns", 4, "--depth", 8)
            self.load(*shape, fill=d)
            self.load(*shape, "--security", "tls")
        self.back(d)

    def test_other_layouts_serve_the_same(self):
        for layout in daemon.layouts():
            d = self.served(layout)
            self.load("--keys", 2000, "--conns", 8, "--depth", 16, fill=d)
            self.back(d)

    def test_haves_cancels_and_priorities(self):
        d = self.served()
        self.load("--keys", 500, "--conns", 2, fill=d)
        result = self.load("--keys", 500, "--conns", 4, "--depth", 16, "--size", 1024, "--mix",
                           "1:1", "--priorities", "1,50,2147483647", "--cancels", "0.2")
        self.assertGreater(result["cancelled"], 0)
        large = ("--keys", 64, "--conns", 4, "--depth", 8, "--size", "64KiB")
        self.load(*large, fill=d)
        result = self.load(*large, "--mix", "0:1")
        self.assertGreater(result["haves"], 0, "a large block is not sent for a want-have")
        self.back(d)

    def test_what_is_not_there_is_said(self):
        d = self.served()
        result = self.load("--keys", 300, "--conns", 2, "--depth", 16, good=False)
        self.assertEqual(result["requests"], 0)
        self.assertGreater(result["not_found"], 100)
        self.assertEqual(result["wrong"] + result["errors"] + result["unanswered"], 0)
        self.back(d)

    def test_many_peers_of_whom_few_want_anything(self):
        d = self.served()
        result = self.load("--keys", 1000, "--conns", 300, "--active", 30, "--depth", 8, fill=d)
        self.assertEqual(result["conns"], 300)
        self.assertGreaterEqual(d.sum("swarm", "handshakes"), 300)
        self.back(d)

    def test_an_open_loop_asks_at_its_rate(self):
        d = self.served()
        result = self.load("--keys", 1000, "--conns", 4, "--rate", 1000, fill=d)
        self.assertEqual(result["requests"] + result["late"], 500, result)
        self.back(d)


class Attacks(Swarm):
    def test_beside_every_attack_no_honest_want_is_lost_and_all_comes_back(self):
        d = self.served("one core", "net.stall_timeout=1s", "bitswap.handshake_timeout=1s")
        self.load("--keys", 800, "--size", "64KiB", "--conns", 4, "--depth", 8, fill=d)
        self.load("--keys", 2000, "--conns", 4, fill=d)
        for name in attacks():
            with self.subTest(attack=name):
                line = [str(daemon.LOAD), "bitswap", "--to", self.peers, "--keys", "800", "--size",
                        "64KiB", "--hostile", name, "--conns", "10", "--seconds", "1.5"]
                with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as attacker:
                    self.load("--keys", 2000, "--conns", 4, "--depth", 8)
                    did = json.loads(attacker.stdout.read())
                self.assertGreaterEqual(did["connections"], 10, did)
                self.back(d)
                self.load("--keys", 2000, "--conns", 4, "--depth", 8)
        self.back(d)


if __name__ == "__main__":
    cases.main()
