#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program without a daemon: usage, help, configuration, doctor, decode, and what each command
says when nobody listens. What the commands do with a daemon is in tests/e2e.

    test_commands.py PATH/TO/millrace

Covers tools/millrace/main.c, tools/millrace/cmd_block.c, tools/millrace/cmd_config.c,
tools/millrace/cmd_decode.c, tools/millrace/cmd_doctor.c, tools/millrace/cmd_serve.c,
tools/millrace/cmd_stat.c and tools/millrace/cmd_top.c.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from program import MILLRACE, main

COMMANDS = (
    "serve put get has rm add cat ls import export verify stat top topo why peers connect ping "
    "fetch id pin unpin pins gc backup restore scrub segdump config doctor decode help"
).split()
A_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"  # the empty raw block


def run(*arguments, stdin=b"", cwd=None):
    return subprocess.run(
        [MILLRACE, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case(unittest.TestCase):
    def assertRun(self, status, *arguments, **rest):
        done = run(*arguments, **rest)
        self.assertEqual(
            done.returncode, status, f"millrace {arguments}: {done.stdout!r} {done.stderr!r}"
        )
        return done.stdout.decode(), done.stderr.decode()

    def scratch(self):
        folder = tempfile.TemporaryDirectory(prefix="millrace-cli-")
        self.addCleanup(folder.cleanup)
        return Path(folder.name)


class Usage(Case):
    def test_the_help_fits_one_screen(self):
        out, err = self.assertRun(0, "--help")
        self.assertLessEqual(out.count("\n"), 48)
        self.assertLessEqual(max(map(len, out.split("\n"))), 80)
        self.assertEqual(err, "")
        for command in COMMANDS:
            self.assertIn(f"  {command} ", out)
        self.assertEqual(self.assertRun(2)[0], out)

    def test_every_command_explains_itself_on_one_screen(self):
        for command in COMMANDS:
            out, _ = self.assertRun(0, command, "--help")
            self.assertLessEqual(out.count("\n"), 40, command)
            self.assertLessEqual(max(map(len, out.split("\n"))), 100, command)
            self.assertEqual(self.assertRun(0, "help", command)[0], out)

    def test_version_names_the_build(self):
        out, _ = self.assertRun(0, "--version")
        self.assertRegex(out, r"^millrace \d+\.\d+\.\d+ \(.*march=")
        self.assertEqual(self.assertRun(0, "version")[0], out)

    def test_misspelt_commands_and_flags_get_the_nearest(self):
        self.assertIn("did you mean 'import'", self.assertRun(2, "imprt")[1])
        self.assertIn("did you mean --store", self.assertRun(2, "serve", "--stor", "x")[1])
        self.assertIn("--output needs a value", self.assertRun(2, "get", A_CID, "-o")[1])
        self.assertRun(2, "frobnicate")
        self.assertRun(2, "help", "frobnicate")
        self.assertRun(2, "get")
        self.assertRun(2, "get", A_CID, A_CID)
        self.assertRun(2, "stat", "extra")

    def test_wrong_values_are_usage(self):
        port = f"127.0.0.1:{free_port()}"
        self.assertRun(2, "import", "--on-error", "maybe", "x")
        self.assertRun(2, "add", "--chunker", "size-0", "-")
        self.assertRun(2, "add", "--cid-version", "2", "-")
        self.assertRun(2, "cat", "--offset", "some", A_CID)
        self.assertRun(2, "put", "--codec", "nonsense", "-")
        self.assertRun(2, "put", "--mh", "nonsense", "-")
        self.assertRun(2, "put", "--mh", "identity", "-")
        self.assertRun(2, "stat", "--watch", "often")
        self.assertRun(2, "top", "--every", "0")
        self.assertRun(2, "export", A_CID)
        self.assertRun(2, "verify", "--to", port, "--store", "x")
        for command in ("get", "has", "rm"):
            self.assertIn("not-a-cid", self.assertRun(2, command, "not-a-cid", "--to", port)[1])

    def test_an_unknown_hash_is_refused_with_its_code(self):
        self.assertIn("0x1014", self.assertRun(4, "put", "--mh", "0x1014", "-")[1])

    def test_output_that_nobody_takes_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [MILLRACE, "--help"], stdout=full, stderr=subprocess.PIPE, check=False
            )
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)


class NobodyListens(Case):
    def test_data_commands_name_the_address_and_what_to_start(self):
        to = f"127.0.0.1:{free_port()}"
        file = self.scratch() / "block"
        file.write_bytes(b"x")
        for command in (
            ("put", file),
            ("get", A_CID),
            ("has", A_CID),
            ("rm", A_CID),
            ("add", file),
            ("cat", A_CID),
            ("ls",),
            ("import", file),
            ("export", "-o", self.scratch() / "x.car"),
            ("verify",),
        ):
            out, err = self.assertRun(1, *command, "--to", to)
            self.assertEqual(out, "")
            self.assertIn(to, err)
            self.assertIn("millrace serve", err)

    def test_admin_commands_name_the_socket(self):
        for command in ("stat", "topo", "why", "top", "peers"):
            _, err = self.assertRun(1, command, "--admin", "/nonexistent/admin.sock")
            self.assertIn("/nonexistent/admin.sock", err)

    def test_an_address_that_is_none_is_usage(self):
        self.assertRun(2, "ls", "--to", "nowhere")


