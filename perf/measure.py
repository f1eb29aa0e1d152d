# SPDX-License-Identifier: MIT
"""measure — servers, loads and the arithmetic of perf/compare: nothing here knows a row.

A server runs on CPU 0, the generator on CPU 1. What a server costs is what its threads ran
(/proc/PID/task/*/schedstat) while the generator counted, as the generator itself read it at both
ends of its window (--server-pid). Ratios are taken within a round and medians over rounds.
"""
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_CPU, LOAD_CPU = "0", "1"
NOFILE = 65536


class Missing(Exception):
    """A program is not here: the column shows '-'."""


class Broken(Exception):
    """A run ended wrong: wrong replies, errors, or a server that does not start."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def raise_nofile():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for want in (NOFILE, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, max(want, hard)))
            return want
        except (ValueError, OSError):
            continue
    return soft


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_ns(pid):
    """CPU time of all living threads of a process."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except FileNotFoundError:
            pass  # a thread that ended between listing and reading
    return total


def rss_bytes(pid):
    """Memory of a process: resident, and its proportional share, without the kernel's."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                found[words[0][:-1].lower()] = int(words[1]) * 1024
    return found


def pressure_us():
    """Microseconds so far in which some thread waited for a CPU; None where the kernel has none."""
    try:
        with open("/proc/pressure/cpu") as f:
            return int(f.readline().split("total=")[1])
    except (OSError, IndexError, ValueError):
        return None


def busy_now(seconds=0.1):
    """How much of all CPUs is in use while nothing of ours should run: 0..1."""
    def read():
        with open("/proc/stat") as f:
            ticks = [int(w) for w in f.readline().split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    total, idle = read()
    time.sleep(seconds)
    total_end, idle_end = read()
    spent = total_end - total
    return 1 - (idle_end - idle) / spent if spent else 0.0


class Server:
    """A process that listens on a port of 127.0.0.1 until it is stopped."""

    def __init__(self, name, argv, port, cpus=SERVER_CPU, log_dir=None):
        self.name, self.port, self.cpus = name, port, cpus
        if shutil.which(argv[0]) is None and not os.path.exists(argv[0]):
            raise Missing(f"{name}: no {argv[0]} here")
        self.log = open(os.path.join(log_dir or tempfile.gettempdir(), f"{name}.log"), "ab")
        pin = ["taskset", "-c", cpus] if cpus else []
        self.process = subprocess.Popen(pin + argv, stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        try:
            self.wait()
        except Broken:
            self.stop()
            raise

    def wait(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Broken(f"{self.name} ended at once ({self.process.returncode}): "
                             f"see {self.log.name}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Broken(f"{self.name} did not listen within {seconds} s: see {self.log.name}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Bench:
    """The programs of one build directory."""

    def __init__(self, build):
        self.build = build

    def program(self, name):
        folder = "tools" if name.startswith("millrace") else "perf"
        path = os.path.join(self.build, folder, name)
        if not os.path.exists(path):
            raise Missing(f"{name} is not built in {self.build}")
        return path

    def run(self, name, *args, timeout=600, pin=None):
        """A bench or floor with --json. Returns: its object."""
        argv = (["taskset", "-c", pin] if pin else []) + [self.program(name), *map(str, args),
                                                          "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
        if done.returncode == 77:
            raise Missing(f"{name}: {done.stderr.strip()}")
        if done.returncode != 0:
            raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def load(self, mode, server, *args, seconds=1.0, warmup=0.5, tolerate=False):
        """One run of the generator against a server. Returns: its object with `cpu_us` added:
        server CPU a request, in us, over the measured window."""
        argv = ["taskset", "-c", LOAD_CPU, self.program("millrace-load"), mode,
                "--to", f"127.0.0.1:{server.port}", "--server-pid", str(server.pid),
                "--seconds", str(seconds), "--warmup", str(warmup), *map(str, args), "--json"]
        done = subprocess.run(argv, capture_output=True, text=True,
                              timeout=120 + 3 * (seconds + warmup))
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}") from None
        bad = result.get("wrong", 0) + result.get("errors", 0)
        if result["requests"] == 0 or (bad and not tolerate):
            raise Broken(f"{server.name}: {result['requests']} requests, {result.get('errors')} "
                         f"errors, {result.get('wrong')} wrong: {result.get('fault', '-')}")
        result["cpu_us"] = server_cpu_us(result)
        return result

    def load_while(self, mode, server, look, *args, seconds, warmup, look_after):
        """Runs the generator and calls look() in the middle of it, `look_after` seconds in."""
        argv = ["taskset", "-c", LOAD_CPU, self.program("millrace-load"), mode,
                "--to", f"127.0.0.1:{server.port}", "--seconds", str(seconds),
                "--warmup", str(warmup), *map(str, args), "--json"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(look_after)
            if process.poll() is not None:
                raise Broken(f"{' '.join(argv)}: {process.stderr.read()[-400:]}")
            look()
            out, err = process.communicate(timeout=60 + 2 * seconds)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        try:
            return json.loads(out)
        except ValueError:
            raise Broken(f"{' '.join(argv)}: {err.strip()[-400:]}") from None


def server_cpu_us(result):
    """Server CPU a request: both counted over the same window."""
    seconds = result.get("server_cpu_seconds")
    return seconds / result["requests"] * 1e6 if seconds is not None else None


def spread(values):
    """Least, median, most."""
    kept = [v for v in values if v is not None]
    if not kept:
        return None
    return {"min": min(kept), "median": statistics.median(kept), "max": max(kept)}


def ratios(top, bottom):
    """Per-round ratios of two columns, as a spread; None where one is missing."""
    pairs = [(a, b) for a, b in zip(top, bottom) if a is not None and b]
    return spread([a / b for a, b in pairs])


def rounds(count, column_runs, probe=None, calm=True, crowd=False, label=""):
    """Runs every column once a round, in turn, and every second round backwards.

    column_runs: {name: callable -> result}. A round in which the machine was not ours (a fifth of
    it busy just before; a thread waited for a CPU for a fifth of it, unless our own are a crowd; an
    idle probe above 2 ms) is dropped and run again; when as many were dropped as were asked for,
    what comes is kept and the row is void. Returns: {name: [results]} and what to say of the row.
    """
    columns = {name: [] for name in column_runs}
    dropped, noisy = 0, 0
    done = 0
    while done < count:
        order = list(column_runs)
        if (done + dropped) % 2:
            order.reverse()
        void = calm and busy_now() > 0.2
        before, start = pressure_us(), time.monotonic()
        results = {}
        for name in order:
            results[name] = column_runs[name]()
        after, wall = pressure_us(), time.monotonic() - start
        void |= calm and not crowd and before is not None and after - before > 0.2e6 * wall
        void |= calm and (probe is not None and probe() > 2000)
        if void and dropped < count:
            dropped += 1
            continue
        noisy += void
        for name, result in results.items():
            columns[name].append(result)
        done += 1
        say(f"  {label} round {done}/{count}" + (f", {dropped} dropped" if dropped else ""))
    about = {"dropped": dropped, "noisy": noisy}
    if noisy:
        about["void"] = f"{noisy} of {count} rounds were run while the machine was not ours"
    return columns, about


def column(results, field):
    return [r.get(field) for r in results]


def machine():
    """What the numbers were taken on."""
    def text(*argv):
        try:
            done = subprocess.run(argv, capture_output=True, text=True)
            return (done.stdout or done.stderr).strip().splitlines()[0]
        except (OSError, IndexError):
            return "absent"

    def file(path):
        try:
            with open(path) as f:
                return f.read().strip()
        except OSError:
            return "unknown"

    model = "unknown"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory_kib = int(f.readline().split()[1])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return {
        "cpu": model, "cpus": os.cpu_count(), "memory_gib": round(memory_kib / 2**20, 1),
        "kernel": os.uname().release,
        "congestion_control": file("/proc/sys/net/ipv4/tcp_congestion_control"),
        "compiler": text("cc", "--version"), "redis": text("redis-server", "--version"),
        "memcached": text("memcached", "--version"),
        "commit": text("git", "-C", root, "rev-parse", "--short=12", "HEAD"),
    }
