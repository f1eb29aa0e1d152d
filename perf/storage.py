# SPDX-License-Identifier: MIT
"""storage — the rows of the disk: G11 (puts), G15 (reads), G19 (restart), and what churn costs.

fio is the floor (F12) with the same sizes, depth and kind of sync, in the same directory
(TMPDIR, else /var/tmp); F8 is SHA-256 and one copy. Kubo does the same jobs beside us, over its own
API; its acknowledgements are not durable, ours are.
"""
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import peers_ipfs
from measure import Broken, Missing, column, cpu_ns, free_port, ratios, rounds
from rows import SELF_MAX, Bed, finish, peer_or_none
from swarm import import_car

KIB, MIB = 1024, 1 << 20
SIZE = 256 * KIB


def disk_dir():
    return os.environ.get("TMPDIR", "/var/tmp")


# ---- fio -----------------------------------------------------------------------------------------

def fio(*flags, size, timeout=600):
    """One job on a file of its own, laid out before the clock starts. Returns: its read or write
    part."""
    if shutil.which("fio") is None:
        raise Missing("fio: tools/setup --perf installs it")
    with tempfile.TemporaryDirectory(prefix="millrace-fio-", dir=disk_dir()) as path:
        argv = ["fio", "--name=job", f"--filename={path}/file", f"--size={size}", "--direct=1",
                "--ioengine=io_uring", "--overwrite=1", "--cpus_allowed=0",
                "--output-format=json", *flags]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    part = job["write"] if job["write"]["total_ios"] else job["read"]
    return {"rate": part["iops"], "bytes_per_second": part["bw_bytes"]}


# ---- G11 -----------------------------------------------------------------------------------------

def g11_core(ctx):
    small = ["--quick"] if ctx.quick else []
    results, about = rounds(ctx.rounds_bench, {
        "floor": lambda: ctx.bench.run("floor_ingest", *small),
        "product": lambda: ctx.bench.run("bench_disk", "--what", 1, *small),
        "floor_again": lambda: ctx.bench.run("floor_ingest", *small)}, calm=ctx.calm, label="G11")
    name = "cpu_ns_per_byte"
    floors = [(a[name] + b[name]) / 2
              for a, b in zip(results["floor"], results["floor_again"])]
    itself = ratios(column(results["floor"], name), column(results["floor_again"], name))
    more = {**about, "floor_self": itself}
    if abs(itself["median"] - 1) > SELF_MAX and not ctx.quick:
        more["void"] = f"the floor against itself: {itself['median']:.3f}"
    yield finish("G11", "verified put, 256 KiB, a disk that is none: CPU", "ns/byte",
                 column(results["product"], name), floors, target_floor=1.15, **more)


def g11_durable(ctx):
    """Group commits are of 1 MiB, up to four at once: what fio is told to do."""
    blocks = 128 if ctx.quick else 4096
    shape = ["--what", 0, "--blocks", blocks, "--depth", 64, *(["--quick"] if ctx.quick else [])]
    total = max(blocks * SIZE, 8 * MIB)

    def floor():
        return fio("--rw=write", "--bs=1m", "--iodepth=4", "--sync=dsync", size=total)

    results, about = rounds(ctx.rounds_bench, {
        "floor": floor, "product": lambda: ctx.bench.run("bench_disk", *shape)},
        calm=False, label="G11 durable")
    yield finish("G11", "durable put, 256 KiB, 64 in flight, 1 core: rate", "bytes/s",
                 column(results["product"], "bytes_per_second"),
                 column(results["floor"], "bytes_per_second"), target_floor=0.8, sense=">=",
                 **about)