class Admin(Case):
    """A daemon of one answer behind the admin socket."""

    def answer(self, text):
        path = self.scratch() / "admin.sock"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        self.addCleanup(server.close)

        def serve():
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    self.asked = peer.makefile().readline()
                    peer.sendall(text.encode())

        threading.Thread(target=serve, daemon=True).start()
        return path

    def test_json_passes_through(self):
        path = self.answer('{"state": "serving", "store": {"blocks": 3}}')
        out, _ = self.assertRun(0, "stat", "--json", "--admin", path)
        self.assertEqual(json.loads(out)["store"]["blocks"], 3)
        self.assertEqual(json.loads(self.asked), {"command": "stat"})
        self.assertIn("3 blocks", self.assertRun(0, "stat", "--admin", path)[0])
        self.assertIn("3 blocks", self.assertRun(0, "top", "--admin", path)[0])

    def test_errors_and_nonsense_are_failures(self):
        busy = self.answer('{"error": "busy just now"}')
        self.assertIn("busy just now", self.assertRun(1, "why", "--admin", busy)[1])
        self.assertIn("not JSON", self.assertRun(1, "topo", "--admin", self.answer("{"))[1])


class Configuration(Case):
    def test_what_show_prints_can_be_read_back(self):
        folder = self.scratch()
        shown, _ = self.assertRun(0, "config", "show", "--memory", "12MiB", "--tlv", "[::1]:9")
        (folder / "shown.conf").write_text(shown)
        again, _ = self.assertRun(0, "config", "show", "--config", folder / "shown.conf", "--json")
        self.assertEqual(json.loads(again)["store.memory"]["value"], "12MiB")
        self.assertEqual(json.loads(again)["tlv.listen"]["value"], "[::1]:9")
        changed, _ = self.assertRun(0, "config", "show", "--memory", "12MiB", "--changed")
        self.assertEqual(changed, 'store = {\n    memory = "12MiB";  # --memory\n};\n')

    def test_the_template_is_a_sound_file(self):
        folder = self.scratch()
        template, _ = self.assertRun(0, "config", "template")
        (folder / "t.conf").write_text(template)
        self.assertIn("ok", self.assertRun(0, "config", "check", folder / "t.conf")[0])
        # With every key uncommented it says the same as no file at all.
        plain = re.sub(r"^    # (\w+ = .*;)$", r"    \1", template, flags=re.MULTILINE)
        (folder / "u.conf").write_text(plain)
        out, _ = self.assertRun(0, "config", "show", "--json", "--config", folder / "u.conf")
        bare, _ = self.assertRun(0, "config", "show", "--json")
        values = {k: v["value"] for k, v in json.loads(out).items()}
        self.assertEqual(values, {k: v["value"] for k, v in json.loads(bare).items()})
        self.assertEqual({v["from"] for v in json.loads(out).values()}, {"file"})

    def test_errors_name_file_and_line_and_leave_with_2(self):
        file = self.scratch() / "bad.conf"
        file.write_text('store = {\n  memorry = "1GiB";\n};\n')
        for command in (
            ("config", "check", file),
            ("serve", "--config", file),
            ("doctor", "--config", file),
        ):
            out, err = self.assertRun(2, *command)
            self.assertEqual(out, "")
            self.assertIn(f"{file}:2: ", err)
            self.assertIn("store.memory", err)
            self.assertEqual(err.strip().count("\n"), 0)
        self.assertRun(2, "config", "chekc")
        self.assertRun(2, "config", "check", file, "--config", file)
        self.assertRun(2, "config", "reference", file)

    def test_documents_come_out(self):
        self.assertIn("| `store.memory` |", self.assertRun(0, "config", "reference")[0])
        self.assertIn(".TH MILLRACE.CONF 5", self.assertRun(0, "config", "manpage")[0])
        self.assertIn(".TH MILLRACE 1", self.assertRun(0, "help", "--man")[0])
        self.assertIn("complete ", self.assertRun(0, "help", "--bash")[0])


class Doctor(Case):
    def test_every_finding_that_is_not_ok_has_costs_and_a_remedy(self):
        done = run("doctor", "--json", "--store", self.scratch() / "store")
        found = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if found["worst"] == "bad" else 0)
        names = {f["what"] for f in found["findings"]}
        self.assertLessEqual({"kernel", "io_uring", "open files", "store directory"}, names)
        for finding in found["findings"]:
            self.assertEqual(finding["level"] == "ok", finding["mend"] == "", finding)

    def test_a_directory_that_cannot_be_written_is_bad(self):
        out, _ = self.assertRun(1, "doctor", "--store", "/proc/sys")
        self.assertRegex(out, r"bad +store directory")
        self.assertRun(1, "serve", "--store", "/proc/sys", "--tlv", f"127.0.0.1:{free_port()}")


class Decode(Case):
    def test_frames_become_lines(self):
        ping = bytes([0x12, 8, 0, 0, 0, 7, 255, 0, 0, 0])
        out, _ = self.assertRun(0, "decode", "-", stdin=ping * 2)
        self.assertEqual(out.count("\n"), 2)
        self.assertIn("PING", out)
        out, _ = self.assertRun(0, "decode", "--offsets", "-", stdin=ping * 2)
        self.assertRegex(out.split("\n")[1], r"^ +10  ")

    def test_what_is_cut_or_no_frame_is_damaged_and_its_place_named(self):
        ping = bytes([0x12, 8, 0, 0, 0, 7, 255, 0, 0, 0])
        out, err = self.assertRun(4, "decode", "-", stdin=ping + ping[:4])
        self.assertIn("PING", out)
        self.assertIn("offset 10", err)
        self.assertIn("offset 0", self.assertRun(4, "decode", "-", stdin=b"\xff\xff\xff")[1])
        self.assertRun(1, "decode", self.scratch() / "absent")
        self.assertEqual(self.assertRun(0, "decode", "-")[0], "")


if __name__ == "__main__":
    sys.exit(main())
