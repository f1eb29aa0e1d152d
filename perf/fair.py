# SPDX-License-Identifier: MIT
"""fair — G17: what Critical and High feel while Low floods, and whether shares hold.

Latency: 100 connections of Low offer twice what the layout can serve, 10 of Critical and 10 of High
a little, all open loop in one generator, latencies from intended times. Beside it the same Critical
and High load on the idle machine. Shares: all four classes closed loop with unequal connection
counts on one core, requests of each class counted by the daemon over ten seconds.
"""
import json
import subprocess
import time
from statistics import median

from measure import busy_now, column, cpu_ns, rounds
from rows import Bed, finish

CLASSES = ("critical", "high", "normal", "low")
SHARES = {"critical": 25, "high": 25, "normal": 33, "low": 17}
URGENT_RATE = 500  # requests/s of Critical, and of High: a little load, enough for a p99


def stat(bench, server):
    done = subprocess.run([bench.program("millrace"), "stat", "--json", "--admin", server.admin],
                          capture_output=True, text=True, timeout=20)
    return json.loads(done.stdout)


def class_of(result, name):
    """A class's part of the generator's result."""
    classes = result.get("classes", {})
    if isinstance(classes, list):
        classes = {c.get("class", c.get("name")): c for c in classes}
    return classes.get(name, {})


def g17(ctx):
    for layout, label in (("one", "1 core"), ("two", "2 cores")):
        yield from latency(ctx, layout, label)
    yield shares(ctx)


def latency(ctx, layout, label):
    size, keys = 1024, ctx.keys
    shape = ["--size", size, "--keys", keys, "--fill", "no"]
    urgent = f"critical=10@{URGENT_RATE},high=10@{URGENT_RATE}"
    with Bed(ctx.bench, ctx.out) as bed:
        server = bed.millrace(layout)
        load = ctx.bench.load
        load("tlv", server, "--conns", 10, "--depth", 16, "--size", size, "--keys", keys, "--fill",
             "yes", seconds=0.2)

        def turn():
            idle = load("tlv", server, *shape, "--conns", 20, "--class", urgent, "--rate",
                        2 * URGENT_RATE, seconds=ctx.seconds * 2)
            capacity = load("tlv", server, *shape, "--conns", 100, "--depth", 64, "--class", "low",
                            seconds=ctx.seconds, tolerate=True)["rate"]
            low = int(2 * capacity)
            flood = load("tlv", server, *shape, "--conns", 120, "--class",
                         f"{urgent},low=100@{low}", "--rate", low + 2 * URGENT_RATE,
                         seconds=ctx.seconds * 3, tolerate=True)
            found = {"capacity": capacity, "offered": low, "busy": flood.get("busy", 0),
                     "late": flood.get("late", 0), "low_done": class_of(flood, "low").get("rate")}
            for name in ("critical", "high"):
                found[name] = class_of(flood, name).get("p99_us")
                found[name + "_idle"] = class_of(idle, name).get("p99_us")
            return found

        results, about = rounds(ctx.rounds_fair, {"round": turn}, calm=ctx.calm, crowd=True,
                                label=f"G17 {label}")
    found = results["round"]
    for name, limit_us in (("critical", 10_000), ("high", 50_000)):
        p99, idle = column(found, name), column(found, name + "_idle")
        # Below 10 (50) ms, and at most twice the idle machine's plus 1 ms: the tighter of the two.
        bound = min(limit_us, 2 * median(idle) + 1000)
        yield finish("G17", f"{name} p99 while Low offers 2 x capacity, open loop, {label} (floor: "
                     "its idle-machine p99)", "us", p99, idle, limit=bound, **about,
                     capacity=median(column(found, "capacity")),
                     offered=median(column(found, "offered")),
                     low_done=median(column(found, "low_done")),
                     low_busy=sum(column(found, "busy")), late=sum(column(found, "late")))


def shares(ctx):
    size, seconds = 1024, 2 if ctx.quick else 10
    conns = {"critical": 10, "high": 20, "normal": 40, "low": 100}
    with Bed(ctx.bench, ctx.out) as bed:
        server = bed.millrace("one")
        ctx.bench.load("tlv", server, "--conns", 10, "--size", size, "--keys", ctx.keys, "--fill",
                       "yes", seconds=0.2)
        weights = ",".join(f"{name}={count}" for name, count in conns.items())
        taken = {}
        noisy = ctx.calm and busy_now() > 0.2

        def look():
            first, cpu, start = stat(ctx.bench, server), cpu_ns(server.pid), time.monotonic()
            time.sleep(seconds)
            second, cpu_end = stat(ctx.bench, server), cpu_ns(server.pid)
            taken["busy"] = (cpu_end - cpu) / 1e9 / (time.monotonic() - start)
            for a, b in zip(first["classes"], second["classes"]):
                taken[a["class"]] = b["done"] - a["done"]

        ctx.bench.load_while("tlv", server, look, "--conns", sum(conns.values()), "--depth", 64,
                             "--class", weights, "--size", size, "--keys", ctx.keys, "--fill", "no",
                             "--verify", "no", seconds=seconds + 4, warmup=0.5, look_after=2)
    total = sum(taken[name] for name in CLASSES) or 1
    got = {name: 100 * taken[name] / total for name in CLASSES}
    worst = max(abs(got[name] - SHARES[name]) for name in CLASSES)
    more = {"shares": {k: round(v, 2) for k, v in got.items()}, "server_busy": taken["busy"]}
    if noisy:
        more["void"] = "the machine was not ours"
    if taken["busy"] < 0.95:
        more["void"] = f"the server was only {taken['busy']:.0%} busy: not all were backlogged"
    return finish("G17", f"shares 25/25/33/17, all classes backlogged for {seconds} s, 1 core: "
                  "largest difference", "points", [worst], limit=2, **more)
