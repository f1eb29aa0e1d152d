#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a pair of golden stores with the program of today: one closed in order, one killed.

usage: make.py NAME      NAME.clean.zst, NAME.killed.zst and their .list beside this file

A golden store is made once for each version of the format and never again: its point is that
programs of later days still open it. The two need `zstd` and a build (MILLRACE_BUILD).

In the archive, file after file: a line "NAME BYTES PAGES", then PAGES times the number of a page
(4 bytes, little-endian) and its 4 KiB. Pages of zeroes are left out. The list says of every block
its CID, its size, and whether it is there: "CID BYTES here|gone".
"""

import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

from daemon import Daemon, allowed_cpus, run  # noqa: E402

PAGE = 4096
SIZES = [0, 1, 63, 64, 65, 1000, 3952, 4096, 5000, 65536, 262144, 300001, 1048576, 2097152]
HASHES = [("sha2-256", "raw"), ("sha2-512", "raw"), ("blake2b-256", "dag-cbor"), ("sha1", "raw")]


def content(number, size):
    """Words in a drawn order: no two blocks are alike, and all of them pack well."""
    draw = random.Random(number)
    words = [b"%d " % draw.randrange(10**6) for _ in range(12)]
    start = b"block %d: " % number
    body = start + b"".join(draw.choice(words) for _ in range(40))
    return (body * (size // len(body) + 1))[:size]


def put(daemon, number, size, kind):
    hash_name, codec = kind
    answer = run(
        "put", "--to", daemon.to, "--mh", hash_name, "--codec", codec, "-",
        input=content(number, size), text=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.decode().strip()


def fill(daemon):
    """CID -> [bytes, here]. Two hundred small ones, some of every size, every fifth removed."""
    blocks = {}
    work = [(n, 100 + 7 * n, HASHES[0]) for n in range(200)]
    for size in SIZES:
        work += [(1000 + size + n, size, kind) for n, kind in enumerate(HASHES)]
    for number, size, kind in work:
        blocks[put(daemon, number, size, kind)] = [size, True]
    gone = list(blocks)[::5]
    assert run("rm", "--to", daemon.to, *gone).returncode == 0
    for cid in gone:
        blocks[cid][1] = False
    again = [item for item in work if item[1] == 3952]
    for number, size, kind in again:  # removed and put again, or put twice
        blocks[put(daemon, number, size, kind)] = [size, True]
    return blocks


def pack(directory, path):
    files = [directory / "SUPER", *sorted((directory / "ssd").iterdir())]
    out = bytearray()
    for file in files:
        data = file.read_bytes()
        pages = [n for n in range(len(data) // PAGE) if any(data[n * PAGE : (n + 1) * PAGE])]
        out += b"%s %d %d\n" % (str(file.relative_to(directory)).encode(), len(data), len(pages))
        for n in pages:
            out += n.to_bytes(4, "little") + data[n * PAGE : (n + 1) * PAGE]
    subprocess.run(["zstd", "-q", "-19", "-f", "-", "-o", path], input=out, check=True)


def make(name, killed):
    cpus = allowed_cpus()
    cores = ",".join(str(cpus[n % len(cpus)]) for n in range(2))
    with Daemon(flags=["--net-cores", cores, "--work-cores", cores, "--overcommit"]) as daemon:
        blocks = fill(daemon)
        if killed:
            daemon.kill()
        else:
            assert daemon.stop() == 0
        stem = f"{name}.{'killed' if killed else 'clean'}"
        pack(daemon.directory, HERE / f"{stem}.zst")
    lines = [f"{cid} {size} {'here' if here else 'gone'}\n" for cid, (size, here) in blocks.items()]
    (HERE / f"{stem}.list").write_text("".join(lines))


if __name__ == "__main__":
    if len(sys.argv) != 2 or list(HERE.glob(f"{sys.argv[1]}.*")):
        sys.exit(__doc__)
    for outcome in (False, True):
        make(sys.argv[1], outcome)