class KuboPuts:
    """block/put over Kubo's API, from as many threads as we have requests in flight."""

    def __init__(self, kubo):
        words = (kubo.repo / "api").read_text().strip().split("/")
        self.host, self.port, self.number = words[2], int(words[4]), 0

    def body(self, number):
        base = hashlib.sha256(b"%d" % number).digest() * (SIZE // 32)
        return (b'--b\r\nContent-Disposition: form-data; name="data"; filename="x"\r\n'
                b"Content-Type: application/octet-stream\r\n\r\n" + base + b"\r\n--b--\r\n")

    def put(self, bodies):
        api = http.client.HTTPConnection(self.host, self.port, timeout=60)
        for body in bodies:
            api.request("POST", "/api/v0/block/put?cid-codec=raw&pin=false", body,
                        {"Content-Type": "multipart/form-data; boundary=b"})
            answer = api.getresponse()
            words = answer.read()
            if answer.status != 200:
                raise Broken(f"block/put: {answer.status} {words[-200:]}")
        api.close()

    def run(self, count, threads=8):
        bodies = [self.body(self.number + i) for i in range(count)]
        self.number += count
        parts = [threading.Thread(target=self.put, args=(bodies[i::threads],))
                 for i in range(threads)]
        start = time.monotonic()
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        return {"rate": count / (time.monotonic() - start)}


def g11_kubo_put(ctx):
    with Bed(ctx.bench, ctx.out) as bed:
        product = bed.millrace("one")
        kubo = peer_or_none(peers_ipfs.KuboServer, "kubo")
        count = 64 if ctx.quick else 1000
        runs = {"product": lambda: ctx.bench.load(
            "tlv", product, "--conns", 8, "--depth", 1, "--size", SIZE, "--keys", 8, "--mix",
            "0:1", "--fill", "no", "--seed", int(time.time() * 1000), seconds=ctx.seconds * 2,
            warmup=0.2)}
        if kubo:
            bed.servers.append(kubo)
            puts = KuboPuts(kubo)
            runs["kubo"] = lambda: puts.run(count)
        results, about = rounds(ctx.rounds_bench, runs, calm=False, label="G11 block/put")
    yield finish("G11", "put, 256 KiB, 8 connections, one in flight each, 1 core: rate",
                 "blocks/s", column(results["product"], "rate"), None,
                 column(results["kubo"], "rate") if kubo else None, "kubo block/put", None, 10,
                 ">=", **about)


def g11_import(ctx):
    """The same archive into a fresh store of each, every round another one."""
    blocks = 200 if ctx.quick else 4000
    with Bed(ctx.bench, ctx.out) as bed:
        folder = tempfile.mkdtemp(prefix="millrace-perf-", dir=disk_dir())
        bed.dirs.append(folder)
        kubo = peer_or_none(peers_ipfs.KuboServer, "kubo")
        product = bed.millrace("two")
        if kubo:
            bed.servers.append(kubo)
        turn = {"seed": 1}

        def archive():
            path = os.path.join(folder, "blocks.car")
            argv = [ctx.bench.program("millrace-load"), "bitswap", "--to", "127.0.0.1:1", "--size",
                    str(SIZE), "--keys", str(blocks), "--seed", str(turn["seed"]), "--car", path]
            turn["seed"] += 1
            if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
                raise Broken(" ".join(argv))
            return path

        def timed(load):
            path = archive()
            start = time.monotonic()
            load(path)
            return {"rate": blocks * SIZE / (time.monotonic() - start)}

        def floor():
            result = ctx.bench.run("floor_ingest", "--blocks", blocks)
            return {"rate": result["rate"] * SIZE}

        runs = {"floor": floor,
                "product": lambda: timed(lambda path: import_car(ctx.bench, product, path))}
        if kubo:
            runs["kubo"] = lambda: timed(kubo.load)
        results, about = rounds(ctx.rounds_bench, runs, calm=False, label="G11 import")
    yield finish("G11", f"import of a CAR, {blocks:,} blocks of 256 KiB, 2 cores (floor: one "
                 "core's SHA-256): rate", "bytes/s", column(results["product"], "rate"),
                 column(results["floor"], "rate"),
                 column(results["kubo"], "rate") if kubo else None, "kubo dag import", None, 5,
                 ">=", **about)


def g11(ctx):
    for part in (g11_core, g11_durable, g11_kubo_put, g11_import):
        yield from part(ctx)


# ---- G15 -----------------------------------------------------------------------------------------

def g15(ctx):
    for size, depth, blocks in ((4 * KIB, 32, 262144), (SIZE, 16, 4096)):
        small = ["--quick"] if ctx.quick else []
        seconds = 1 if ctx.quick else 3
        total = 8 * MIB if ctx.quick else size * blocks

        def floor(size=size, depth=depth, total=total, seconds=seconds):
            return fio("--rw=randread", f"--bs={size}", f"--iodepth={depth}", "--norandommap",
                       "--time_based", f"--runtime={seconds}", size=total)

        def product(size=size, depth=depth, blocks=blocks, seconds=seconds, small=small):
            return ctx.bench.run("bench_disk", "--what", 2, "--size", size, "--depth", depth,
                                 "--blocks", blocks, "--seconds", seconds, *small)

        results, about = rounds(ctx.rounds_bench, {"floor": floor, "product": product},
                                calm=False, label=f"G15 {size // KIB} KiB")
        yield finish("G15", f"reads from the SSD tier, {size // KIB} KiB, {depth} in flight, "
                     "checked, 1 core: rate", "reads/s", column(results["product"], "rate"),
                     column(results["floor"], "rate"), target_floor=0.9, sense=">=", **about)


# ---- G19 -----------------------------------------------------------------------------------------

def block_of(number, size):
    return (number.to_bytes(8, "little") + bytes([number & 255]) * (size - 8))[:size]


def cid_of(data):
    import content  # tests/e2e, found by peers
    return content.raw_block(data).text


def first_answer(ctx, store, cid):
    """A daemon on the store, from nothing to the first block. Returns: it, seconds."""
    program, port = ctx.bench.program("millrace"), free_port()
    argv = [program, "serve", "--store", store, "--tlv", f"127.0.0.1:{port}"]
    start = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    while True:
        ask = [program, "get", "--to", f"127.0.0.1:{port}", cid]
        done = subprocess.run(ask, capture_output=True, check=False)
        if done.returncode == 0:
            return process, port, time.monotonic() - start
        if process.poll() is not None or time.monotonic() - start > 600:
            raise Broken(f"the daemon gave no answer: {done.stderr[-300:]!r}")
        time.sleep(0.002)


def start_after(ctx, store, cid, how):
    """One start, and an end as the next one needs it: how is a signal."""
    process, port, seconds = first_answer(ctx, store, cid)
    try:
        if how == signal.SIGKILL:  # in the middle of puts
            load = subprocess.Popen(
                [ctx.bench.program("millrace-load"), "tlv", "--to", f"127.0.0.1:{port}", "--conns",
                 "4", "--depth", "8", "--size", "4096", "--mix", "0:1", "--fill", "no", "--seed",
                 str(int(time.time() * 1000)), "--seconds", "20"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2)
            process.send_signal(how)
            load.kill()
            load.wait()
        else:
            process.send_signal(how)
        process.wait(120)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return seconds


def kubo_start(ctx, files):
    """Kubo on a flatfs of so many blocks: from nothing to the first block over its API."""
    kubo = peers_ipfs.KuboServer(None)
    try:
        kubo.stop_daemon()
        folder = kubo.repo / "blocks"
        for number in range(files):
            peers_ipfs.flatfs_add(folder, block_of(number, 64))
        cid = cid_of(block_of(1, 64))
        start = time.monotonic()
        kubo.start()
        if kubo.run("block", "get", cid, text=False) != block_of(1, 64):
            raise Broken("Kubo gave another block")
        return time.monotonic() - start
    finally:
        kubo.stop()


def g19(ctx):
    keys = 20000 if ctx.quick else 10_000_000
    count = 1 if ctx.quick else 3
    kubo_files = 1000 if ctx.quick else 100_000
    result = ctx.bench.run("fill_store", "--keys", keys, timeout=3600)
    store, cid = result["dir"], cid_of(block_of(1, 64))
    try:
        start_after(ctx, store, cid, signal.SIGTERM)
        clean = [start_after(ctx, store, cid, signal.SIGTERM) for _ in range(count)]
        start_after(ctx, store, cid, signal.SIGKILL)
        killed = [start_after(ctx, store, cid, signal.SIGKILL) for _ in range(count)]
    finally:
        shutil.rmtree(store, ignore_errors=True)
    theirs = peer_or_none(lambda: [kubo_start(ctx, kubo_files)], "kubo")
    for name, seconds, limit in (("in order", clean, 1), ("with kill -9 during puts", killed, 3)):
        yield finish("G19", f"start with {keys:,} blocks, ended {name}, to the first block", "s",
                     seconds, None, theirs, f"kubo flatfs, {kubo_files:,} blocks", limit=limit)


# ---- churn ---------------------------------------------------------------------------------------

def scrub(ctx, server):
    """One pass over everything. Returns: CPU of the daemon, ns for each byte."""
    before = cpu_ns(server.pid)
    done = subprocess.run([ctx.bench.program("millrace"), "scrub", "--admin", server.admin,
                           "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Broken(f"millrace scrub: {done.stderr.strip()[-400:]}")
    return (cpu_ns(server.pid) - before) / json.loads(done.stdout)["bytes"]


def reads_beside_a_scrub(ctx):
    """A load at a rate that the daemon carries easily, by itself and while one scrub after the
    other runs at the rate that operators get unless they set another; half of the reads come from
    the disk."""
    blocks = 512 if ctx.quick else 8192
    size, memory = 64 * KIB, blocks * 64 * KIB // 2
    with Bed(ctx.bench, ctx.out) as bed:
        server = bed.millrace("one", (f"store.memory={memory}", "store.segment_size=16MiB",
                                      "store.scrub_cycle_ssd=0"))

        def load(fill="no", seconds=None):
            return ctx.bench.load("tlv", server, "--size", size, "--keys", blocks, "--conns", 8,
                                  "--rate", 1500, "--poisson", "--fill", fill,
                                  seconds=seconds or max(1, ctx.seconds * 2))

        load(fill="yes", seconds=0.5)
        def scrubbed():
            over = threading.Event()

            def again():
                while not over.is_set():
                    scrub(ctx, server)

            scrubber = threading.Thread(target=again)
            scrubber.start()
            try:
                return load()
            finally:
                over.set()
                scrubber.join()

        results, about = rounds(ctx.rounds_bench, {"floor": load, "product": scrubbed}, calm=False,
                                label="CHURN scrub")
        costs = [scrub(ctx, server) for _ in range(ctx.rounds_bench)]
    yield finish("CHURN", "scrub of the daemon, nothing beside it: CPU", "ns/byte", costs)
    for name in ("p50_us", "p99_us"):
        yield finish("CHURN", f"reads of 64 KiB, half from the disk, 1500/s, 1 core, while it "
                     f"scrubs (floor: while it does not): {name[:3]}", "us",
                     column(results["product"], name), column(results["floor"], name), **about)


def churn(ctx):
    """Not of the release table: write and space amplification where most of a store is replaced
    again and again, and what it costs to check and to scrub a store."""
    result = ctx.bench.run("bench_churn", *(["--quick"] if ctx.quick else []), timeout=3600)
    yield finish("CHURN", f"{int(result['turns'])} times the live blocks replaced: bytes written "
                 "for each byte put", "ratio", [result["write_amplification"]])
    yield finish("CHURN", "of these, written by compaction", "ratio", [result["moved"]])
    yield finish("CHURN", "bytes on the disk for each live byte, at the end", "ratio",
                 [result["space_amplification"]])
    yield finish("CHURN", "check of everything: rate", "bytes/s", [result["check_rate"]],
                 cpu=result["check_cpu_ns_per_byte"])
    yield from reads_beside_a_scrub(ctx)
