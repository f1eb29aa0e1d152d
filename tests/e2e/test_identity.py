#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who the daemon is to IPFS peers: `millrace id` (tools/millrace/cmd_id.c), and its key."""

import json
import stat

import cases
from daemon import free_port, run


class Identity(cases.Case):
    def identity(self, d):
        answer = d.run("id", "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return json.loads(answer.stdout)

    def test_the_id_stays_and_the_addresses_follow_the_listeners(self):
        port = free_port()
        d = self.daemon(flags=["--bitswap", f"127.0.0.1:{port}"])
        before = self.identity(d)
        self.assertRegex(before["id"], "^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$")
        self.assertEqual(before["addrs"], [f"/ip4/127.0.0.1/tcp/{port}/p2p/{before['id']}"])
        self.assertRegex(before["agent"], "^millrace/")
        self.assertIn("/ipfs/bitswap/1.2.0", before["protocols"])
        self.assertEqual(d.ask("id"), before)
        key = d.directory / "identity.key"
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual(d.stop(), 0)
        d.flags = ["--set", "bitswap.announce=/dns4/node.example/tcp/4001"]
        d.start()
        after = self.identity(d)
        self.assertEqual(after["id"], before["id"])
        self.assertEqual(after["addrs"], [f"/dns4/node.example/tcp/4001/p2p/{before['id']}"])

    def test_people_read_it_too(self):
        d = self.daemon()
        words = d.run("id")
        self.assertEqual(words.returncode, 0, words.stderr)
        self.assertIn(self.identity(d)["id"], words.stdout)
        self.assertIn("--bitswap", words.stdout, "says how to get an address")

    def test_a_key_that_others_may_read_stops_the_start(self):
        d = self.daemon()
        self.assertEqual(d.stop(), 0)
        key = d.directory / "identity.key"
        text = key.read_text()
        key.chmod(0o644)
        refused = run("serve", "--store", d.directory, "--tlv", d.to)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("identity.key", refused.stderr)
        self.assertIn("chmod 600", refused.stderr)
        key.chmod(0o600)
        key.write_text(text[:40])
        refused = run("serve", "--store", d.directory, "--tlv", d.to)
        self.assertEqual(refused.returncode, 4)
        self.assertEqual(key.read_text(), text[:40], "nothing is written over it")


if __name__ == "__main__":
    cases.main()
