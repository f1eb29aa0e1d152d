#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is said of wrong input and of a host that refuses: each message names what, where and what
to do, with the exit status that README promises, and nothing half made is left behind.

The whole way: tools/millrace/output.c, tools/millrace/admin.c, tools/millrace/remote.c,
engine/listen.c, store/restore.c and every command.
"""

import os
import random
import socket
import subprocess
import time
import unittest

import cases
from daemon import free_port, run


class Words(cases.Case):
    def says(self, done, status, *words):
        self.assertExit(done, status)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_serve_names_what_it_lacks(self):
        here = self.scratch()
        (here / "file").touch()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for words, status, said in (
                (("--store", here / "file"), 1, ("file is not a directory", "--store DIR")),
                (("--store", here / "a/b"), 1, ("a/b", "mkdir -p")),
                (("--store", here / "s", "--hdd", here / "file"), 1, ("name a directory",)),
                (("--store", here / "s", "--memory", "lots"), 2, ("--memory", "try 4096")),
                (("--store", here / "s", "--ssd", "x:5Q"), 2, ("PATH:SIZE",)),
                (("--store", here / "s", "--ssd", "x:7MiB"), 2, ("s/x", "7 MiB", "8 MiB")),
                (("--stor", here / "s"), 2, ("did you mean --store?",)),
                (("--store", here / "s", "--tlv", "203.0.113.7:7000"), 1, ("ip addr",)),
                (("--store", here / "s", "--tlv", f"127.0.0.1:{port}"), 1, (str(port), "ss -ltn")),
            ):
                with self.subTest(words=words):
                    self.says(run("serve", *words), status, *said)

    def test_a_place_that_is_none_is_refused_before_it_is_found_slow(self):
        done = run("serve", "--store", "/dev/null")
        self.says(done, 1, "/dev/null is not a directory")
        self.assertNotIn("tmpfs", done.stderr)

    def test_a_store_that_is_served_is_imported_into_through_its_daemon(self):
        d = self.daemon()
        done = run("import", "--store", d.directory, __file__)
        self.says(done, 1, "millrace import: ", "another process has this store open", "--to")
        self.assertNotIn("millrace serve", done.stderr)

    def test_sizes_take_units_and_export_is_quiet_when_told(self):
        d, file = self.daemon(), self.scratch() / "file"
        file.write_bytes(random.Random(3).randbytes(600_000))
        cid = d.run("add", "-Q", file).stdout.strip()
        done = d.run("cat", cid, "--offset", "256KiB", "--length", "1KiB", text=False)
        self.assertEqual(done.stdout, file.read_bytes()[256 << 10 : 257 << 10])
        self.says(d.run("cat", cid, "--offset", "1Q"), 2, "--offset 1Q", "4096 or 1MiB")
        self.assertEqual(d.run("export", "-q", "-o", self.scratch() / "a.car").stderr, "")
        self.assertIn("4 blocks", d.run("export", "-o", self.scratch() / "a.car").stderr)

    def test_a_pin_without_a_peer_to_ask_is_refused_at_once(self):
        d = self.daemon(flags=["--bitswap", f"127.0.0.1:{free_port()}"])
        absent = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        begun = time.monotonic()
        self.says(d.run("pin", absent), 3, f"{absent} is not here, and there is no peer")
        self.assertLess(time.monotonic() - begun, 5, "not after the ten seconds of a fetch")

    def test_no_daemon_is_said_with_how_to_start_one(self):
        nobody = {**os.environ, "MILLRACE_TO": "127.0.0.1:1", "MILLRACE_ADMIN": "/nowhere/sock"}
        for command in ("stat", "pins", "gc", "scrub", "why", "id", "peers", "top"):
            with self.subTest(command=command):
                self.says(run(command, env=nobody), 1, "/nowhere/sock", "millrace serve")
        for words in (("ls",), ("verify",), ("add", __file__), ("import", __file__)):
            with self.subTest(words=words):
                self.says(run(*words, env=nobody), 1, "127.0.0.1:1", "--to")

    def test_what_is_no_cid_or_no_place(self):
        d, here = self.daemon(), self.scratch()
        (here / "file").write_bytes(random.Random(1).randbytes(600_000))
        done = d.run("add", "-q", "-r", here)
        self.assertExit(done, 0)
        lines = done.stdout.split()
        self.assertEqual(len(lines), 2)
        cid = lines[0]
        for command in ("cat", "get", "pin", "unpin", "pins", "has", "rm"):
            with self.subTest(command=command):
                self.says(d.run(command, "nocid"), 2, "'nocid' is not a CID")
        self.says(run("fetch", "--admin", d.admin_path, "nocid"), 2, "'nocid' is not a CID")
        for words in (("cat", cid), ("get", cid), ("export", cid)):
            with self.subTest(words=words):
                self.says(d.run(*words, "-o", here), 2, "is a directory; name a file in it")
                self.says(d.run(*words, "-o", here / "no/x"), 1, "no/x.part: No such file")
                self.assertExit(d.run(*words, "-o", "/dev/null"), 0)
        self.says(d.run("unpin", cid), 3, f"{cid}: it is not pinned")
        self.says(d.run("backup", here / "file"), 1, f"{here}/file: ", "Not a directory")
        self.says(d.run("add", here / "none"), 1, f"{here}/none: No such file")
        self.says(d.run("export", "--split", "lots", "-o", here / "x"), 2, "a size from 1MiB on")
        self.assertTrue(os.path.exists("/dev/null"), "a device is written to, not replaced")

    @unittest.skipUnless(os.geteuid() == 0, "mounting a small file system takes root")
    def test_a_full_disk_is_named_and_nothing_half_made_stays(self):
        d, small = self.daemon(), self.scratch()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            self.skipTest("mounting is not allowed here")
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        big = self.scratch() / "big"
        big.write_bytes(random.Random(2).randbytes(3 << 20))
        cid = d.run("add", "-Q", big).stdout.strip()
        block = d.run("put", "-", input="x" * (2 << 20)).stdout.strip()
        backup = self.scratch() / "backup"
        self.assertExit(d.run("backup", backup), 0)
        full = "No space left on device"
        self.says(d.run("cat", cid, "-o", small / "a"), 1, f"{small}/a: {full}")
        self.says(d.run("get", block, "-o", small / "a"), 1, f"{small}/a: {full}")
        self.says(d.run("export", "--dag", cid, "-o", small / "a"), 1, f"{small}/a: {full}")
        self.assertEqual(list(small.iterdir()), [])
        self.says(d.run("backup", small / "b"), 1, f"{small}/b: ", full)
        self.says(run("restore", backup, "--store", small / "r"), 1, f"{small}/r/ssd/", full)
        self.says(run("restore", backup, "--store", small / "r"), 2, "broke off", "remove it first")
        self.says(run("serve", "--store", small / "s"), 1, full)


if __name__ == "__main__":
    cases.main()
