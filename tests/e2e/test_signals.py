#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""TERM drains, a second one stops hard, HUP reloads, and configuration errors name their file and
line.
"""

import random
import signal
import socket
import threading

import cases
import daemon
import tlv
from content import raw_block
from daemon import wait_for


class Writer(threading.Thread):
    """Puts blocks until the connection ends; remembers what was acknowledged and what was under
    way.
    """

    def __init__(self, address, seed):
        super().__init__(daemon=True)
        self.address, self.seed = address, seed
        self.acknowledged, self.begun, self.refused = [], 0, []

    def run(self):
        source = random.Random(self.seed)
        pending = {}
        try:
            with tlv.Client(self.address) as c:
                number = 0
                while True:
                    while len(pending) < 16:
                        block = raw_block(source.randbytes(source.choice((100, 4000, 60_000))))
                        pending[number] = block
                        c.send(tlv.put(number, block.mh, block.data))
                        number += 1
                        self.begun += 1
                    reply = c.read()
                    block = pending.pop(reply.id)
                    (self.acknowledged if reply.kind == tlv.DONE else self.refused).append(block)
        except (tlv.Closed, OSError):
            pass


class Drain(cases.Case):
    def under_load(self, d, writers=4):
        threads = [Writer(d.address, seed) for seed in range(writers)]
        for thread in threads:
            thread.start()
        wait_for(
            lambda: all(len(t.acknowledged) >= 50 for t in threads), "the load to be under way"
        )
        return threads

    def test_term_under_load_exits_0_and_loses_nothing(self):
        d = self.daemon()
        threads = self.under_load(d)
        self.assertEqual(d.stop(), 0, d.words())
        for thread in threads:
            thread.join(20)
            self.assertFalse(thread.is_alive(), "the connection was not ended")
        d.start()
        with tlv.Client(d.address) as c:
            for thread in threads:
                for block in thread.acknowledged:
                    self.assertEqual(c.get(block.mh).body, block.data)
        self.assertTrue(d.ask("stat")["store"]["clean"], "a drained store opens clean")

    def test_requests_in_flight_are_answered_and_new_connections_refused(self):
        d = self.daemon()
        blocks = [raw_block(random.Random(seed).randbytes(50_000)) for seed in range(100)]
        with tlv.Client(d.address) as c:
            self.assertKind(c.ping(), tlv.PONG)
            c.send(b"".join(tlv.put(i, b.mh, b.data) for i, b in enumerate(blocks)))
            first = c.read()  # the server is inside them now
            d.signal(signal.SIGTERM)
            replies = [first, *c.read_until_closed()]
        self.assertEqual(d.wait(), 0, d.words())
        done = {r.id for r in replies if r.kind == tlv.DONE}
        self.assertLessEqual({r.kind for r in replies}, {tlv.DONE, tlv.BUSY, tlv.RETRY})
        with self.assertRaises(OSError):
            socket.create_connection(d.address, 1).close()
        d.start()
        with tlv.Client(d.address) as c:
            for number in done:
                self.assertEqual(c.get(blocks[number].mh).body, blocks[number].data)

    def test_idle_connections_do_not_hold_up_the_drain(self):
        d = self.daemon()
        idle = [tlv.Client(d.address) for _ in range(200)]
        try:
            self.assertKind(idle[-1].ping(), tlv.PONG)
            self.assertEqual(d.stop(8), 0, d.words())
        finally:
            for c in idle:
                c.close()

    def test_a_peer_that_never_reads_holds_it_up_no_longer_than_the_timeout(self):
        d = self.daemon(flags=["--set", "drain.timeout=1s"])
        block = raw_block(random.Random(1).randbytes(1_000_000))
        with tlv.Client(d.address, buffers=4096) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            c.send(b"".join(tlv.get(i, block.mh) for i in range(200)))
            wait_for(
                lambda: d.ask("stat")["paths"]["light"] + d.ask("stat")["paths"]["heavy"] > 3,
                "the gets to arrive",
            )
            self.assertEqual(d.stop(15), 0, d.words())
        d.start()
        self.assertTrue(d.ask("stat")["store"]["clean"])

    def test_a_second_term_stops_hard_and_nothing_acknowledged_is_lost(self):
        d = self.daemon(flags=["--set", "drain.timeout=60s"])
        block = raw_block(random.Random(2).randbytes(1_000_000))
        with tlv.Client(d.address, buffers=4096) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            c.send(b"".join(tlv.get(i, block.mh) for i in range(200)))
            wait_for(
                lambda: d.ask("stat")["paths"]["light"] + d.ask("stat")["paths"]["heavy"] > 3,
                "the gets to arrive",
            )
            d.signal(signal.SIGTERM)
            wait_for(lambda: self.draining(d), "the drain to begin")
            self.assertIsNone(d.process.poll(), "the peer that does not read holds the drain")
            d.signal(signal.SIGTERM)
            self.assertEqual(d.wait(10), 1, d.words())
        d.start()
        with tlv.Client(d.address) as c:
            self.assertEqual(c.get(block.mh).body, block.data)

    def draining(self, d):
        try:
            return d.ask("stat")["state"] == "draining"
        except (OSError, ValueError):
            return d.process.poll() is not None

    def test_int_drains_as_term_does(self):
        d = self.daemon()
        d.signal(signal.SIGINT)
        self.assertEqual(d.wait(), 0, d.words())

    def test_drain_by_the_admin_socket(self):
        d = self.daemon()
        d.ask("drain")
        self.assertEqual(d.wait(), 0, d.words())

    def test_admin_refuses_what_it_does_not_know_in_words(self):
        d = self.daemon()
        self.assertIn("error", d.ask("explode"))
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(d.admin_path))
            admin.sendall(b"{ not json\n")
            self.assertIn(b"error", admin.recv(4096))
        self.assertEqual(d.ask("stat")["state"], "serving")


class Reload(cases.Case):
    def setUp(self):
        self.file = self.scratch() / "millrace.conf"

    def write(self, text):
        self.file.write_text(text)

    def test_a_reloadable_key_applies(self):
        self.write('net = { idle_timeout = "0s"; };\n')
        d = self.daemon(config=self.file)
        with tlv.Client(d.address) as idle:
            self.assertKind(idle.ping(), tlv.PONG)
            self.write('net = { idle_timeout = "500ms"; };\n')
            d.signal(signal.SIGHUP)
            self.assertEqual(
                idle.read_until_closed(), [], "the idle connection is closed once the key applies"
            )
        self.assertIsNone(d.process.poll())

    def test_a_key_that_cannot_change_is_refused_by_name_and_the_old_one_stands(self):
        self.write('net = { credits = 64; idle_timeout = "0s"; };\n')
        d = self.daemon(config=self.file)
        self.write('net = { credits = 32; idle_timeout = "0s"; };\n')
        d.signal(signal.SIGHUP)
        wait_for(lambda: "net.credits" in d.words(), "the refusal to name net.credits")
        with tlv.Client(d.address, greet=True) as c:
            self.assertEqual(c.welcome.fields("HBBII")[4], 64)

    def test_an_error_keeps_everything_as_it_was_and_names_the_line(self):
        self.write('log = { level = "info"; };\n')
        d = self.daemon(config=self.file)
        self.write('log = {\n  level = "info";\n  colour = "red";\n};\n')
        d.signal(signal.SIGHUP)
        wait_for(lambda: f"{self.file}:3" in d.words(), "the refusal to name file and line")
        with tlv.Client(d.address) as c:
            self.assertKind(c.ping(), tlv.PONG)
        self.assertEqual(d.ask("stat")["state"], "serving")

    def test_reload_by_the_admin_socket(self):
        self.write('log = { level = "info"; };\n')
        d = self.daemon(config=self.file)
        self.assertNotIn("error", d.ask("reload"))
        self.write("log = { level = ")
        self.assertIn("error", d.ask("reload"))


class Service(cases.Case):
    """What the service manager hears (Type=notify, WatchdogSec)."""

    def heard(self, manager, word):
        """Waits until that word is said; everything else before it is allowed."""
        manager.settimeout(20 * daemon.PATIENCE)
        while True:
            said = manager.recv(4096).decode().split("\n")
            if word in said:
                return

    def test_ready_watchdog_reloading_and_stopping_are_said(self):
        folder = self.scratch()
        config = folder / "millrace.conf"
        config.write_text('log = { level = "info"; };\n')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(folder / "notify"))
            environment = {"NOTIFY_SOCKET": str(folder / "notify")}
            d = self.daemon(config=config, environment=environment)
            self.heard(manager, "READY=1")
            self.heard(manager, "WATCHDOG=1")
            d.signal(signal.SIGHUP)
            self.heard(manager, "RELOADING=1")
            self.heard(manager, "READY=1")
            d.signal(signal.SIGTERM)
            self.heard(manager, "STOPPING=1")
            self.assertEqual(d.wait(), 0, d.words())


class Configuration(cases.Case):
    def refused(self, text, *words):
        path = self.scratch() / "millrace.conf"
        path.write_text(text)
        for command in (("serve", "--store", self.scratch() / "store"), ("config", "check")):
            done = daemon.run(*command, "--config", path, timeout=20)
            self.assertExit(done, 2)
            for word in words:
                self.assertIn(word.format(file=path), done.stderr)
            self.assertEqual(
                done.stderr.strip().count("\n"), 0, f"one error, one line: {done.stderr}"
            )

    def test_an_unknown_key_names_file_line_and_the_nearest(self):
        self.refused(
            'store = {\n  memory = "64MiB";\n  memorry = "1GiB";\n};\n',
            "{file}:3",
            "memorry",
            "store.memory",
        )

    def test_a_bad_unit(self):
        self.refused(
            'drain = {\n  timeout = "10 parsecs";\n};\n', "{file}:2", "drain.timeout", "10 parsecs"
        )

    def test_a_value_out_of_range(self):
        self.refused("net = { backlog = 0; };\n", "{file}:1", "net.backlog")

    def test_broken_syntax(self):
        self.refused("store = {\n  memory = ;\n};\n", "{file}:2")

    def test_a_core_that_is_not_there(self):
        self.refused_by_serve('cores = {\n  net = "1000";\n};\n', "{file}:2", "1000")

    def refused_by_serve(self, text, *words):
        path = self.scratch() / "millrace.conf"
        path.write_text(text)
        done = daemon.run(
            "serve",
            "--store",
            self.scratch() / "store",
            "--tlv",
            f"127.0.0.1:{daemon.free_port()}",
            "--config",
            path,
            timeout=20,
        )
        self.assertExit(done, 2)
        for word in words:
            self.assertIn(word.format(file=path), done.stderr)

    def test_a_core_named_twice_needs_overcommit(self):
        first = str(daemon.allowed_cpus()[0])
        arguments = (
            "serve",
            "--store",
            self.scratch() / "store",
            "--tlv",
            f"127.0.0.1:{daemon.free_port()}",
            "--net-cores",
            f"{first},{first}",
        )
        done = daemon.run(*arguments, timeout=20)
        self.assertExit(done, 2)
        self.assertIn(first, done.stderr)

    def test_a_file_that_is_not_there(self):
        done = daemon.run("config", "check", "--config", "/nonexistent/millrace.conf")
        self.assertExit(done, 2)
        self.assertIn("/nonexistent/millrace.conf", done.stderr)

    def test_flags_win_over_the_file_and_show_says_where_each_came_from(self):
        path = self.scratch() / "millrace.conf"
        path.write_text('store = { memory = "64MiB"; };\nnet = { credits = 99; };\n')
        done = daemon.run("config", "show", "--config", path, "--memory", "32MiB")
        self.assertExit(done, 0)
        self.assertRegex(done.stdout, r"memory\W+.*32MiB.*--memory")
        self.assertRegex(done.stdout, r"credits\W+.*99.*" + path.name)


if __name__ == "__main__":
    cases.main()
