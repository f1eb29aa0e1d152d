#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a pair of golden stores with the program of today: one closed in order, one killed.

usage: make.py NAME      NAME.clean.zst, NAME.killed.zst and their .list beside this file

A golden store is made once for each version of the format and never again: its point is that
programs of later days still open it. The two need `zstd` and a build (MILLRACE_BUILD).

In the archive, file after file: a line "NAME BYTES PAGES", then PAGES times the number of a page
(4 bytes, little-endian) and its 4 KiB. Pages of zeroes are left out. The list says of every block
its CID, its size, and whether it is there: "CID BYTES here|gone|pinned".

What was in the stores of 1.0 is in those of later days: blocks of every size and hash, some of
them removed. Beside them: pins, some of them ended; blocks put all or nothing; and a slow tier onto
which blocks went compressed.
"""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

from daemon import Daemon, allowed_cpus, run, wait_for  # noqa: E402

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


def pin(daemon, blocks):
    here = [cid for cid in blocks if blocks[cid][1] == "here" and blocks[cid][0] > 0]
    for n, cid in enumerate(here[3:60:7]):
        words = ["--admin", daemon.admin_path, "--direct", "--name", f"pin {n}", cid]
        assert run("pin", *words).returncode == 0
        if n % 3 == 2:
            assert run("unpin", "--admin", daemon.admin_path, cid).returncode == 0
        else:
            blocks[cid][1] = "pinned"


def put_together(daemon, blocks):
    """All or nothing, several times."""
    with tempfile.TemporaryDirectory() as folder:
        for bundle in range(6):
            files = [Path(folder) / f"{bundle}.{n}" for n in range(5)]
            for n, file in enumerate(files):
                file.write_bytes(content(5000 + bundle * 10 + n, 900 + 2000 * n))
            answer = run("put", "--to", daemon.to, "--atomic", *files)
            assert answer.returncode == 0, answer.stderr
            cids = [line.split()[0] for line in answer.stdout.splitlines()]
            for cid, file in zip(cids, files, strict=True):
                blocks[cid] = [file.stat().st_size, "here"]


def fill_slow(daemon, blocks):
    """More than the fast tier takes; until some of it was compressed on its way to the slow one."""
    for n in range(60):
        blocks[put(daemon, 9000 + n, 400_000, HASHES[0])] = [400_000, "here"]
    def moved():
        return daemon.ask("stat")["store"]["upkeep"]["zipped_blocks"] > 0

    wait_for(moved, "moves to the slow tier", 120)


def fill(daemon):
    """CID -> [bytes, here]. Two hundred small ones, some of every size, every fifth removed."""
    blocks = {}
    work = [(n, 100 + 7 * n, HASHES[0]) for n in range(200)]
    for size in SIZES:
        work += [(1000 + size + n, size, kind) for n, kind in enumerate(HASHES)]
    for number, size, kind in work:
        blocks[put(daemon, number, size, kind)] = [size, "here"]
    gone = list(blocks)[::5]
    assert run("rm", "--to", daemon.to, *gone).returncode == 0
    for cid in gone:
        blocks[cid][1] = "gone"
    again = [item for item in work if item[1] == 3952]
    for number, size, kind in again:  # removed and put again, or put twice
        blocks[put(daemon, number, size, kind)] = [size, "here"]
    pin(daemon, blocks)
    put_together(daemon, blocks)
    fill_slow(daemon, blocks)
    return blocks


def pack(directory, path):
    files = [directory / name for name in ("SUPER", "GONE") if (directory / name).exists()]
    for tier in "ssd", "hdd":
        files += sorted((directory / tier).iterdir())
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
    flags = ["--net-cores", cores, "--work-cores", cores, "--overcommit", "--memory", "1MiB"]
    tiers = ["--ssd", "ssd:40MiB", "--hdd", "hdd"]
    with Daemon(flags=[*flags, *tiers]) as daemon:
        blocks = fill(daemon)
        if killed:
            daemon.kill()
        else:
            assert daemon.stop() == 0
        stem = f"{name}.{'killed' if killed else 'clean'}"
        pack(daemon.directory, HERE / f"{stem}.zst")
    lines = [f"{cid} {size} {word}\n" for cid, (size, word) in blocks.items()]
    (HERE / f"{stem}.list").write_text("".join(lines))


if __name__ == "__main__":
    if len(sys.argv) != 2 or list(HERE.glob(f"{sys.argv[1]}.*")):
        sys.exit(__doc__)
    for outcome in (False, True):
        make(sys.argv[1], outcome)
