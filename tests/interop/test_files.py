#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files and directories: what add stores has the CIDs that Kubo gives it and is whole for Kubo;
what Kubo adds is whole for cat.
"""

import os
import random
import unittest

import interop
import node
import peers
from interop import MIB

import cases
import daemon

CHUNKERS = (
    "size-262144",
    "size-100000",
    "buzhash",
    "rabin",
    "rabin-16-1024-4096",
    "rabin-300000",
    "rabin-1000-1500-2000000",
)
FORMS = (
    ("--cid-version", "1"),
    ("--cid-version", "0"),
    ("--cid-version", "0", "--raw-leaves"),
)


def contents(source):
    """Noise, one byte over and over, text with repeats, and noise with holes, of some size."""
    size = source.randrange(1, 3 * MIB)
    noise = source.randbytes(size)
    yield noise
    yield source.randbytes(1) * size
    yield (source.randbytes(5000) * (size // 5000 + 1))[:size]
    hole = size // 3
    yield noise[:hole] + bytes(hole) + noise[2 * hole :]


def tree(top, source, depth=3):
    """Directories with files, links, empty ones and hidden ones."""
    top.mkdir()
    for i in range(source.randrange(1, 9)):
        name = f"{chr(source.randrange(0x20, 0x2E))}{source.randrange(1000)} {i}\u00e9"
        kind = source.randrange(6)
        if kind == 0 and depth > 0:
            tree(top / name, source, depth - 1)
        elif kind == 1:
            (top / name).symlink_to("../" * source.randrange(3) + "elsewhere")
        elif kind == 2:
            (top / f".{name}").write_bytes(b"hidden")
        else:
            (top / name).write_bytes(source.randbytes(source.randrange(600_000)))


def listing(top):
    """Path -> content of a tree, without what is hidden."""
    out = {}
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, top)
            if name.startswith("."):
                continue
            if os.path.islink(path):
                out[key] = os.readlink(path)
            elif os.path.isdir(path):
                out[key] = None
            else:
                with open(path, "rb") as file:
                    out[key] = file.read()
    return out


@unittest.skipIf(node.STAND_IN, "add and cat are commands of the node under test")
@peers.needs(peers.KUBO)
class Files(interop.Case):
    def add(self, server, *arguments):
        done = daemon.run("add", "-Q", "--to", server.to, *arguments, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def cat(self, server, root, *arguments):
        done = daemon.run("cat", "--to", server.to, root, *arguments, timeout=120, text=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_every_chunker_and_form_gives_the_cid_of_kubo(self):
        server, kubo = self.node(), self.peer(peers.Kubo())
        source = random.Random(5)
        path = self.scratch() / "content"
        for chunker in CHUNKERS:
            for i, data in enumerate(contents(source)):
                form = FORMS[i % len(FORMS)]
                with self.subTest(chunker=chunker, form=form, content=i, size=len(data)):
                    path.write_bytes(data)
                    flags = ("--chunker", chunker, *form)
                    theirs = kubo.run("add", "-Q", "--only-hash", *flags, path).strip()
                    self.assertEqual(self.add(server, *flags, path), theirs)
                    self.assertTrue(self.cat(server, theirs) == data)

    def test_directories_are_those_of_kubo_and_kubo_fetches_them_whole(self):
        server, kubo = self.node(), self.kubo()
        kubo.connect(server.peer_address)
        for seed in range(4):
            top = self.scratch() / "top"
            tree(top, random.Random(seed))
            form = FORMS[seed % len(FORMS)]
            with self.subTest(seed=seed, form=form):
                root = self.add(server, *form, top)
                self.assertEqual(root, kubo.run("add", "-rQ", "--only-hash", *form, top).strip())
                out = self.scratch() / "got"
                kubo.run("get", "--progress=false", "-o", out, root)
                self.assertEqual(listing(out), listing(top))

    def test_a_directory_spread_over_many_blocks_is_listed_by_kubo(self):
        server, kubo = self.node(), self.kubo()
        kubo.connect(server.peer_address)
        top = self.scratch() / "many"
        top.mkdir()
        source = random.Random(8)
        names = sorted({f"{source.getrandbits(80):x}.txt" for _ in range(7000)})
        for name in names:
            (top / name).write_text(name[:2])
        root = self.add(server, top)
        self.assertEqual(
            root, kubo.run("add", "-rQ", "--only-hash", "--cid-version", "1", top).strip()
        )
        listed = [line.split(" ", 2)[2] for line in kubo.run("ls", root).splitlines()]
        self.assertEqual(sorted(listed), names)

    def test_what_kubo_adds_is_whole_for_cat(self):
        server, kubo = self.node(), self.peer(peers.Kubo())
        source = random.Random(6)
        path, car = self.scratch() / "content", self.scratch() / "exported.car"
        for flags in (
            ("--cid-version", "1"),
            ("--cid-version", "0", "--chunker", "size-10000"),
            ("--cid-version", "1", "--raw-leaves=false"),
            ("--trickle", "--chunker", "size-5000"),
            ("--cid-version", "1", "--inline", "--inline-limit", "64", "--chunker", "size-50"),
        ):
            with self.subTest(flags=flags):
                data = source.randbytes(3 * MIB if "size-50" not in flags else 20_000)
                path.write_bytes(data)
                root = kubo.run("add", "-Q", *flags, path).strip()
                car.write_bytes(kubo.run("dag", "export", "--progress=false", root, text=False))
                server.load(car)
                self.assertTrue(self.cat(server, root) == data)
                at, count = source.randrange(len(data)), source.randrange(1, 100_000)
                part = self.cat(server, root, "--offset", str(at), "--length", str(count))
                self.assertTrue(part == data[at : at + count])


if __name__ == "__main__":
    cases.main()
