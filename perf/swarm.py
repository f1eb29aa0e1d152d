# SPDX-License-Identifier: MIT
"""swarm — the rows over Bitswap: G9 (blocks served), G10 (connections), and G20's part for peers.

Kubo and Helia hold the same blocks and answer the same generator in the same rounds. The floor of
sealed bytes is a program of its own (floor_seal), that of handshakes their bare maths
(floor_handshake).
"""
import json
import os
import subprocess
import tempfile
import time

import peers_ipfs
import rows
from measure import (LOAD_CPU, Broken, Missing, column, cpu_ns, ratios, rounds, rss_bytes, say,
                     spread)
from rows import SELF_MAX, Bed, finish, mean, peer_or_none

KIB = 1024
# shape: block bytes, wants in flight, blocks there are. Targets: server CPU against the floor's and
# against Kubo's; p50 against Kubo's.
SHAPES = {
    "256 KiB, 64 in flight": (256 * KIB, 64, 512),
    "1 KiB, 512 in flight": (KIB, 512, 10000),
    "1 KiB, one in flight": (KIB, 1, 10000),
}
CPU_OF_KUBO = {
    ("256 KiB, 64 in flight", "noise"): 1 / 4.5, ("256 KiB, 64 in flight", "tls"): 1 / 5,
    ("1 KiB, 512 in flight", "noise"): 1 / 20, ("1 KiB, 512 in flight", "tls"): 1 / 20,
    ("1 KiB, one in flight", "noise"): 1 / 15, ("1 KiB, one in flight", "tls"): 1 / 15,
}
SEALED_PLAIN = 65519  # what one Noise message takes


class SwarmBed(Bed):
    """The servers of a row, with the same generated blocks in each."""

    def __init__(self, bench, out, size, keys):
        super().__init__(bench, out)
        self.size, self.keys, self.car = size, keys, None

    def __enter__(self):
        self.dirs.append(tempfile.mkdtemp(prefix="millrace-perf-"))
        self.car = os.path.join(self.dirs[-1], "blocks.car")
        argv = [self.bench.program("millrace-load"), "bitswap", "--to", "127.0.0.1:1", "--size",
                str(self.size), "--keys", str(self.keys), "--car", self.car]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
        return self

    def product(self, *settings):
        server = self.millrace("one", settings, peers=True)
        import_car(self.bench, server, self.car)
        return server

    def other(self, kind):
        made = peer_or_none(kind, kind.name)
        if made:
            self.servers.append(made)
            made.load(self.car)
        return made

    def cids(self):
        return peers_ipfs.cids_of(self.car, self.car + ".cids")


def import_car(bench, server, car):
    argv = [bench.program("millrace"), "import", "--to", server.tlv, car]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")


def floor_seal(ctx, security):
    """CPU of the floor's sender for each byte, over as many bytes as the product has blocks."""
    more = ["--aes", 1] if security == "tls" else []
    return ctx.bench.run("floor_seal", "--size", SEALED_PLAIN, "--blocks", 2048, *more,
                         "--millis", int(ctx.seconds * 1000))


def g9_shape(ctx, name, security):
    size, depth, keys = SHAPES[name]
    keys = min(keys, 128 if size > KIB else 2000) if ctx.quick else keys
    with SwarmBed(ctx.bench, ctx.out, size, keys) as bed:
        servers = {"product": bed.product(), "kubo": bed.other(peers_ipfs.KuboServer)}
        shape = ["--conns", 1, "--depth", depth, "--size", size, "--keys", keys,
                 "--security", security]

        def run(server):
            result = ctx.bench.load("bitswap", server, *shape, seconds=ctx.seconds, warmup=0.5)
            if result["unanswered"] or result["unasked"]:
                raise Broken(f"{server.name}: {result['unanswered']} wants unanswered, "
                             f"{result['unasked']} blocks unasked for")
            return result

        runs = {key: (lambda s=server: run(s)) for key, server in servers.items() if server}
        runs.update(go_runs(ctx, bed, servers, depth, security))
        if size > KIB:
            runs["floor"] = lambda: floor_seal(ctx, security)
            runs["floor_again"] = runs["floor"]
        elif depth == 1:
            echo = bed.floor(size, keys, copies=False)
            runs["floor"] = lambda: ctx.bench.load("echo", echo, "--conns", 1, "--depth", 1,
                                                   "--size", size, seconds=ctx.seconds)
            runs["floor_again"] = runs["floor"]
        job = f"Bitswap, {name}, {security}, 1 peer, 1 core"
        results, about = rounds(ctx.rounds_bench, runs, calm=ctx.calm, label=f"G9 {job}")
    yield from g9_rows(results, about, job, name, security, size)


