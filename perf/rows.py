# SPDX-License-Identifier: MIT
"""rows — what each row of the release table runs, and what it divides by what.

Every function yields finished rows (dicts); the table's numbers and targets are DESIGN's section 9,
repeated in docs/performance.md. Units: product, floor and peer are medians over rounds in the unit
the job names; div_floor and div_peer are medians of per-round ratios, product over the other.
"""
import json
import os
import shutil
import subprocess
import tempfile
import time
from statistics import median

from measure import (Broken, Missing, Server, column, cpu_ns, free_port, ratios, rounds, rss_bytes,
                     say, spread)

SELF_MAX = 0.05  # the floor against itself may differ by so much, else the row is void


def finish(row, job, unit, product, floor=None, peer=None, peer_name=None, target_floor=None,
           target_peer=None, sense="<=", sense_peer=None, **more):
    """One row out of per-round columns. `met` is None where something needed was not measured."""
    sense_peer = sense_peer or sense
    out = {"row": row, "job": job, "unit": unit, "peer_name": peer_name,
           "target_floor": target_floor, "target_peer": target_peer,
           "sense_floor": sense, "sense_peer": sense_peer, "rounds": len(product)}
    for name, values in (("product", product), ("floor", floor), ("peer", peer)):
        s = spread(values or [])
        out[name] = s["median"] if s else None
    for name, values in (("div_floor", floor), ("div_peer", peer)):
        s = ratios(product, values or [])
        out[name] = s["median"] if s else None
        out[name + "_min"], out[name + "_max"] = (s["min"], s["max"]) if s else (None, None)
    out.update(more)
    out["met"] = judge(out)
    return out


def judge(row):
    verdict = True
    tests = [(row["div_floor"], row["target_floor"], row["sense_floor"]),
             (row["div_peer"], row["target_peer"], row["sense_peer"]),
             (row["product"], row.get("limit"), row.get("sense_limit", "<="))]
    for value, target, sense in tests:
        if target is None:
            continue
        if value is None:
            verdict = None if verdict else verdict
        elif not (value <= target if sense == "<=" else value >= target):
            verdict = False
    if row.get("void") or all(target is None for _, target, _ in tests):
        return None
    return verdict


def absent(row, job, why):
    say(f"!! {row}: {job}: NOT MEASURED: {why}")
    return {"row": row, "job": job, "unit": None, "product": None, "floor": None, "peer": None,
            "peer_name": None, "div_floor": None, "div_peer": None, "target_floor": None,
            "target_peer": None, "met": None, "missing": why}


# ---- servers -------------------------------------------------------------------------------------

LAYOUTS = {  # name: CPUs of the process, core lists
    "one": ("0", ("0", "0", "0", "0")),
    "two": ("0,1", ("0-1", "0-1", "1", "1")),
    "load": ("1", ("1", "1", "1", "1")),  # where the generator is else
}


