#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile — what an honest Bitswap client feels while others attack the server it speaks to.

usage: perf/hostile.py [--attacks NAME,...] [--seconds T] [--kubo IPFS] [--only millrace|kubo]
                       [--rounds N] [--fresh] [--spread] [--json FILE] [--build DIR]

For each attack of `millrace-load bitswap --hostile list`: the honest client runs while the attack
is aimed at a sink (calm: the attackers cost the machine the same), then while it is aimed at the
server. A server passes when the honest client's rate stays at least half, its p95 at most four
times the calm one, its memory grows by at most 64 MiB, no honest want is lost, and connections,
descriptors and everything queued come back to where they were. With --kubo the same runs against
Kubo, beside it. Servers run on CPU 0, everything else on CPU 1; with --spread nothing is pinned.
Exit status: 0 all passed (of Millrace), 1 not, 2 usage.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from statistics import median

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from measure import Bench, Broken, Missing, Server, free_port, raise_nofile, say  # noqa: E402

HONEST = ["--conns", "4", "--depth", "16", "--warmup", "0.5", "--drain", "10"]
BIG = ["--size", "256KiB", "--keys", "800"]  # 200 MiB: what greedy ones want
GREEDY = ("slow-readers", "dead-sockets", "no-reply-stream", "vanish", "window-games")
RATE_LEAST, P95_MOST, RSS_MOST = 0.5, 4.0, 64 << 20
BACK_SECONDS = 75  # a peer that takes nothing is closed within twice net.stall_timeout
GAUGES = (("net", "connections"), ("net", "jobs_used"), ("swarm", "peers"), ("swarm", "streams"),
          ("ledger", "wants"), ("ledger", "waiting"))


