# SPDX-License-Identifier: MIT
"""Content that every peer of these tests can make for itself, and DAGs over it."""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import content  # noqa: E402
from content import (  # noqa: E402
    CODEC_DAG_PB,
    Block,
    car_header,
    car_section,
    dag_pb,
    raw_block,
    varint,
)

CHUNK, FANOUT = 256 << 10, 174  # as Kubo's importer lays a file out


def seeded(seed, count, size):
    """Raw blocks; the Go and the JavaScript peer make the same from the same words."""
    for index in range(count):
        yield raw_block(hashlib.shake_128(f"{seed}/{index}".encode()).digest(size))


def file_node(children):
    """A UnixFS file node over (cid, bytes of the file under it, bytes of the DAG under it)."""
    inner = b"\x08\x02\x18" + varint(sum(c[1] for c in children))
    inner += b"".join(b"\x20" + varint(c[1]) for c in children)
    node = Block(CODEC_DAG_PB, dag_pb([(c[0], c[2]) for c in children], inner))
    total = len(node.data) + sum(c[2] for c in children)
    return node, (node.cid, sum(c[1] for c in children), total)


def file_dag(seed, size, chunk=CHUNK):
    """Yields the blocks of a file of that many bytes, leaves first, its root last."""
    level = []
    for index in range((size + chunk - 1) // chunk):
        length = min(chunk, size - index * chunk)
        leaf = raw_block(hashlib.shake_128(f"{seed}/{index}".encode()).digest(length))
        yield leaf
        level.append((leaf.cid, length, length))
    while True:
        above = []
        for at in range(0, len(level), FANOUT):
            node, entry = file_node(level[at : at + FANOUT])
            yield node
            above.append(entry)
        if len(above) == 1:
            return
        level = above


def file_digest(seed, size, chunk=CHUNK):
    """SHA-256 of the file that file_dag() lays out."""
    whole = hashlib.sha256()
    for index in range((size + chunk - 1) // chunk):
        length = min(chunk, size - index * chunk)
        whole.update(hashlib.shake_128(f"{seed}/{index}".encode()).digest(length))
    return whole.hexdigest()


def write_car(path, blocks, root=None):
    """Writes a CARv1 of these blocks; the root named in it is the one given, else the last block.
    Returns the CIDs, as text, in order.
    """
    names, last = [], None
    header = len(car_header([bytes(36)]))
    with open(path, "wb") as out:
        out.write(bytes(header))
        for block in blocks:
            out.write(car_section(block.cid, block.data))
            names.append(block.text)
            last = block
        out.seek(0)
        out.write(car_header([root or last.cid]))
    return names


def car_of_file(path, seed, size, chunk=CHUNK):
    """The CAR of a file's DAG; returns its root as text."""
    return write_car(path, file_dag(seed, size, chunk))[-1]


def cids(blocks):
    return [content.cid_text(b.cid) for b in blocks]