def go_runs(ctx, bed, servers, depth, security):
    """The Go client against all three, where many are in flight: what another program sees. Helia
    is asked for each block once: it sends none to the same peer again within 5 s.
    """
    if depth == 1 or security != "noise" or not servers.get("kubo"):
        return {}
    cids = bed.cids()
    flags = ["--depth", depth, "--security", security]
    runs = {"go_" + key: lambda s=servers[key]: peers_ipfs.go_client(
        s.address, s.pid, cids, *flags, "--seconds", ctx.seconds) for key in ("product", "kubo")}
    helia = bed.other(peers_ipfs.HeliaServer)
    if helia:
        runs["go_helia"] = lambda: peers_ipfs.go_client(helia.address, helia.pid, cids, *flags)
    return runs


def g9_rows(results, about, job, name, security, size):
    product, kubo = results["product"], results.get("kubo")
    floor, more = None, dict(about)
    if "floor" in results:
        sealed = size > KIB
        field, scale = ("send_cpu", size / 1000) if sealed else ("cpu_us", 1)  # ns a byte: us
        pairs = list(zip(column(results["floor"], field), column(results["floor_again"], field)))
        floor = [mean(a, b) * scale for a, b in pairs]
        more["floor_self"] = spread([a / b for a, b in pairs])
        if sealed and abs(more["floor_self"]["median"] - 1) > SELF_MAX:
            more["void"] = f"the floor against itself: {more['floor_self']['median']:.3f}"
    yield finish("G9", job + ": server CPU", "us/block", column(product, "cpu_us"), floor,
                 column(kubo, "cpu_us") if kubo else None, "kubo",
                 1.15 if size > KIB else None, CPU_OF_KUBO[name, security], **more)
    yield finish("G9", job + ": rate", "blocks/s", column(product, "rate"), None,
                 column(kubo, "rate") if kubo else None, "kubo", sense=">=", **about)
    if "one in flight" in name:
        yield finish("G9", job + ": p50", "us", column(product, "p50_us"), None,
                     column(kubo, "p50_us") if kubo else None, "kubo", None, 0.3, **about)
    if results.get("go_product"):
        yield from go_rows(results, about, job + ", the Go client asks")


def go_rows(results, about, job):
    mine = results["go_product"]
    for name in ("kubo", "helia"):
        theirs = results.get("go_" + name)
        for what, unit, field, sense in (("server CPU", "us/block", "cpu_us", "<="),
                                         ("rate", "blocks/s", "rate", ">=")):
            yield finish("G9", f"{job}: {what}", unit, column(mine, field), None,
                         column(theirs, field) if theirs else None, name, sense=sense, **about)


def g9(ctx):
    for name in SHAPES:
        for security in ("noise", "tls"):
            try:
                yield from g9_shape(ctx, name, security)
            except (Missing, Broken) as why:
                yield rows.absent("G9", f"Bitswap, {name}, {security}", str(why))
    for name in DAGS:
        try:
            yield from g9_clients(ctx, name)
        except (Missing, Broken) as why:
            yield rows.absent("G9", f"{name} fetched", str(why))