def rss(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Patient:
    """A server under attack: an address, a process, and what of it must come back."""

    def __init__(self, bench, cpus, out):
        self.bench, self.cpus, self.out = bench, cpus, out
        self.dir = tempfile.mkdtemp(prefix="hostile-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.port, self.server = free_port(), None

    @property
    def pid(self):
        return self.server.pid

    @property
    def to(self):
        return f"127.0.0.1:{self.port}"

    def alive(self):
        return self.server.process.poll() is None

    def state(self):
        return {"descriptors": len(os.listdir(f"/proc/{self.pid}/fd"))}

    def stop(self):
        if self.server:
            self.server.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Millrace(Patient):
    name = "millrace"

    def start(self):
        tlv = free_port()
        argv = [self.bench.program("millrace"), "serve", "--store", self.dir, "--tlv",
                f"127.0.0.1:{tlv}", "--bitswap", self.to, "--overcommit", "--set",
                "store.memory=1GiB"]
        if self.cpus:
            for part in ("net-cores", "work-cores", "sched-core", "ctl-core"):
                argv += [f"--{part}", self.cpus]
        self.server = Server("millrace", argv, self.port, self.cpus, self.out)
        load = self.bench.program("millrace-load")
        for shape in ([], BIG):
            # Reading all once fills the memory for blocks: what grows later is the attack's.
            subprocess.run([load, "bitswap", "--to", self.to, "--tlv", f"127.0.0.1:{tlv}", *shape,
                            "--conns", "4", "--depth", "16", "--seconds", "2"], check=True,
                           stdout=subprocess.DEVNULL)

    def state(self):
        done = subprocess.run([self.bench.program("millrace"), "stat", "--json", "--admin",
                               os.path.join(self.dir, "admin.sock")], capture_output=True,
                              text=True, timeout=20, check=True)
        found = {f"{part}.{name}": 0 for part, name in GAUGES}
        for core in json.loads(done.stdout)["cores"]:
            for part, name in GAUGES:
                found[f"{part}.{name}"] += core.get(part, {}).get(name, 0)
        return {**found, **super().state()}


class Kubo(Patient):
    name = "kubo"
    program = None

    def ipfs(self, *words):
        done = subprocess.run([self.program, *words], capture_output=True, text=True, timeout=300,
                              env={**os.environ, "IPFS_PATH": self.dir})
        if done.returncode != 0:
            raise Broken(f"ipfs {' '.join(words)}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def start(self):
        self.ipfs("init", "--profile=server,test")
        for key, value in (("Addresses.API", f'"/ip4/127.0.0.1/tcp/{free_port()}"'),
                           ("Addresses.Gateway", f'"/ip4/127.0.0.1/tcp/{free_port()}"'),
                           ("Addresses.Swarm", f'["/ip4/127.0.0.1/tcp/{self.port}"]'),
                           ("Swarm.AddrFilters", "[]"), ("Routing.Type", '"none"'),
                           ("Swarm.ResourceMgr.Enabled", "false")):
            self.ipfs("config", "--json", key, value)
        load = self.bench.program("millrace-load")
        for shape in ([], BIG):
            car = os.path.join(self.dir, "blocks.car")
            subprocess.run([load, "bitswap", *shape, "--car", car], check=True)
            self.ipfs("dag", "import", "--pin-roots=false", car)
            os.unlink(car)
        os.environ["IPFS_PATH"] = self.dir
        self.server = Server("kubo", [self.program, "daemon"], self.port, self.cpus, self.out)


class Peak:
    """The most memory a process had while this was open."""

    def __init__(self, pid):
        self.pid, self.most, self.stopped = pid, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.stopped.wait(0.05):
            try:
                self.most = max(self.most, rss(self.pid))
            except (OSError, IndexError):
                return

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


class Ward:
    """Runs clients, attackers and the sink."""

    def __init__(self, args, bench):
        self.args, self.bench = args, bench
        self.pin = [] if args.spread else ["taskset", "-c", "1"]
        self.load = [*self.pin, bench.program("millrace-load")]
        self.sink = subprocess.Popen([*self.load, "sink"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.sink_to = self.sink.stdout.readline().strip()

    def stop(self):
        self.sink.stdin.close()
        self.sink.wait(20)

    def attack(self, name, to):
        shape = BIG if name in GREEDY else []
        return subprocess.Popen([*self.load, "bitswap", "--to", to, "--hostile", name, *shape,
                                 "--seconds", str(self.args.seconds + 3)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def honest(self, to):
        done = subprocess.run([*self.load, "bitswap", "--to", to, *HONEST, "--seconds",
                               str(self.args.seconds), "--json"], capture_output=True, text=True,
                              timeout=120 + 10 * self.args.seconds)
        try:
            result = json.loads(done.stdout)
            if result["requests"] == 0:  # nothing in all that time: no latency says how bad it is
                result["p95_us"] = float("inf")
            return result
        except ValueError:  # it could not even connect
            return {"rate": 0, "p95_us": float("inf"), "unanswered": 0, "errors": 1, "wrong": 0,
                    "not_found": 0, "peers_lost": 4, "fault": done.stderr.strip()[-200:]}

    def beside(self, name, target, server):
        attacker = self.attack(name, target)
        time.sleep(1.5)
        try:
            result = self.honest(server)
            out, _ = attacker.communicate(timeout=60 + self.args.seconds)
        finally:
            if attacker.poll() is None:
                attacker.kill()
                attacker.communicate()
        try:
            result["attack"] = json.loads(out)
        except ValueError:
            result["attack"] = {}
        return result


def comes_back(patient, before):
    """Seconds until nothing is above where it was; None where something stays."""
    start = time.monotonic()
    while time.monotonic() - start < BACK_SECONDS:
        now = patient.state()
        above = {k: (before[k], v) for k, v in now.items() if v > before[k] + (k == "descriptors")}
        if not above:
            return time.monotonic() - start, {}
        time.sleep(0.25)
    return None, above


def judge(row):
    bad = []
    if not row["alive"]:
        return ["the server is gone"]
    if row["rate"] < RATE_LEAST * row["calm_rate"]:
        bad.append("rate")
    if row["p95_us"] > P95_MOST * row["calm_p95_us"]:
        bad.append("p95")
    if row["rss_growth"] > RSS_MOST:
        bad.append("memory")
    if row["lost"]:
        bad.append("wants lost")
    if row["back_s"] is None:
        stays = (f"{k} {a} to {b}" for k, (a, b) in row["stays"].items())
        bad.append("not back: " + ", ".join(stays))
    return bad


def lost(run):
    return sum(run[k] for k in ("unanswered", "errors", "wrong", "not_found", "peers_lost"))


def examine(ward, patient, name):
    before = patient.state()
    calm, storm, growth, waits, stays = [], [], 0, [], {}
    for _ in range(ward.args.rounds):
        calm.append(ward.beside(name, ward.sink_to, patient.to))
        base = rss(patient.pid)
        with Peak(patient.pid) as peak:
            storm.append(ward.beside(name, patient.to, patient.to))
        growth = max(growth, peak.most - base)
        if not patient.alive():
            break
        took, stays = comes_back(patient, before)
        waits.append(took)
        if took is None:
            break
    row = {"server": patient.name, "attack": name, "rss_growth": growth,
           "alive": patient.alive(), "stays": stays, "lost": sum(map(lost, storm)),
           "back_s": max(waits) if waits and None not in waits else None,
           "fault": next((s["fault"] for s in storm if s.get("fault")), ""),
           "did": [s["attack"] for s in storm]}
    for key in ("rate", "p95_us"):
        row[f"calm_{key}"] = median(run[key] for run in calm)
        row[key] = median(run[key] for run in storm)
    row["bad"] = judge(row)
    return row


def ms(us):
    return "-" if us == float("inf") else f"{us / 1000:.1f}"


def show(row):
    back = "-" if row["back_s"] is None else f"{row['back_s']:.0f}"
    verdict = "pass" if not row["bad"] else "FAIL: " + "; ".join(row["bad"])
    print(f"{row['server']:<9}{row['attack']:<16}{row['calm_rate']:>9.0f}{row['rate']:>9.0f}"
          f"{row['rate'] / max(row['calm_rate'], 1):>6.2f}{ms(row['calm_p95_us']):>8}"
          f"{ms(row['p95_us']):>8}{row['p95_us'] / max(row['calm_p95_us'], 1):>6.1f}"
          f"{row['rss_growth'] / (1 << 20):>7.0f}{row['lost']:>6}{back:>6}  {verdict}", flush=True)
    if row["fault"]:
        print(f"{'':<25}{row['fault']}", flush=True)


def read_args():
    p = argparse.ArgumentParser(prog="perf/hostile.py", description=__doc__.splitlines()[0])
    p.add_argument("--attacks", help="which (all)")
    p.add_argument("--seconds", type=float, default=3, help="measured part of each run (3)")
    p.add_argument("--rounds", type=int, default=1,
                   help="calm and attacked runs of each, in turn; medians count (1)")
    p.add_argument("--kubo", metavar="IPFS", help="run the same against this Kubo")
    p.add_argument("--only", choices=("millrace", "kubo"), help="one server alone")
    p.add_argument("--fresh", action="store_true", help="a new server for each attack")
    p.add_argument("--spread", action="store_true", help="pin nothing")
    p.add_argument("--json", metavar="FILE", help="also write the rows there")
    here = os.path.dirname(os.path.abspath(__file__))
    p.add_argument("--build", default=os.path.join(os.path.dirname(here), "build"))
    return p.parse_args()


def names_of(args, bench):
    text = subprocess.run([bench.program("millrace-load"), "bitswap", "--hostile", "list"],
                          capture_output=True, text=True, check=True).stdout
    all_names = [line.split()[0] for line in text.splitlines()]
    names = args.attacks.split(",") if args.attacks else all_names
    unknown = [n for n in names if n not in all_names]
    if unknown:
        sys.exit(f"no attack of the name {unknown[0]}; there are {', '.join(all_names)}")
    return names


def kinds_of(args):
    if args.kubo:
        Kubo.program = args.kubo
    kinds = [k for k in (Millrace, Kubo) if args.only in (None, k.name)]
    return [k for k in kinds if k is not Kubo or Kubo.program]


def main():
    args = read_args()
    raise_nofile()
    bench = Bench(os.path.abspath(args.build))
    cpus, out = (None if args.spread else "0"), tempfile.gettempdir()
    rows, patients = [], {}
    ward = Ward(args, bench)
    print(f"{'server':<9}{'attack':<16}{'calm/s':>9}{'now/s':>9}{'x':>6}{'calm ms':>8}{'p95 ms':>8}"
          f"{'x':>6}{'+MiB':>7}{'lost':>6}{'back':>6}", flush=True)
    try:
        for name in names_of(args, bench):
            for kind in kinds_of(args):
                patient = patients.get(kind)
                if patient is None:
                    patient = patients[kind] = kind(bench, cpus, out)
                    patient.start()
                rows.append(examine(ward, patient, name))
                show(rows[-1])
                if args.fresh or not rows[-1]["alive"] or rows[-1]["back_s"] is None:
                    patients.pop(kind).stop()
    except (Missing, Broken, subprocess.CalledProcessError) as e:
        say(f"hostile: {e}")
        return 1
    finally:
        for patient in patients.values():
            patient.stop()
        ward.stop()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(rows, f, indent=1)
    ours = [r for r in rows if r["server"] == "millrace"] or rows
    passed = sum(1 for r in ours if not r["bad"])
    print(f"attacks: {passed} passed, {len(ours) - passed} failed")
    return 0 if passed == len(ours) else 1


if __name__ == "__main__":
    sys.exit(main())
