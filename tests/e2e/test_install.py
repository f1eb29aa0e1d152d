#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `meson install` puts on a host works from there: programs, client library, manuals, unit."""

import json
import os
import random
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import cases
import daemon
import tlv
from content import raw_block

# What the header's own words lead a stranger to write.
PROGRAM = r"""
#include <millrace_client.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    struct mr_client *client = mr_new();
    struct mr_cid cid;
    struct mr_block block;
    char text[MR_CID_TEXT];
    if (argc != 2 || !client || mr_connect(client, argv[1], NULL) != 0 ||
        mr_put(client, "hello", 5, 0, 0, &cid) != 0 || mr_get(client, &cid, &block) != 0) {
        fprintf(stderr, "%s\n", mr_error(client));
        return 1;
    }
    mr_cid_format(&cid, text);
    printf("%s %.*s\n", text, (int)block.size, (const char *)block.data);
    mr_block_free(&block);
    mr_free(client);
    return 0;
}
"""


@unittest.skipUnless(shutil.which("meson"), "meson is not here")
class Installed(cases.Case):
    def setUp(self):
        self.root = self.scratch()
        words = ["meson", "install", "-C", str(daemon.BUILD), "--no-rebuild", "--quiet"]
        done = subprocess.run(
            [*words, "--destdir", str(self.root)], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def one(self, pattern):
        found = [p for p in self.root.rglob(pattern) if p.is_file()]
        self.assertEqual(len(found), 1, f"{pattern}: {found}")
        return found[0]

    def test_the_installed_program_serves(self):
        program = self.one("bin/millrace")
        self.addCleanup(setattr, daemon, "MILLRACE", daemon.MILLRACE)
        daemon.MILLRACE = program
        d = self.daemon()
        block = raw_block(random.Random(1).randbytes(5000))
        with tlv.Client(d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            self.assertEqual(c.get(block.mh).body, block.data)
        self.assertEqual(d.stop(), 0)

    def test_everything_an_operator_and_a_developer_need_is_there(self):
        for pattern in (
            "bin/millrace-load",
            "man1/millrace.1",
            "man5/millrace.conf.5",
            "systemd/system/millrace.service",
            "doc/millrace/README.md",
            "doc/millrace/docs/operations.md",
            "include/millrace_client.h",
            "pkgconfig/millrace-client.pc",
        ):
            self.one(pattern)

    def test_the_unit_names_the_installed_program_and_is_hardened(self):
        unit = self.one("millrace.service")
        text = unit.read_text()
        program = re.search(r"^ExecStart=(\S+) serve ", text, re.MULTILINE).group(1)
        self.assertTrue((self.root / program.lstrip("/")).is_file(), program)
        self.assertNotIn("@", re.sub(r"@(system-service|privileged|aio|resources)\b", "", text))
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not here: the unit was only read")
        unit.write_text(text.replace(program, str(self.root / program.lstrip("/"))))
        words = ["systemd-analyze", "verify", "--man=no", str(unit)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-300:])

    def test_a_stranger_builds_against_the_client_library(self):
        source, program = self.root / "stranger.c", self.root / "stranger"
        source.write_text(PROGRAM)
        where = self.one("pkgconfig/millrace-client.pc").parent
        environment = {
            **os.environ,
            "PKG_CONFIG_PATH": str(where),
            "PKG_CONFIG_SYSROOT_DIR": str(self.root),
        }
        asked = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "millrace-client"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        self.assertEqual(asked.returncode, 0, asked.stderr)
        words = ["cc", "-Wall", "-Werror", "-o", str(program), str(source), *asked.stdout.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        d = self.daemon()
        done = subprocess.run(
            [str(program), d.to],
            capture_output=True,
            text=True,
            env={**os.environ, "LD_LIBRARY_PATH": str(where.parent)},
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, f"{raw_block(b'hello').text} hello\n")


class Up(cases.Case):
    """tools/up beside a build that is there already, in a tree that has nothing else to build."""

    def setUp(self):
        source = Path(__file__).resolve().parents[2]
        self.top = self.scratch()
        for folder in ("tools", "build/tools", "tests", "bin"):
            (self.top / folder).mkdir(parents=True)
        shutil.copy(source / "tools/up", self.top / "tools/up")
        (self.top / "tests/e2e").symlink_to(source / "tests/e2e")
        (self.top / "build/build.ninja").touch()
        for name in ("millrace", "millrace-load"):
            (self.top / "build/tools" / name).symlink_to(daemon.BUILD / "tools" / name)
        for name in ("tools/setup", "bin/ninja"):
            (self.top / name).write_text("#!/bin/sh\n")
            (self.top / name).chmod(0o755)

    def up(self, *args):
        path = f"{self.top}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            [self.top / "tools/up", "--dir", self.top / "run", *args],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def blocks(self):
        admin = self.top / "run/admin.sock"
        done = subprocess.run(
            [daemon.MILLRACE, "stat", "--json", "--admin", admin], capture_output=True, check=True
        )
        return json.loads(done.stdout)["store"]["blocks"]

    def test_the_load_it_measures_leaves_no_block_and_a_store_that_was_there_gets_none(self):
        self.addCleanup(self.up, "--stop")
        where = ("--tlv", f"127.0.0.1:{daemon.free_port()}")
        where += ("--bitswap", f"127.0.0.1:{daemon.free_port()}")
        self.assertIn("the same as went in", self.up(*where))
        samples = self.blocks()
        self.assertGreater(samples, 0)
        self.assertLess(samples, 100)
        self.assertEqual(list((self.top / "run").glob("measured.*")), [])
        self.up("--stop")
        shutil.rmtree(self.top / "run/samples")
        self.assertIn("no samples are added", self.up(*where))
        self.assertEqual(self.blocks(), samples)


if __name__ == "__main__":
    cases.main()
