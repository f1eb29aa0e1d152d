# SPDX-License-Identifier: MIT
"""What every file of interop cases shares: sizes, scratch, nodes and peers that end with a case."""

import os
import threading
import time

import blocks
import node
import peers

import cases
from daemon import wait_for  # noqa: F401, cases call it

KIB, MIB = 1 << 10, 1 << 20
SIZES = (1, KIB, 256 * KIB, MIB, 2 * MIB)
SECURITIES = ("noise", "tls")
# What takes long runs under the soak suite.
SOAK = os.environ.get("MILLRACE_INTEROP_SOAK", "") == "1"


class Case(cases.Case):
    """A case with a node under test and peers, all ended with it."""

    def node(self, *loaded, **more):
        """The node under test, started, with these CARs in it."""
        made = node.make(**more)
        self.addCleanup(self.give_back, made)
        made.start()
        for car in loaded:
            made.load(car)
        return made

    def kubo(self, *loaded, **more):
        made = self.peer(peers.Kubo(**more)).start()
        for car in loaded:
            made.load(car)
        return made

    def helia(self, **more):
        return self.peer(peers.Helia(**more))

    def go_server(self, *flags, **more):
        return self.peer(peers.GoServer(*flags, **more))

    def peer(self, made):
        self.addCleanup(self.give_back, made)
        return made

    def give_back(self, made):
        outcome = getattr(self, "_outcome", None)
        ended = made.process is not None and made.process.poll()
        if ended or (outcome is not None and not outcome.success):
            print(f"--- log of {type(made).__name__} (status {ended}):", flush=True)
            print(made.words()[-4000:], flush=True)
        made.discard()

    def sizes_car(self, seed):
        """A CAR with one block of every size; returns (path, {size: block})."""
        made = {size: next(blocks.seeded(f"{seed}-{size}", 1, size)) for size in SIZES}
        path = self.scratch() / "sizes.car"
        blocks.write_car(path, made.values())
        return path, made

    def seeded_car(self, seed, count, size):
        path = self.scratch() / "seeded.car"
        blocks.write_car(path, blocks.seeded(seed, count, size))
        return path

    def file_car(self, seed, size, chunk=blocks.CHUNK):
        """A CAR with the DAG of a file; returns (path, root)."""
        path = self.scratch() / "file.car"
        return path, blocks.car_of_file(path, seed, size, chunk)

    def cid_file(self, texts):
        path = self.scratch() / "cids"
        path.write_text("\n".join(texts) + "\n")
        return path

    def assertAnswered(self, said, count, kind="blocks"):
        """Every want was answered, with what was asked for and nothing else."""
        self.assertEqual((said[kind], said["lost"], said["unwanted"]), (count, 0, 0), said)

    def assertHoldsFile(self, under_test, root, seed, size, chunk=blocks.CHUNK):
        """The node under test has the whole DAG, and its leaves in order are the file. Returns
        the blocks.
        """
        held = under_test.dag_blocks(root, self.scratch())
        self.assertEqual(node.file_of(held, root), blocks.file_digest(seed, size, chunk))
        return held

    def report(self, words):
        print(f"     {self.id().split('.', 1)[1]}: {words}", flush=True)


class Background:
    """A call in a thread of its own; finish() returns what it did, or raises what it raised."""

    def __init__(self, work):
        self.value, self.problem = None, None
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()

    def run(self, work):
        try:
            self.value = work()
        except BaseException as problem:  # finish() raises it where somebody sees it
            self.problem = problem

    def finish(self):
        self.thread.join()
        if self.problem is not None:
            raise self.problem
        return self.value


class Clock:
    """with Clock() as c: ...; c.seconds."""

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began

    def rate(self, size):
        return f"{size / 1e6 / max(self.seconds, 1e-9):.0f} MB/s"
