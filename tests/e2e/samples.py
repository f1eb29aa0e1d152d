#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the samples of tools/up: a CAR with a small file tree, a plain file, and one block with
its CID.

usage: samples.py DIR     writes sample.car, plain.bin, block.bin and block.cid
"""

import random
import sys
from pathlib import Path

from content import CODEC_DAG_PB, Block, car, dag_pb, raw_block


def tree(seed, leaves, leaf_bytes):
    """(root, blocks) of a UnixFS file of that many raw leaves."""
    source = random.Random(seed)
    chunks = [raw_block(source.randbytes(leaf_bytes)) for _ in range(leaves)]
    sizes = b"".join(b"\x20" + Block.varint(leaf_bytes) for _ in chunks)
    inner = b"\x08\x02\x18" + Block.varint(leaves * leaf_bytes) + sizes
    root = Block(CODEC_DAG_PB, dag_pb([(chunk.cid, leaf_bytes) for chunk in chunks], inner))
    return root, [root, *chunks]


def main(folder):
    folder = Path(folder)
    root, blocks = tree(1, 16, 65536)
    (folder / "sample.car").write_bytes(car([root], blocks))
    (folder / "plain.bin").write_bytes(random.Random(2).randbytes(1_000_000))
    (folder / "block.bin").write_bytes(blocks[3].data)
    (folder / "block.cid").write_text(blocks[3].text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