# ---- who fetches ---------------------------------------------------------------------------------

DAGS = {  # of: bytes of the file, bytes of a leaf
    "512 MiB in blocks of 256 KiB": (512 << 20, 256 * KIB),
    "33,000 blocks of 1 KiB": (33000 * KIB, KIB),
}


def timed_fetch(argv, environment, pid, blocks):
    """Runs a command that makes the daemon `pid` fetch. Returns: rate, and its CPU a block."""
    before, start = cpu_ns(pid), time.monotonic()
    done = subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=600)
    seconds, spent = time.monotonic() - start, cpu_ns(pid) - before
    if done.returncode != 0:
        raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
    return {"rate": blocks / seconds, "cpu_us": spent / 1e3 / blocks}


def fetch_with_kubo(bed, source, root, blocks):
    """A Kubo that has nothing yet, on the generator's CPU, connected and then told to walk."""
    kubo = peers_ipfs.KuboServer(LOAD_CPU)
    try:
        kubo.connect(source.address)
        return timed_fetch([*peers_ipfs.pinned(LOAD_CPU), str(peers_ipfs.peers.KUBO), "refs", "-r",
                            root], kubo.environment, kubo.pid, blocks)
    finally:
        kubo.stop()


def fetch_with_ours(bed, source, root, blocks):
    """A daemon of ours that has nothing yet, on the generator's CPU."""
    client = bed.millrace("load", ("store.memory=256MiB",), peers=True)
    try:
        program = bed.bench.program("millrace")
        argv = [program, "connect", "--admin", client.admin, source.address]
        if subprocess.run(argv, capture_output=True).returncode != 0:
            raise Broken(f"{' '.join(argv)} failed")
        return timed_fetch([*peers_ipfs.pinned(LOAD_CPU), program, "fetch", "--admin",
                            client.admin, "--quiet", "--dag", "--from", source.address, root],
                           None, client.pid, blocks)
    finally:
        bed.drop(client)


def g9_clients(ctx, name):
    size, leaf = DAGS[name]
    size = size // 16 if ctx.quick else size
    with Bed(ctx.bench, ctx.out) as bed:
        bed.dirs.append(tempfile.mkdtemp(prefix="millrace-perf-", dir="/var/tmp"))
        car = os.path.join(bed.dirs[-1], "dag.car")
        root, blocks = peers_ipfs.file_car(car, size, leaf)
        server = bed.millrace("one", peers=True)
        import_car(bed.bench, server, car)
        kubo = peer_or_none(peers_ipfs.KuboServer, "kubo")
        sources = {"ours": server}
        if kubo:
            bed.servers.append(kubo)
            kubo.load(car)
            sources["kubo"] = kubo
        fetch_with_ours(bed, server, root, blocks)  # now it is in memory
        runs = {}
        for at, source in sources.items():
            runs[f"ours_at_{at}"] = lambda s=source: fetch_with_ours(bed, s, root, blocks)
            if kubo:
                runs[f"kubo_at_{at}"] = lambda s=source: fetch_with_kubo(bed, s, root, blocks)
        results, about = rounds(ctx.rounds_bench, runs, calm=ctx.calm, crowd=True,
                                label=f"G9 fetch of {name}")
    for at, speed, cpu in (("ours", 3, 0.25), ("kubo", None, None)):
        ours, theirs = results.get(f"ours_at_{at}"), results.get(f"kubo_at_{at}")
        if not ours:
            continue
        source = "Millrace" if at == "ours" else "Kubo"
        job = f"{name} fetched from {source}, client on a core of its own"
        for what, unit, field, target, sense in (
                ("rate", "blocks/s", "rate", speed, ">="),
                ("client CPU", "us/block", "cpu_us", cpu, "<=")):
            yield finish("G9", f"{job}: {what}", unit, column(ours, field), None,
                         column(theirs, field) if theirs else None, "kubo's client", None, target,
                         sense, **about)


