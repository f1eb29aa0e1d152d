# SPDX-License-Identifier: MIT
"""The node under test behind one face: Millrace, or, with MILLRACE_INTEROP_NODE=kubo, Kubo in its
place. The cases must pass with both: with Kubo they say that it is not the harness which is wrong.
"""

import hashlib
import json
import os

import peers

import content
import daemon

STAND_IN = os.environ.get("MILLRACE_INTEROP_NODE", "") == "kubo"


class Millrace(daemon.Daemon):
    """A daemon that listens for IPFS peers."""

    def __init__(self, flags=(), **more):
        self.peer_port = daemon.free_port()
        listen = ["--bitswap", f"127.0.0.1:{self.peer_port}"]
        more.setdefault("segment", "64MiB")
        super().__init__(flags=[*listen, *flags], **more)

    def start(self):
        super().start()
        said = self.ask("id")
        self.id = said["id"]
        self.peer_address = next(a for a in said["addrs"] if f"/tcp/{self.peer_port}/" in a)
        return self

    def command(self, name, *arguments, check=True, timeout=120, **more):
        done = daemon.run(name, "--admin", self.admin_path, *arguments, timeout=timeout, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"millrace {name}: {done.returncode}: {done.stderr[-2000:]}")
        return done

    def load(self, car):
        done = daemon.run("import", "--to", self.to, car, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"millrace import: {done.stderr[-2000:]}")

    def connect(self, address):
        return self.command("connect", address)

    def fetch(self, cid, source, dag=False, timeout=120, check=True, limit=None):
        """Fetches from that peer, or those; true where it came. limit: seconds it may take."""
        more = ["--dag"] if dag else []
        more += ["--timeout", f"{limit}s"] if limit else []
        for address in [source] if isinstance(source, str) else source:
            more += ["--from", address]
        done = self.command("fetch", cid, *more, timeout=timeout, check=check)
        return done.returncode == 0

    def block(self, cid):
        done = daemon.run("get", "--to", self.to, cid, timeout=60, text=False)
        if done.returncode != 0:
            raise AssertionError(f"millrace get: {done.stderr[-2000:]}")
        return done.stdout

    def dag_blocks(self, root, folder):
        """CID -> bytes of every block under this root."""
        path = folder / "dag.car"
        done = daemon.run("export", "--to", self.to, root, "--dag", "-o", path, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"millrace export: {done.stderr[-2000:]}")
        return dict(content.car_blocks(path.read_bytes()))

    def connected(self):
        """How many peers are connected."""
        return self.sum("swarm", "peers")

    def ping(self, peer):
        return json.loads(self.command("ping", "--json", "-c", 3, "-i", "10ms", peer).stdout)

    def peers(self):
        return json.loads(self.command("peers", "--json").stdout)["peers"]

    def wanted(self):
        """How many wants came in so far."""
        return self.sum("swarm", "wants_in")

    def blocks(self):
        """How many blocks are stored."""
        return self.ask("stat")["store"]["blocks"]


class Kubo(peers.Kubo):
    """Kubo with the same face."""

    def __init__(self, flags=(), **_):
        super().__init__(limits=False)

    def start(self):
        super().start()
        self.peer_address = self.address
        return self

    def fetch(self, cid, address, dag=False, timeout=120, check=True, limit=None):
        timeout = limit or timeout
        words = ["refs", "-r", cid] if dag else ["block", "stat", cid]
        try:
            self.connect(address)
            self.run(*words, f"--timeout={timeout}s", timeout=timeout + 10)
        except AssertionError:
            if check:
                raise
            return False
        return True

    def block(self, cid):
        return self.run("block", "get", "--offline", cid, text=False)

    def dag_blocks(self, root, _folder):
        car = self.run("dag", "export", "--offline", "--progress=false", root, text=False)
        return dict(content.car_blocks(car))

    def connected(self):
        return len(self.run("swarm", "peers").splitlines())

    def wanted(self):
        peers_there = [line.split("/")[-1] for line in self.run("swarm", "peers").splitlines()]
        return sum(
            len(self.run("bitswap", "wantlist", "--peer", p).splitlines()) for p in peers_there
        )

    def blocks(self):
        return len(self.run("refs", "local").splitlines())


def make(**more):
    return (Kubo if STAND_IN else Millrace)(**more)


def file_of(blocks, root_text):
    """SHA-256 of the file under a root, read out of a table CID -> bytes: a second walker."""
    by_text = {content.cid_text(cid): (cid, data) for cid, data in blocks.items()}
    whole = hashlib.sha256()

    def walk(text):
        cid, data = by_text[text]
        if cid[1] == content.CODEC_RAW:
            whole.update(data)
            return
        for link in links(data):
            walk(content.cid_text(link))

    walk(root_text)
    return whole.hexdigest()


def links(data):
    """CIDs that a dag-pb node links to, in order."""
    at = 0
    while at < len(data):
        tag, at = content.read_varint(data, at)
        length, at = content.read_varint(data, at)
        if tag == 0x12:
            hash_length, start = content.read_varint(data, at + 1)
            yield data[start : start + hash_length]
        at += length
