#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Directories into a store, with a daemon and without: repositories made by hand as Kubo lays them
out, folders of archives (tools/millrace/import_dir.c; tools/millrace/private.c), the pins of their
roots (tools/millrace/import_roots.c), and back out into one (tools/millrace/parts.c).
"""

import base64
import json
import os
import random
import re
import signal
import subprocess
import unittest

import cases
import content
import daemon
import tlv
from content import BLAKE2B_256, CODEC_DAG_PB, CODEC_RAW, SHA2_512, Block, raw_block


def key_name(data):
    return base64.b32encode(data).decode().rstrip("=")


def shard_of(key, function):
    if function == "next-to-last/2":
        return key[-3:-1].rjust(2, "_")
    if function == "prefix/3":
        return key[:3].ljust(3, "_")
    return key[-2:].rjust(2, "_")  # suffix/2


class Repository:
    """A flatfs of our own making."""

    def __init__(self, root, function="next-to-last/2"):
        self.root, self.blocks, self.function = root, root / "blocks", function
        (self.blocks / ".temp").mkdir(parents=True)
        (self.blocks / "SHARDING").write_text(f"/repo/flatfs/shard/v1/{function}\n")
        (self.blocks / "_README").write_text("Blocks.\n")
        (self.blocks / "diskUsage.cache").write_text('{"diskUsage":1,"accuracy":"initial-exact"}')
        (self.blocks / ".temp" / "temp-1").write_bytes(b"half of a block")

    def path(self, block, name=None):
        key = key_name(name or block.mh)
        return self.blocks / shard_of(key, self.function) / f"{key}.data"

    def add(self, block, data=None, name=None):
        path = self.path(block, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(block.data if data is None else data)
        return path


def blocks_of(seed, count):
    source = random.Random(seed)
    kinds = ((CODEC_RAW, content.SHA2_256), (CODEC_DAG_PB, content.SHA2_256), (CODEC_RAW, SHA2_512))
    kinds += ((CODEC_RAW, BLAKE2B_256),)
    sizes = (0, 1, 100, 4096, 30_000)
    return [
        Block(codec, b"%d/%d" % (seed, n) + source.randbytes(source.choice(sizes)), code)
        for n in range(count)
        for codec, code in (source.choice(kinds),)
    ]


class Import(cases.Case):
    def setUp(self):
        self.folder = self.scratch()

    def assertStored(self, server, blocks):
        with tlv.Client(server.address) as c:
            for block in blocks:
                reply = c.get(block.mh)
                self.assertKind(reply, tlv.VALUE, block.text)
                self.assertEqual(reply.body, block.data)

    def summary(self, server, path, status=0, *flags):
        done = server.run("import", "--json", *flags, path)
        self.assertExit(done, status)
        return json.loads(done.stdout), done.stderr

    def test_a_repository_goes_in_whole_and_again_costs_no_reads(self):
        for function in ("next-to-last/2", "prefix/3", "suffix/2"):
            with self.subTest(function=function):
                server = self.daemon()
                repository = Repository(self.folder / function.replace("/", "-"), function)
                blocks = blocks_of(1, 700)
                for block in blocks:
                    repository.add(block)
                found, _ = self.summary(server, repository.root)
                self.assertEqual((found["blocks"], found["known"], found["bad"]), (700, 0, 0))
                self.assertEqual(found["bytes"], sum(len(b.data) for b in blocks))
                self.assertStored(server, blocks)
                # What is there is not even opened: the files may hold anything by now.
                for block in blocks[:650]:
                    repository.add(block, b"spoiled since")
                new = blocks_of(2, 30)
                for block in new:
                    repository.add(block)
                found, _ = self.summary(server, repository.blocks)
                self.assertEqual((found["blocks"], found["known"], found["bad"]), (30, 700, 0))
                self.assertStored(server, blocks + new)

    def test_damaged_files_are_named_and_left_out(self):
        server = self.daemon()
        repository = Repository(self.folder / "repo")
        sound, damaged = blocks_of(3, 100), blocks_of(4, 5)
        for block in sound:
            repository.add(block)
        torn = damaged[0].data[:-1]
        paths = [repository.add(b, d) for b, d in zip(damaged, (b"", torn, b"x", b"y", b"z"))]
        too_large = repository.add(raw_block(b"a name for"), bytes(5 << 20))
        strange = repository.blocks / "AA" / "what-is-this.data"
        strange.parent.mkdir(exist_ok=True)
        strange.write_bytes(b"no block")
        found, words = self.summary(server, repository.root, 4)
        self.assertEqual((found["blocks"], found["bad"]), (100, 6))
        for path in [*paths, too_large]:
            self.assertIn(f"{path.parent.name}/{path.name}", words)
        self.assertIn("1 files whose names are no block's", words)
        self.assertStored(server, sound)
        with tlv.Client(server.address) as c:
            for block in damaged:
                self.assertKind(c.get(block.mh), tlv.NOT_FOUND)
        done = server.run("import", "--on-error", "stop", repository.root)
        self.assertExit(done, 4)
        self.assertIn("stopped there", done.stderr)

    def test_pipes_are_not_waited_for_and_names_move_no_cursor(self):
        server = self.daemon()
        repository = Repository(self.folder / "repo")
        sound, pipe = blocks_of(31, 20), raw_block(b"never written")
        for block in sound:
            repository.add(block)
        path = repository.path(pipe)
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        found, words = self.summary(server, repository.root, 4)
        self.assertEqual((found["blocks"], found["bad"]), (20, 1))
        self.assertIn(path.name, words)
        sharding = repository.blocks / "SHARDING"
        sharding.unlink()
        os.mkfifo(sharding)
        self.assertExit(server.run("import", repository.root), 1)
        sharding.unlink()
        sharding.write_text("\x1b]0;title\x07\n")
        done = server.run("import", repository.root)
        self.assertExit(done, 1)
        self.assertNotIn("\x1b", done.stderr)
        folder = self.folder / "cars"
        folder.mkdir()
        os.mkfifo(folder / "a.car")
        (folder / "\x1b[31mb.car").write_bytes(b"no archive")
        done = server.run("import", folder)
        self.assertExit(done, 4)
        self.assertNotIn("\x1b", done.stdout + done.stderr)

    def test_old_repositories_name_files_by_cid(self):
        server = self.daemon()
        repository = Repository(self.folder / "repo")
        blocks = blocks_of(5, 20)
        for block in blocks:
            repository.add(block, name=block.cid)
        found, _ = self.summary(server, repository.root)
        self.assertEqual((found["blocks"], found["bad"]), (20, 0))
        self.assertStored(server, blocks)

    def test_what_is_no_repository_is_said_to_be_none(self):
        server = self.daemon()
        empty = self.folder / "empty"
        empty.mkdir()
        done = server.run("import", empty)
        self.assertExit(done, 1)
        self.assertIn("neither a Kubo repository", done.stderr)
        odd = Repository(self.folder / "odd")
        (odd.blocks / "SHARDING").write_text("/repo/flatfs/shard/v9/by-colour\n")
        done = server.run("import", odd.root)
        self.assertExit(done, 1)
        self.assertIn("by-colour", done.stderr)
        pebble = self.folder / "pebble"
        pebble.mkdir()
        (pebble / "datastore_spec").write_text('{"path":"pebbleds","type":"pebbleds"}')
        done = server.run("import", pebble)
        self.assertExit(done, 1)
        self.assertIn("pebbleds", done.stderr)

    def test_a_folder_of_archives_and_again(self):
        server = self.daemon()
        folder = self.folder / "cars"
        folder.mkdir()
        blocks = blocks_of(6, 900)
        for n in range(3):
            part = blocks[n * 300 : n * 300 + 300]
            (folder / f"{n}.car").write_bytes(content.car(part[:1], part))
        (folder / "notes.txt").write_text("not an archive")
        found, _ = self.summary(server, folder)
        self.assertEqual((found["blocks"], found["known"], found["bad"]), (900, 0, 0))
        self.assertStored(server, blocks)
        bad = blocks_of(7, 3)
        sections = [content.car_section(b.cid, b.data) for b in bad]
        sections[1] = content.car_section(bad[1].cid, bad[1].data + b"!")
        (folder / "1a.car").write_bytes(content.car_header([bad[0].cid]) + b"".join(sections))
        found, words = self.summary(server, folder, 4)
        self.assertEqual((found["blocks"], found["known"], found["bad"]), (2, 900, 1))
        self.assertIn(bad[1].text, words)
        self.assertEqual([f["known"] for f in found["files"]], [300, 300, 0, 300])

    def test_into_a_store_that_no_daemon_runs_on(self):
        repository = Repository(self.folder / "repo")
        blocks = blocks_of(8, 300)
        for block in blocks:
            repository.add(block)
        store = self.folder / "store"
        for known in (0, 300):
            done = daemon.run("import", "--store", store, "--json", repository.root)
            self.assertExit(done, 0)
            self.assertEqual(json.loads(done.stdout)["known"], known)
        server = self.daemon(store)
        self.assertStored(server, blocks)
        done = daemon.run("import", "--store", store, repository.root)
        self.assertNotEqual(done.returncode, 0, "a daemon runs on it")
        self.assertRegex(done.stderr, r"another process|pid \d+")
        self.assertExit(server.run("import", "--store", store, repository.root), 2)

    def test_cut_off_and_taken_up_again(self):
        """Killed at some moment, with its own daemon: what it had acknowledged is there, and the
        next run brings the rest.
        """
        repository = Repository(self.folder / "repo")
        blocks = blocks_of(9, 1500)
        for block in blocks:
            repository.add(block)
        store = self.folder / "store"
        words = [daemon.MILLRACE, "import", "--store", store, "--verbose", repository.root]
        with subprocess.Popen(
            [str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as first:
            stored = [first.stdout.readline().strip() for _ in range(200)]
            first.kill()
        self.assertTrue(all(re.fullmatch(r"b[a-z2-7]+", cid) for cid in stored))
        # Its daemon notices by itself, and lets go of the store.
        daemon.wait_for(lambda: not self.held(store), "the private daemon to end")
        done = daemon.run("import", "--store", store, "--json", repository.root)
        self.assertExit(done, 0)
        found = json.loads(done.stdout)
        self.assertGreaterEqual(found["known"], 200)
        self.assertEqual(found["known"] + found["blocks"], 1500)
        server = self.daemon(store)
        self.assertStored(server, blocks)

    def archives(self, folder):
        """Multihash -> bytes of all archives there; each block once."""
        found = {}
        for path in sorted(folder.glob("*.car")):
            self.assertLessEqual(path.stat().st_size, 1 << 20)
            for cid, data in content.car_blocks(path.read_bytes()):
                mh = content.cid_mh(cid)
                self.assertNotIn(mh, found)
                found[mh] = data
        return found

    def test_out_into_archives_that_are_added_to(self):
        server, out = self.daemon(), self.folder / "out"
        blocks = blocks_of(10, 400)
        (self.folder / "a.car").write_bytes(content.car(blocks[:1], blocks))
        self.assertExit(server.run("import", self.folder / "a.car"), 0)
        export = ("export", "--split", "1MiB", "-o", out)
        self.assertExit(server.run(*export), 0)
        self.assertEqual(self.archives(out), {b.mh: b.data for b in blocks})
        names = sorted(out.iterdir())
        self.assertGreater(len(names), 2)
        # An archive that never came about, and half of one: its blocks come again.
        names[1].rename(names[1].with_suffix(".car.part"))
        new = blocks_of(11, 50)
        (self.folder / "b.car").write_bytes(content.car(new[:1], new))
        self.assertExit(server.run("import", self.folder / "b.car"), 0)
        done = server.run(*export)
        self.assertExit(done, 0)
        self.assertIn("were there already", done.stderr)
        self.assertEqual(self.archives(out), {b.mh: b.data for b in blocks + new})
        before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
        self.assertExit(server.run(*export), 0)
        self.assertEqual({p: p.stat().st_mtime_ns for p in out.iterdir()}, before, "nothing to do")
        other = self.daemon()
        self.assertExit(other.run("import", out), 0)
        self.assertStored(other, blocks + new)
        whole = names[0].read_bytes()
        names[0].write_bytes(whole[:-1])
        done = server.run(*export)
        self.assertExit(done, 4)
        self.assertIn("is not whole", done.stderr)
        for flags in (("-o", "-"), ("--split", "10"), ("--dag",)):
            self.assertExit(server.run(*export, *flags), 2)

    def test_a_dag_out_into_archives_and_another_that_shares_with_it(self):
        server, out = self.daemon(), self.folder / "out"
        data, cids = random.Random(12).randbytes(5 << 20), []
        for name, part in (("one", data[: 4 << 20]), ("two", data)):
            (self.folder / name).write_bytes(part)
            done = server.run("add", "-Q", self.folder / name)
            self.assertExit(done, 0)
            cids.append(done.stdout.strip())
        done = server.run("export", "--split", "1MiB", "--dag", cids[0], "-o", out)
        self.assertExit(done, 0)
        self.assertEqual(len(self.archives(out)), 17)
        first = sorted(out.glob("*.car"))
        self.assertGreaterEqual(len(first), 5)
        root = base64.b32decode(cids[0][1:].upper() + "=" * (-len(cids[0][1:]) % 8))
        for path in first:
            self.assertIn(root, path.read_bytes()[:100])
        last = server.run("export", "--split", "1MiB", "--dag", cids[1], "-o", out)
        self.assertExit(last, 0)
        self.assertIn("16 were there already", last.stderr)
        self.assertEqual(len(self.archives(out)), 17 + 5)
        other = self.daemon()
        self.assertExit(other.run("import", out), 0)
        self.assertEqual(other.run("cat", cids[1], text=False).stdout, data)
        leaves = [raw_block(data[at : at + 262144]) for at in (0, 262144)]
        named = self.folder / "named"
        done = server.run(
            "export", "--split", "1MiB", *[leaf.text for leaf in leaves], "-o", named
        )
        self.assertExit(done, 0)
        self.assertEqual(self.archives(named), {leaf.mh: leaf.data for leaf in leaves})

    def file_and_parts(self, seed, size=1_600_000):
        """Returns: a root's CID, its file, and two archives that hold the DAG between them."""
        source = self.daemon()
        path, out = self.folder / f"{seed}", self.folder / f"out-{seed}"
        path.write_bytes(random.Random(seed).randbytes(size))
        done = source.run("add", "-Q", path)
        self.assertExit(done, 0)
        cid = done.stdout.strip()
        self.assertExit(source.run("export", "--split", "1MiB", "--dag", cid, "-o", out), 0)
        parts = sorted(out.glob("*.car"))
        self.assertEqual(len(parts), 2)
        return cid, path, parts

    def pins(self, server):
        done = server.run("pins", "--json")
        self.assertExit(done, 0)
        return {pin["cid"]: pin["mode"] for pin in json.loads(done.stdout)}

    def test_roots_are_pinned_and_a_collection_keeps_them(self):
        cid, path, parts = self.file_and_parts(20)
        for where in (parts, [parts[0].parent]):
            server = self.daemon()
            done = server.run("import", *where)
            self.assertExit(done, 0)
            self.assertEqual(done.stderr, "")
            self.assertIn("1 root pinned", done.stdout)
            self.assertEqual(self.pins(server), {cid: "recursive"})
            self.assertExit(server.run("put", "-", input="not kept"), 0)
            done = server.run("gc", "--grace", "0", "--json")
            self.assertExit(done, 0)
            self.assertEqual(json.loads(done.stdout)["blocks"], 1)
            self.assertEqual(server.run("cat", cid, text=False).stdout, path.read_bytes())
        left = self.daemon()
        self.assertExit(left.run("import", "--pin-roots=false", *parts), 0)
        self.assertEqual(self.pins(left), {})
        self.assertExit(left.run("gc", "--grace", "0"), 0)
        self.assertExit(left.run("has", cid), 3)
        self.assertExit(left.run("import", "--pin-roots", "maybe", *parts), 2)
        store = self.folder / "private"
        self.assertExit(daemon.run("import", "--store", store, *parts), 0)
        self.assertEqual(self.pins(self.daemon(store)), {cid: "recursive"})

    def test_a_root_that_is_not_whole_is_named_and_is_no_failure(self):
        cid, path, parts = self.file_and_parts(21)
        server = self.daemon()
        done = server.run("import", parts[0])
        self.assertExit(done, 0)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        data = path.read_bytes()
        leaves = [raw_block(data[at : at + 262144]) for at in range(0, len(data), 262144)]
        here = {content.cid_mh(c) for c, _ in content.car_blocks(parts[0].read_bytes())}
        first = next(leaf for leaf in leaves if leaf.mh not in here)
        self.assertIn(f"root {cid} is not pinned: {first.text} is not here", lines[0])
        self.assertIn("millrace pin", lines[0])
        self.assertEqual(self.pins(server), {})
        # A root of which there is nothing, one that is a whole block, and one that is inline.
        absent, whole = raw_block(b"nowhere"), raw_block(b"all of it")
        inline = bytes.fromhex("01550020") + bytes(32)
        (self.folder / "odd.car").write_bytes(
            content.car_header([absent.cid, whole.cid, inline])
            + content.car_section(whole.cid, whole.data)
        )
        found, words = self.summary(server, self.folder / "odd.car")
        self.assertIn(f"root {absent.text} is not pinned: {absent.text} is not here", words)
        self.assertEqual(len(words.splitlines()), 1, words)
        self.assertEqual(found["roots"][whole.text], {"pinned": True})
        self.assertIn(absent.text, found["roots"][absent.text]["why"])
        self.assertEqual(len(found["roots"]), 3)
        self.assertEqual(self.pins(server), {whole.text: "recursive"})
        # The rest comes: then it is whole.
        self.assertExit(server.run("import", parts[1]), 0)
        self.assertEqual(set(self.pins(server)), {whole.text, cid})

    def held(self, store):
        pid = int((store / "LOCK").read_text().strip() or 0)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return pid != 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    cases.main()