def g10(ctx):
    """Connections of the Go client, one after another on each of 4 hosts, identify both ways."""
    count = 40 if ctx.quick else 400
    for security in ("noise", "tls"):
        with SwarmBed(ctx.bench, ctx.out, KIB, 200) as bed:
            servers = {"product": bed.product(), "kubo": bed.other(peers_ipfs.KuboServer)}
            runs = {key: (lambda s=server: peers_ipfs.go_dials(s.address, s.pid, count, security))
                    for key, server in servers.items() if server}
            more = ["--tls", 1] if security == "tls" else []
            runs["floor"] = lambda: ctx.bench.run("floor_handshake", *more, "--millis",
                                                  int(ctx.seconds * 1000))
            runs["floor_again"] = runs["floor"]
            results, about = rounds(ctx.rounds_bench, runs, calm=ctx.calm,
                                    label=f"G10 {security}")
        kubo = results.get("kubo")
        floors = list(zip(column(results["floor"], "cpu"), column(results["floor_again"], "cpu")))
        itself = ratios(*zip(*floors))
        extra = {**about, "floor_self": itself}
        if abs(itself["median"] - 1) > SELF_MAX:
            extra["void"] = f"the floor against itself: {itself['median']:.3f}"
        # As much CPU again as a third of the maths is three quarters of its rate.
        yield finish("G10", f"handshake with identify, {security}: server CPU (floor: the bare "
                     "maths)", "us", column(results["product"], "cpu_us"),
                     [mean(a, b) for a, b in floors], column(kubo, "cpu_us") if kubo else None,
                     "kubo", 1 / 0.75, 0.2, **extra)


def wait_for_peers(ctx, server, count, seconds=300):
    """Until the daemon says that so many have proven who they are."""
    argv = [ctx.bench.program("millrace"), "stat", "--admin", server.admin, "--json"]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stat = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        if sum(core.get("swarm", {}).get("peers", 0) for core in stat["cores"]) >= count:
            return
        time.sleep(0.2)
    raise Broken(f"{count} peers did not connect within {seconds} s")


def g20_peers(ctx):
    """Memory of 10,000 peers that are connected, proven and idle, against a daemon without."""
    conns = 200 if ctx.quick else 10000
    limits = (f"net.connections_max={conns * 6 // 5}", f"bitswap.high_water={conns * 6 // 5}",
              f"bitswap.low_water={conns * 11 // 10}")
    for security in ("noise", "tls"):
        with SwarmBed(ctx.bench, ctx.out, KIB, 200) as bed:
            shape = ["--size", KIB, "--keys", 200, "--security", security]

            def served(*settings):
                server = bed.product(*settings)
                ctx.bench.load("bitswap", server, "--conns", 10, "--depth", 1, *shape,
                               seconds=2)
                time.sleep(1)
                return rss_bytes(server.pid), server

            bare, _ = served("net.connections_max=64", "bitswap.peers_max=64")
            before, server = served(*limits)
            after = {}

            def look():
                wait_for_peers(ctx, server, conns)
                after.update(rss_bytes(server.pid))

            ctx.bench.load_while("bitswap", server, look, "--conns", conns, "--active", 10,
                                 "--depth", 1, "--rate", 10, "--sources", 4, *shape,
                                 seconds=10, warmup=5, look_after=1)
        touched = (after["rss"] - before["rss"]) / conns
        with_boot = (after["rss"] - bare["rss"]) / conns
        yield finish("G20", f"memory per idle {security} peer of {conns:,}, beyond the kernel's",
                     "bytes", [max(touched, with_boot)], limit=16 * KIB, touched_bytes=touched,
                     with_boot_bytes=with_boot, rss_mib=after["rss"] / 2**20)


def g20(ctx):
    yield from rows.g20(ctx)
    try:
        yield from g20_peers(ctx)
    except Missing as why:
        say(f"!! G20 for peers: {why}")
