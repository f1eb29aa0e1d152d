# SPDX-License-Identifier: MIT
"""Daemons for tests: each in a directory and on a port of its own, ended by process id whatever
happens.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

BUILD = Path(os.environ.get("MILLRACE_BUILD") or Path(__file__).resolve().parents[2] / "build")
MILLRACE, LOAD = BUILD / "tools/millrace", BUILD / "tools/millrace-load"
# Sanitizer trees are several times slower; waiting longer costs nothing where nothing is wrong.
PATIENCE = float(os.environ.get("MILLRACE_PATIENCE", "1"))

RINGS_REFUSED = (
    "io_uring: Cannot allocate memory (millrace doctor says what forbids it and how to allow it)\n"
)

_live = []


def allowed_cpus():
    return sorted(os.sched_getaffinity(0))


def layouts():
    """Name -> flags of `serve`; those that the allowed CPUs can carry."""
    cpus = [str(c) for c in allowed_cpus()]
    first = cpus[0]

    def flags(net, work, sched, *more):
        return [
            "--net-cores",
            net,
            "--work-cores",
            work,
            "--sched-core",
            sched,
            "--ctl-core",
            sched,
            *more,
        ]

    out = {"one core": flags(first, first, first)}
    four = ",".join((cpus + [str(c) for c in range(64) if str(c) not in cpus])[:4])
    if len(cpus) >= 2:
        second = cpus[1]
        out["two cores"] = flags(f"{first},{second}", f"{first},{second}", second)
        out["split"] = flags(first, second, second)
    out["four cores, overcommitted"] = flags(four, four, four.split(",")[3], "--overcommit")
    return out


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*arguments, timeout=60, **more):
    """Runs `millrace` with these arguments. Returns the finished process, output as text (bytes
    with text=False).
    """
    more.setdefault("text", True)
    words = [str(MILLRACE), *[str(a) for a in arguments]]
    return subprocess.run(
        words, capture_output=True, timeout=timeout * PATIENCE, check=False, **more
    )


def wait_for(condition, what, seconds=20.0, pause=0.01):
    """Polls until condition() is true; its value. Tests wait for time nowhere else."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds * PATIENCE:.0f} s: {what}")
        time.sleep(pause)


class Daemon:
    """`millrace serve` on a store directory. Keeps the directory when given one."""

    def __init__(
        self,
        directory=None,
        flags=(),
        segment="4MiB",
        config=None,
        environment=None,
        listen=None,
        wrapper=(),
    ):
        self.own_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="millrace-e2e-"))
        self.flags, self.segment, self.config, self.environment = (
            list(flags),
            segment,
            config,
            environment,
        )
        self.listen, self.wrapper = listen, list(wrapper)
        self.port, self.process, self.log = None, None, None
        self.log_path = Path(tempfile.mkstemp(prefix="millrace-e2e-", suffix=".log")[1])
        _live.append(self)

    def __enter__(self):
        if self.process is None:
            self.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"--- log of the daemon on port {self.port}:\n{self.words()[-4000:]}", flush=True)
        self.discard()

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def to(self):
        return f"127.0.0.1:{self.port}"

    @property
    def admin_path(self):
        return self.directory / "admin.sock"

    def words(self):
        """What the daemon has said so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def spawn(self):
        """Starts the process and does not wait for it."""
        self.port = self.port or free_port()
        words = [*self.wrapper, str(MILLRACE), "serve", "--store", str(self.directory)]
        words += ["--tlv", self.listen.format(port=self.port) if self.listen else self.to]
        if self.segment and not (self.directory / "SUPER").exists():
            words += ["--segment-size", self.segment]
        if self.config:
            words += ["--config", str(self.config)]
        words += self.flags
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(self.environment or {})},
            )
        return self

    def ready(self):
        try:
            return bool(self.ask("stat"))
        except (OSError, ValueError):
            return False

    def start(self):
        self.spawn()

        def up():
            if self.process.poll() is None:
                return self.ready()
            words = self.words()[-4000:]
            # The kernel gives the rings of a daemon that ended back a moment later, and counts
            # them all against one memlock limit of the user; root has none.
            if os.geteuid() == 0 or not words.endswith(RINGS_REFUSED):
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{words}")
            self.spawn()
            return False

        wait_for(up, f"the daemon to serve:\n{self.words()[-2000:]}", 30)
        return self

    def ask(self, command, timeout=10.0, **more):
        """One command of the admin socket, with what it takes; the answer as Python data."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(timeout * PATIENCE)
            admin.connect(str(self.admin_path))
            admin.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            answer = b""
            while True:
                more = admin.recv(65536)
                if not more:
                    return json.loads(answer)
                answer += more

    def sum(self, part, name):
        """A counter summed over the cores: sum("net", "accepts")."""
        return sum(core.get(part, {}).get(name, 0) for core in self.ask("stat")["cores"])

    def rss(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def run(self, command, *arguments, **more):
        """A CLI command against this daemon."""
        by_admin = "id stat topo top why pin unpin pins gc scrub backup".split()
        where = ["--admin", self.admin_path] if command in by_admin else ["--to", self.to]
        return run(command, *where, *arguments, **more)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=30.0):
        return self.process.wait(seconds * PATIENCE)

    def stop(self, seconds=30.0):
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def discard(self):
        """Ends the process if it still runs, and removes what is ours."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.log_path.unlink(missing_ok=True)
        if self in _live:
            _live.remove(self)


@atexit.register
def discard_all():
    for daemon in list(_live):
        daemon.discard()
