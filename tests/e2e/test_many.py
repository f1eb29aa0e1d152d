#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many blocks in one request, all or nothing under kill -9, and content of any length through
memory that stays as it is.
"""

import hashlib
import random
import re
import struct
import subprocess
import tempfile
from pathlib import Path

import cases
import tlv
from content import multihash
from daemon import MILLRACE, Daemon, layouts

GET_MANY, PUT_MANY, VALUES, RESULTS = 0x28, 0x29, 0x45, 0x46
ALL = 1
MIB = 1 << 20
tlv.BODY_AT.update({VALUES: 6, RESULTS: 6})


def put_many(number, blocks, flags=0):
    body = b"".join(
        struct.pack(">II", 0x55, len(block)) + multihash(block) + block for block in blocks
    )
    head = struct.pack(">HI", len(blocks), len(body))
    return tlv.request(PUT_MANY, number, head, flags=flags) + body


def get_many(number, hashes, most=0):
    body = b"".join(hashes)
    return tlv.request(GET_MANY, number, struct.pack(">HII", len(hashes), most, len(body))) + body


def values(reply):
    """[(result, block)] of a VALUES."""
    at, out = 0, []
    while at < len(reply.body):
        result, _, size = struct.unpack_from(">HII", reply.body, at)
        out.append((result, reply.body[at + 10 : at + 10 + size]))
        at += 10 + size
    return out


def results(reply):
    return list(struct.unpack(f">{len(reply.body) // 2}H", reply.body))


class Many(cases.Case):
    def test_blocks_come_back_together(self):
        source = random.Random(1)
        blocks = [source.randbytes(size) for size in (0, 1, 3000, 4097, 70_000, 200_000)]
        with Daemon() as d, tlv.Client(d.address, greet=True) as c:
            self.assertEqual(c.welcome.fields("HBBI")[3] & 1, 1)
            self.assertEqual(results(c.ask(put_many(2, blocks))), [0] * len(blocks))
            hashes = [multihash(block) for block in blocks] + [multihash(b"absent")]
            for _ in range(3):
                answer = values(c.ask(get_many(3, hashes)))
                self.assertEqual(answer, [(0, block) for block in blocks] + [(1, b"")])

    def test_files_are_put_all_or_none_from_the_command_line(self):
        with Daemon() as d, tempfile.TemporaryDirectory() as directory:
            files = []
            for number in range(9):
                files.append(Path(directory, f"file-{number}"))
                files[-1].write_bytes(b"the content of %d" % number)
            done = d.run("put", "--atomic", *files)
            self.assertExit(done, 0)
            cids = done.stdout.split()
            self.assertEqual(len(cids), len(files))
            for file, cid in zip(files, cids):
                self.assertEqual(d.run("get", cid).stdout, file.read_text())
            files[3].write_bytes(bytes(3 * MIB))  # larger than a block may be here
            files[4].write_bytes(b"new")
            done = d.run("put", "--atomic", *files)
            self.assertExit(done, 4)
            with tlv.Client(d.address) as c:
                self.assertKind(c.get(multihash(b"new")), tlv.NOT_FOUND)
            done = d.run("put", *files[:2], files[4])
            self.assertExit(done, 0)
            self.assertEqual(len(done.stdout.split()), 3)


class Kill(cases.Case):
    """Groups of blocks are put all or nothing until the daemon dies under them."""

    GROUP, DEPTH = 12, 4

    def group(self, number):
        source = random.Random(number)
        return [source.randbytes(source.choice((60, 2000, 9000))) for _ in range(self.GROUP)]

    def kill_once(self, d, source, known, first):
        """Puts groups until the kill; known: number -> acknowledged."""
        number, limit = first, source.randrange(1, 60)
        with tlv.Client(d.address, greet=True) as c:
            out = 0
            while len(known) - first < limit:
                while out < self.DEPTH:
                    known[number] = False
                    c.send(put_many(number, self.group(number), ALL))
                    number, out = number + 1, out + 1
                reply = c.read()
                self.assertKind(reply, RESULTS)
                self.assertEqual(results(reply), [0] * self.GROUP)
                known[reply.id] = True
                out -= 1
            d.kill()

    def whole(self, c, known):
        parts = []
        for number, acknowledged in known.items():
            hashes = [multihash(block) for block in self.group(number)]
            found = sum(c.have(hashes).body)
            if found not in (0, self.GROUP) or (acknowledged and found == 0):
                parts.append((number, acknowledged, found))
        return parts

    def looped(self, name, kills, seed):
        if name not in layouts():
            self.skipTest("one CPU is all there is")
        source, known = random.Random(seed), {}
        with Daemon(flags=layouts()[name]) as d:
            for _ in range(kills):
                self.kill_once(d, source, known, len(known))
                d.start()
                with tlv.Client(d.address, greet=True) as c:
                    self.assertEqual(self.whole(c, known), [])

    def test_on_one_core(self):
        self.looped("one core", 8, 1)

    def test_on_four_overcommitted(self):
        self.looped("four cores, overcommitted", 12, 2)


class Flat(cases.Case):
    """200 MB in and out: neither end holds more of it than a window."""

    def peak(self, process):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def test_memory_does_not_follow_the_length(self):
        version = subprocess.run([MILLRACE, "version"], stdout=subprocess.PIPE, check=True)
        if b"sanitize=none" not in version.stdout:
            self.skipTest("a sanitizer's shadow is larger than the program")
        source, digest = random.Random(7), hashlib.sha256()
        with Daemon(flags=["--memory", "32MiB"], segment="64MiB") as d:
            with subprocess.Popen(
                [MILLRACE, "add", "-Q", "--to", d.to, "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as adding:
                for number in range(200):
                    piece = source.randbytes(MIB)
                    digest.update(piece)
                    adding.stdin.write(piece)
                    if number == 20:
                        begun = d.rss()
                adding.stdin.flush()
                peaks = [self.peak(adding)]
                cid = adding.communicate()[0].split()[-1].decode()
            self.assertEqual(adding.returncode, 0)
            after_add = d.rss()
            with subprocess.Popen(
                [MILLRACE, "cat", "--to", d.to, cid], stdout=subprocess.PIPE
            ) as reading:
                again, left = hashlib.sha256(), 200 * MIB
                while left > 0:
                    piece = reading.stdout.read(min(left, MIB))
                    self.assertTrue(piece)
                    again.update(piece)
                    left -= len(piece)
                    if left == 2 * MIB:
                        peaks.append(self.peak(reading))
            self.assertEqual(again.digest(), digest.digest())
            after_cat = d.rss()
            words = f"CLI {peaks}, daemon {begun} {after_add} {after_cat}"
            print(f"200 MiB: peak of add and cat {[p // MIB for p in peaks]} MiB, daemon "
                  f"{begun // MIB}, {after_add // MIB}, {after_cat // MIB} MiB")
            self.assertLess(max(peaks), 96 * MIB, words)  # the flight is 32 MiB of it
            # 32 MiB of frames, 28 of buffers that reads touch first, 8 of what moves keep in mind
            self.assertLess(max(after_add, after_cat) - begun, 96 * MIB, words)


if __name__ == "__main__":
    cases.main()
