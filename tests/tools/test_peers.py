#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peers, connect, ping and fetch against a daemon that says what a test's script says.

    test_peers.py PATH/TO/millrace

Covers tools/millrace/cmd_peers.c, tools/millrace/cmd_connect.c, tools/millrace/cmd_ping.c,
tools/millrace/cmd_fetch.c, tools/millrace/dial.c, tools/millrace/live.c and tools/millrace/admin.c.
"""

import fcntl
import json
import os
import pty
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest
from pathlib import Path

from program import MILLRACE, main

ID = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
ADDRESS = "/ip4/192.0.2.7/tcp/4001"
PEER = {
    "id": ID,
    "address": ADDRESS,
    "direction": "out",
    "agent": "kubo/0.40.0",
    "state": "open",
    "class": "normal",
    "age_s": 12,
    "bytes_in": 1024,
    "bytes_out": 1048576,
    "wants": 3,
    "waiting": 1,
    "debt": 1047552,
    "latency_us": 420,
}


class Case(unittest.TestCase):
    def daemon(self, answers):
        """answers: command -> the documents it gives, in turn; the last one again and again."""
        folder = tempfile.TemporaryDirectory(prefix="millrace-peers-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "admin.sock"
        self.asked = []
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self.path))
        server.listen()
        self.addCleanup(server.close)
        left = {command: list(documents) for command, documents in answers.items()}

        def serve():
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, peer.makefile() as lines:
                    request = json.loads(lines.readline())
                    self.asked.append(request)
                    documents = left.get(request["command"], [{"error": "no such command"}])
                    document = documents.pop(0) if len(documents) > 1 else documents[0]
                    peer.sendall(json.dumps(document).encode())

        threading.Thread(target=serve, daemon=True).start()

    def run_millrace(self, status, *arguments):
        done = subprocess.run(
            [MILLRACE, *arguments, "--admin", str(self.path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout} {done.stderr}")
        return done.stdout, done.stderr


class Peers(Case):
    def test_a_table_and_json(self):
        self.daemon({"peers": [{"peers": [PEER], "total": 1}]})
        out, _ = self.run_millrace(0, "peers")
        for word in (
            "1 connection to 1 peer\n",
            "192.0.2.7:4001",
            ID[-8:],
            "kubo/0.40.0",
            "1.0 MiB",
            "1023 KiB",
            "420 us",
        ):
            self.assertIn(word, out)
        self.assertEqual(self.asked, [{"command": "peers"}])
        self.assertNotIn(ID, out)
        out, _ = self.run_millrace(0, "peers", "--full")
        self.assertIn(ADDRESS, out)
        self.assertIn(ID, out)
        out, _ = self.run_millrace(0, "peers", "--json")
        self.assertEqual(json.loads(out)["peers"][0], PEER)

    def test_top_without_a_terminal_is_one_second_of_rates(self):
        later = {**PEER, "bytes_out": 9 * 1048576}
        self.daemon({"peers": [{"peers": [p], "total": 1} for p in (PEER, later)]})
        out, _ = self.run_millrace(0, "peers", "--top", "--sort", "debt")
        self.assertIn("out/s", out)
        self.assertEqual(len(self.asked), 2)

    def test_top_on_a_terminal_sorts_by_key_and_ends_with_q(self):
        self.daemon({"peers": [{"peers": [PEER], "total": 1}]})
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        with subprocess.Popen(
            [MILLRACE, "peers", "--top", "--admin", str(self.path)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm"},
        ) as child:
            os.close(slave)
            seen = b""
            while b"space now" not in seen or ID[-8:].encode() not in seen:
                if not select.select([master], [], [], 30)[0]:
                    child.kill()
                    self.fail(seen)
                seen += os.read(master, 65536)
            os.write(master, b"dq")
            self.assertEqual(child.wait(timeout=30), 0)

    def test_usage(self):
        self.daemon({})
        self.assertIn("--sort", self.run_millrace(2, "peers", "--sort", "size")[1])
        self.run_millrace(2, "peers", "--top", "--json")
        self.run_millrace(2, "peers", "--top", "--every", "0")
        self.run_millrace(2, "peers", "extra")
        self.assertEqual(self.asked, [])
        self.assertIn("no such command", self.run_millrace(1, "peers")[1])


class Connect(Case):
    def test_waits_until_connected(self):
        self.daemon(
            {
                "connect": [{"dial": 7}],
                "dial": [
                    {"state": "dialing"},
                    {"state": "handshake"},
                    {"state": "connected", "id": ID},
                ],
            }
        )
        self.assertEqual(self.run_millrace(0, "connect", ADDRESS)[0], f"connected {ID}\n")
        self.assertEqual(
            self.asked,
            [{"command": "connect", "to": ADDRESS}] + [{"command": "dial", "dial": 7}] * 3,
        )
        out, _ = self.run_millrace(0, "connect", "--json", ADDRESS)
        self.assertEqual(json.loads(out), {"state": "connected", "id": ID})

    def test_says_why_not(self):
        failed = {"state": "failed", "why": "Connection refused"}
        self.daemon({"connect": [{"dial": 1}], "dial": [failed]})
        out, err = self.run_millrace(1, "connect", ADDRESS)
        self.assertEqual(out, "")
        self.assertIn(f"{ADDRESS}: Connection refused", err)
        self.daemon({"connect": [{"error": "too many dials"}]})
        self.assertIn("too many dials", self.run_millrace(1, "connect", ADDRESS)[1])
        out, _ = self.run_millrace(1, "connect", "--json", ADDRESS)
        self.assertEqual(json.loads(out), {"state": "failed"})

    def test_an_id_is_left_to_the_daemon(self):
        self.daemon({"connect": [{"dial": 1}], "dial": [{"state": "connected", "id": ID}]})
        for whom in (ID, f"/p2p/{ID}"):
            self.assertEqual(self.run_millrace(0, "connect", whom)[0], f"connected {ID}\n")
        self.assertEqual(self.asked[2], {"command": "connect", "to": ID})

    def test_does_not_wait_for_ever(self):
        self.daemon({"connect": [{"dial": 1}], "dial": [{"state": "handshake"}]})
        _, err = self.run_millrace(1, "connect", ADDRESS, "--timeout", "50ms")
        self.assertIn("not connected within 50ms (still shaking hands)", err)

    def test_disconnects_by_id_or_by_an_address_that_has_one(self):
        self.daemon({"disconnect": [{"closed": 1}]})
        for whom in (ID, f"{ADDRESS}/p2p/{ID}"):
            out, _ = self.run_millrace(0, "connect", "--disconnect", whom)
            self.assertEqual(out, f"disconnected {ID}\n")
        self.assertEqual(self.asked, [{"command": "disconnect", "peer": ID}] * 2)
        out, _ = self.run_millrace(0, "connect", "--disconnect", "--json", ID)
        self.assertEqual(json.loads(out)["state"], "disconnected")
        self.daemon({"disconnect": [{"error": "no such peer is connected"}]})
        self.assertIn("no such peer", self.run_millrace(1, "connect", "--disconnect", ID)[1])

    def test_usage(self):
        self.daemon({})
        self.run_millrace(2, "connect")
        self.run_millrace(2, "connect", "nonsense")
        self.run_millrace(2, "connect", "/ip4/1.2.3/tcp/1")
        self.run_millrace(2, "connect", "/ip4/192.0.2.7/udp/4001/quic-v1")
        self.run_millrace(2, "connect", ADDRESS, "--timeout", "soon")
        self.assertIn("a list in the DNS", self.run_millrace(2, "connect", "/dnsaddr/a.b")[1])
        self.run_millrace(2, "connect", "--disconnect", ADDRESS)
        self.assertEqual(self.asked, [])


class Ping(Case):
    def test_counts_round_trips(self):
        self.daemon(
            {
                "ping": [{"ping": 1}, {"ping": 2}, {"ping": 3}],
                "ping_result": [
                    {"state": "pending"},
                    {"state": "done", "rtt_us": 300},
                    {"state": "failed", "why": "the stream was reset"},
                    {"state": "done", "rtt_us": 500},
                ],
            }
        )
        out, _ = self.run_millrace(0, "ping", "-c", "3", "-i", "0", ID)
        self.assertEqual(
            out,
            "1  300 us\n2  lost: the stream was reset\n3  500 us\n"
            "3 sent, 2 answered; least 300 us, mean 400 us, most 500 us\n",
        )
        self.assertEqual([a["ping"] for a in self.asked if "ping" in a], [1, 1, 2, 3])
        self.assertEqual(self.asked[0], {"command": "ping", "peer": ID})

    def test_json_and_an_address_which_is_connected_to_first(self):
        self.daemon(
            {
                "connect": [{"dial": 4}],
                "dial": [{"state": "connected", "id": ID}],
                "ping": [{"ping": 1}],
                "ping_result": [{"state": "done", "rtt_us": 123.5}],
            }
        )
        out, _ = self.run_millrace(0, "ping", "--json", "-c", "2", "-i", "1ms", ADDRESS)
        found = json.loads(out)
        self.assertEqual(found["peer"], ID)
        self.assertEqual((found["sent"], found["answered"]), (2, 2))
        self.assertEqual(found["rtt_us"], [123.5, 123.5])
        self.assertEqual(found["mean_us"], 123.5)
        self.assertEqual(self.asked[0], {"command": "connect", "to": ADDRESS})

    def test_nothing_answered_is_a_failure(self):
        self.daemon({"ping": [{"ping": 1}], "ping_result": [{"state": "failed"}]})
        out, _ = self.run_millrace(1, "ping", "-c", "1", ID)
        self.assertIn("1 sent, 0 answered\n", out)
        self.daemon({"ping": [{"error": "no such peer is connected"}]})
        out, err = self.run_millrace(1, "ping", ID)
        self.assertEqual(out, "")
        self.assertIn("no such peer", err)

    def test_usage(self):
        self.daemon({})
        self.run_millrace(2, "ping")
        self.run_millrace(2, "ping", "nobody")
        self.run_millrace(2, "ping", "-c", "0", ID)
        self.run_millrace(2, "ping", "-i", "often", ID)
        self.assertEqual(self.asked, [])


CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


class Fetch(Case):
    def fetch(self, status, answer, *arguments, before=()):
        self.daemon(
            {
                "fetch": [{"session": 3}],
                "fetch_status": [*before, answer],
                "fetch_cancel": [{"canceled": True}],
            }
        )
        return self.run_millrace(status, "fetch", *arguments, CID)

    def test_says_what_came_and_what_was_here(self):
        done = {"state": "done", "blocks": 1, "bytes": 1024, "here_blocks": 1}
        self.assertRegex(
            self.fetch(0, done)[1], r"^fetched 1 block, 1.0 KiB in .* s \(.*/s\); 1 was here\n$"
        )
        done = {"state": "done", "blocks": 2, "bytes": 2048, "here_blocks": 14, "duplicates": 3}
        self.assertRegex(self.fetch(0, done)[1], "^fetched 2 .*; 14 were here; 3 came twice\n$")
        done = {"state": "done", "blocks": 0, "bytes": 0, "here_blocks": 14}
        self.assertEqual(self.fetch(0, done)[1], "already here: 14 blocks\n")
        self.assertEqual(self.fetch(0, done, "--quiet")[1], "")
        out, err = self.fetch(0, done, "--json")
        self.assertEqual((json.loads(out), err), (done, ""))

    def test_says_who_ended_it(self):
        failed = {"state": "failed", "why": "canceled", "absent": False, "blocks": 0}
        running = [{"state": "running"}] * 6
        self.assertIn("canceled by another command", self.fetch(1, failed)[1])
        _, err = self.fetch(1, {**failed, "blocks": 1}, "--timeout", "1ms", before=running)
        self.assertIn("--timeout: given up; the 1 block that came is kept", err)
        self.assertIn({"command": "fetch_cancel", "session": 3}, self.asked)
        _, err = self.fetch(1, failed, "--timeout", "1ms", before=running)
        self.assertIn("; nothing had come", err)
        stopping = {**failed, "why": "the daemon is stopping", "blocks": 2}
        self.assertIn("is stopping; the 2 blocks that came are kept", self.fetch(1, stopping)[1])
        gone = {"error": "no such fetch"}
        self.assertIn("the daemon stopped while it fetched", self.fetch(1, gone)[1])
        absent = {**failed, "why": f"{CID}: no peer", "absent": True}
        self.assertIn(f"{CID}: no peer", self.fetch(3, absent)[1])

    def test_says_what_it_waits_for(self):
        notes = (
            ({"resolving": True}, b"looking up the names of --from"),
            ({"dialing": 2}, b"dialing 2 peers"),
            ({"seeking": 1}, b"no peer is connected yet"),
            ({"peers": 1, "in_flight": 1}, b"1 peer asked for " + CID.encode()),
            ({"peers": 3, "in_flight": 4, "here_blocks": 1}, b"3 peers asked, 4 blocks to come"),
            ({"blocks": 1, "bytes": 9, "peers": 1}, b"9 B  1 block "),
        )
        for numbers, note in notes:
            self.daemon(
                {"fetch": [{"session": 1}], "fetch_status": [{"state": "running", **numbers}]}
            )
            master, slave = pty.openpty()
            with subprocess.Popen(
                [MILLRACE, "fetch", CID, "--admin", str(self.path)], stderr=slave
            ) as child:
                os.close(slave)
                seen = b""
                while note not in seen and select.select([master], [], [], 30)[0]:
                    seen += os.read(master, 65536)
                child.kill()
            os.close(master)
            self.assertIn(note, seen)

    def test_usage(self):
        self.daemon({})
        _, err = self.run_millrace(2, "fetch", "nonsense")
        self.assertEqual(err.count("not a CID"), 1, err)
        self.assertIn("1h", self.run_millrace(2, "fetch", CID, "--timeout", "2h")[1])
        self.assertEqual(self.asked, [])


if __name__ == "__main__":
    sys.exit(main())