class Bed:
    """The servers of a row, started on demand and stopped together."""

    def __init__(self, bench, out):
        self.bench, self.out, self.servers, self.dirs = bench, out, [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.stop()
        for path in self.dirs:
            shutil.rmtree(path, ignore_errors=True)

    def start(self, name, argv, port, cpus="0"):
        server = Server(name, argv, port, cpus, self.out)
        self.servers.append(server)
        return server

    def drop(self, server):
        """Stops one of them, and forgets its store."""
        server.stop()
        self.servers.remove(server)
        path = os.path.dirname(server.admin)
        shutil.rmtree(path, ignore_errors=True)
        self.dirs.remove(path)

    def millrace(self, layout="one", settings=(), peers=False):
        """A daemon on a fresh store. peers: it listens for IPFS peers, and its port is theirs."""
        program = self.bench.program("millrace")
        path = tempfile.mkdtemp(prefix="millrace-perf-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.dirs.append(path)
        port = free_port()
        cpus, (net, work, sched, ctl) = LAYOUTS[layout]
        argv = [program, "serve", "--store", path, "--tlv", f"127.0.0.1:{port}",
                "--net-cores", net, "--work-cores", work, "--sched-core", sched,
                "--ctl-core", ctl]
        if peers:
            argv += ["--bitswap", "127.0.0.1:0"]
        for setting in ("store.memory=1GiB", *settings):
            argv += ["--set", setting]
        server = self.start("millrace", argv, port, cpus)
        server.admin = os.path.join(path, "admin.sock")
        server.tlv = f"127.0.0.1:{port}"
        if peers:
            server.address = self.address(program, server.admin)
            server.port = int(server.address.split("/")[4])
        return server

    @staticmethod
    def address(program, admin):
        """Where peers may dial a daemon."""
        end = time.monotonic() + 10
        while True:  # the admin socket comes a moment after the listeners
            done = subprocess.run([program, "id", "--admin", admin, "--json"],
                                  capture_output=True, text=True)
            if done.returncode == 0 or time.monotonic() > end:
                break
            time.sleep(0.05)
        if done.returncode != 0:
            raise Broken(f"millrace id: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)["addrs"][0]

    def floor(self, size, keys, cpus="0", copies=True):
        """The echo floor: replies of the product's length, one constant or copied from a table."""
        port = free_port()
        argv = [self.bench.program("floor_echo"), "--port", str(port), "--size", str(size)]
        if copies:
            argv += ["--keys", str(keys)]
        return self.start("floor_echo", argv, port, cpus)

    def redis(self):
        port = free_port()
        return self.start("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1",
                                    "--save", "", "--appendonly", "no", "--maxclients", "20000",
                                    "--protected-mode", "no", "--daemonize", "no"], port)

    def memcached(self):
        port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return self.start("memcached", ["memcached", *user, "-l", "127.0.0.1", "-p", str(port),
                                        "-t", "1", "-m", "512", "-c", "20000", "-b", "4096"], port)


MODES = {"millrace": "tlv", "floor_echo": "echo", "redis": "resp", "memcached": "memcache"}


def peer_or_none(start, name):
    try:
        return start()
    except Missing as why:
        say(f"!! peer {name} is missing, its column stays '-': {why}")
        return None


# ---- rows over sockets ---------------------------------------------------------------------------

def tlv_runs(ctx, bed, size, conns, depth, peers, more=()):
    """Starts and fills what a GET row compares. Returns: columns for rounds(), probe.

    With depth the floor copies its bodies from a table as large as the product's (G3); at depth 1
    it sends one constant reply (F1, F2)."""
    keys = ctx.keys
    servers = {"floor": bed.floor(size, keys, copies=depth > 1),
               "product": bed.millrace("one", more_settings(conns))}
    for name in peers:
        servers[name] = peer_or_none(getattr(bed, name), name)
    shape = ["--conns", conns, "--depth", depth, "--size", size, "--keys", keys]
    shape += ["--sources", 4] if conns > 1000 else []

    def run(server, fill="no"):
        mode = MODES[server.name]
        extra = [] if mode == "echo" else ["--fill", fill]
        # With many connections a second holds few turns of each: take two.
        seconds = (ctx.seconds if conns <= 1000 else 2 * ctx.seconds) if fill == "no" else 0.2
        return ctx.bench.load(mode, server, *shape, *extra, *more, seconds=seconds, warmup=0.5)

    columns = {}
    for name, server in servers.items():
        if server is None:
            continue
        run(server, "yes")
        columns[name] = lambda server=server: run(server)
    columns["floor_again"] = columns["floor"]
    echo = servers["floor"]

    def probe():
        result = ctx.bench.load("echo", echo, "--conns", 1, "--depth", 1, "--size", size,
                                "--rate", 400, seconds=0.25, warmup=0.1)
        return result["p99_us"]

    return columns, probe


def more_settings(conns):
    return ("net.connections_max=12000",) if conns > 1000 else ()


def cpu_rows(ctx, row, size, conns, depth, peers, cpu_target, rate_target, peer_targets):
    """CPU per request against floor and each peer, and the rate against the floor."""
    job = f"TLV GET {size} B, {conns} conns, depth {depth}, 1 core"
    with Bed(ctx.bench, ctx.out) as bed:
        columns, probe = tlv_runs(ctx, bed, size, conns, depth, peers)
        results, about = rounds(ctx.rounds, columns, probe, ctx.calm, label=job)
    product = results["product"]
    floors = list(zip(results["floor"], results["floor_again"]))
    floor_cpu = [mean(a["cpu_us"], b["cpu_us"]) for a, b in floors]
    floor_rate = [mean(a["rate"], b["rate"]) for a, b in floors]
    itself = spread([a["cpu_us"] / b["cpu_us"] for a, b in floors if a["cpu_us"] and b["cpu_us"]])
    more = {**about, "floor_self": itself,
            "busy": sum(r.get("busy", 0) for r in product),
            "server_busy": median([r["cpu_us"] * r["rate"] / 1e6 for r in product])}
    if itself and abs(itself["median"] - 1) > SELF_MAX:
        more["void"] = f"the floor against itself: {itself['median']:.3f}"
    first = True
    for name in peers or [None]:
        theirs = results.get(name)
        yield finish(row, job + ": server CPU", "us/request", column(product, "cpu_us"),
                     floor_cpu, column(theirs, "cpu_us") if theirs else None, name,
                     cpu_target if first else None, peer_targets.get(name), **more)
        first = False
    if rate_target:
        theirs = results.get(peers[0]) if peers else None
        yield finish(row, job + ": rate", "requests/s", column(product, "rate"), floor_rate,
                     column(theirs, "rate") if theirs else None, peers[0] if peers else None,
                     rate_target, None, ">=", **more)


def mean(a, b):
    return (a + b) / 2 if a is not None and b is not None else None


def g2(ctx):
    for size in (64, 1024):
        yield from cpu_rows(ctx, "G2", size, 50, 1, ["redis", "memcached"], 1.10, 0.95,
                            {"redis": 0.80, "memcached": 0.90})


def g3(ctx):
    for depth, targets, peer in ((16, {64: 1.35, 1024: 1.25}, 0.45),
                                 (64, {64: 2.0, 1024: 1.6}, 0.32)):
        for size in (64, 1024):
            yield from cpu_rows(ctx, "G3", size, 50, depth, ["redis"], targets[size], None,
                                {"redis": peer})


def g6(ctx):
    yield from cpu_rows(ctx, "G6", 64, 10000, 1, ["redis", "memcached"], None, 0.85,
                        {"redis": 0.6, "memcached": 0.6})


def g14(ctx):
    job = "idle machine, first reply, p50, 1 connection at 100/s, net and work on 1 core"
    with Bed(ctx.bench, ctx.out) as bed:
        floor, product = bed.floor(64, 0, copies=False), bed.millrace("one")
        shape = ["--conns", 1, "--depth", 1, "--size", 64, "--keys", 1000]
        ctx.bench.load("tlv", product, *shape, "--fill", "yes", seconds=0.2)

        def run(mode, server):
            extra = [] if mode == "echo" else ["--fill", "no"]
            return ctx.bench.load(mode, server, *shape, *extra, "--rate", 100,
                                  seconds=max(ctx.seconds, 2), warmup=0.2)

        results, about = rounds(ctx.rounds, {
            "floor": lambda: run("echo", floor), "product": lambda: run("tlv", product),
            "floor_again": lambda: run("echo", floor)}, calm=ctx.calm, label="G14")
    floors = [mean(a["p50_us"], b["p50_us"])
              for a, b in zip(results["floor"], results["floor_again"])]
    itself = ratios(column(results["floor"], "p50_us"), column(results["floor_again"], "p50_us"))
    more = {**about, "floor_self": itself}
    if abs(itself["median"] - 1) > SELF_MAX:
        more["void"] = f"the floor against itself: {itself['median']:.3f}"
    yield finish("G14", job, "us", column(results["product"], "p50_us"), floors,
                 target_floor=1.15, **more)


# ---- rows in one process -------------------------------------------------------------------------

PUBLISHED_RATE = 471e3  # wants/s, in process, Go, 8 cores: the figure


def g1(ctx):
    small = ["--quick"] if ctx.quick else []
    results, about = rounds(ctx.rounds_bench, {
        "floor": lambda: ctx.bench.run("floor_want", "--batch", 16, *small),
        "product": lambda: ctx.bench.run("bench_pipeline", *small),
        "floor_again": lambda: ctx.bench.run("floor_want", "--batch", 16, *small)},
        calm=ctx.calm, label="G1")
    product = results["product"]
    floors = [mean(a["rate"], b["rate"]) for a, b in zip(results["floor"], results["floor_again"])]
    published = [PUBLISHED_RATE] * len(product)
    keys = int(product[0]["keys"])
    job = f"in-process want, 64 B, {keys:,} keys, whole pipeline"
    for batch in (16, 64, 1):
        gate = batch != 1
        yield finish("G1", f"{job}, batch {batch}: rate", "wants/s",
                     column(product, f"b{batch}_rate"), floors if gate else None, published,
                     "published 471k/s at 2.3 us (Go, 8 cores)", 0.5 if gate else None,
                     15 if gate else None, ">=", **about,
                     ns=median(column(product, f"b{batch}_ns")),
                     p50_ns=median(column(product, f"b{batch}_p50_ns")),
                     p99_ns=median(column(product, f"b{batch}_p99_ns")))
    yield finish("G1", f"{job}: heap calls", "calls", column(product, "b16_heap_calls"), limit=0,
                 heap_bytes_per_op=max(column(product, "b16_heap_bytes_per_op")))


def g12(ctx):
    small = ["--quick"] if ctx.quick else []
    runs = {"floor": lambda: ctx.bench.run("floor_handoff", *small),
            "product": lambda: ctx.bench.run("bench_ring", *small)}
    try:
        ctx.bench.program("bench_boost")
        runs["peer"] = lambda: ctx.bench.run("bench_boost", *small)
    except Missing as why:
        say(f"!! peer boost is missing, its column stays '-': {why}")
    results, about = rounds(ctx.rounds_bench, runs, calm=ctx.calm, label="G12")
    product, floor, peer = results["product"], results["floor"], results.get("peer")
    job = "hand-off between 2 cores"
    yield finish("G12", f"{job}, burst 32, one to one: time", "ns/item",
                 column(product, "ns_per_item"), column(floor, "ns_per_item"),
                 target_floor=1.5, **about)
    yield finish("G12", f"{job}, burst 32, one to one: rate", "items/s", column(product, "rate"),
                 None, column(peer, "rate") if peer else None, "boost::lockfree::queue", None, 20,
                 ">=", **about)
    yield finish("G12", f"{job}, containers of 64, many to many: rate", "items/s",
                 column(product, "container_rate"), column(floor, "rate"),
                 column(peer, "rate") if peer else None, "boost::lockfree::queue", None, 20, ">=",
                 **about)
    yield finish("G12", f"{job}, one item there and back", "ns", column(product, "rtt_ns"),
                 column(floor, "rtt_ns"), column(peer, "rtt_ns") if peer else None,
                 "boost::lockfree::queue", **about)


def g13(ctx):
    small = ["--quick"] if ctx.quick else []
    results, about = rounds(ctx.rounds_bench, {
        "product": lambda: ctx.bench.run("bench_ring", *small),
        "peer": lambda: ctx.bench.run("bench_ck", "--pairs", 4, *small)},
        calm=ctx.calm, crowd=True, label="G13")
    product, peer = results["product"], results["peer"]
    yield finish("G13", "hand-off, 4 writers and 4 readers on 2 CPUs, containers of 64 (floor: own "
                 "1:1)", "items/s", column(product, "crowd_rate"),
                 column(product, "container_rate"), column(peer, "rate"),
                 "one ck MPMC ring, item by item", 0.5, 20, ">=", **about,
                 worst_push_us=max(column(product, "crowd_worst_push_us")),
                 peer_worst_push_us=max(column(peer, "worst_push_us")))


def g18(ctx):
    keys = 20000 if ctx.quick else 10_000_000
    result = ctx.bench.run("bench_catalog", "--keys", keys, "--memory-mib", 0, "--size", 8,
                           *(["--quick"] if ctx.quick else []), timeout=1800)
    yield finish("G18", f"index memory at {int(result['keys']):,} blocks", "bytes/block",
                 [result["index_bytes_per_block"]], limit=20, find_ns=result["find_ns"],
                 have_ns=result["have_ns"], find_single_ns=result["find_single_ns"])


def g20(ctx):
    conns = 10000
    with Bed(ctx.bench, ctx.out) as bed:
        # A small daemon's memory is what the process costs without its connections: the difference
        # then holds what a connection was given at boot as well as what it touched since.
        # Both have served a little first, so that what blocks and first requests touch is in both.
        shape = ["--depth", 1, "--size", 64, "--keys", 100]

        def served(conns_max):
            server = bed.millrace("one", (f"net.connections_max={conns_max}",))
            ctx.bench.load("tlv", server, "--conns", 40, *shape, "--fill", "yes", seconds=0.5)
            time.sleep(1)
            return server, rss_bytes(server.pid)

        _, bare = served(64)
        server, before = served(12000)
        taken = {}

        def look():
            taken["after"] = rss_bytes(server.pid)
            taken["cpu"] = cpu_ns(server.pid)

        ctx.bench.load_while("tlv", server, look, "--conns", conns, *shape, "--fill", "no",
                             "--rate", 10, "--sources", 4, seconds=6, warmup=3, look_after=7)
    after = taken["after"]
    touched = (after["rss"] - before["rss"]) / conns
    with_boot = (after["rss"] - bare["rss"]) / conns
    yield finish("G20", f"memory per idle TLV connection of {conns:,}, beyond the kernel's",
                 "bytes", [max(touched, with_boot)], limit=512, touched_bytes=touched,
                 with_boot_bytes=with_boot, pss_bytes=(after["pss"] - before["pss"]) / conns,
                 rss_mib=after["rss"] / 2**20)
