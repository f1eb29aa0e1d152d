# SPDX-License-Identifier: MIT
"""peers_ipfs — Kubo, Helia and the Go client as perf/compare runs them: pinned, without Kubo's
resource manager, filled with the generator's own blocks. tools/setup --interop installs them.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests",
                                "interop"))

import peers  # noqa: E402
from measure import LOAD_CPU, SERVER_CPU, Broken, Missing, cpu_ns  # noqa: E402


def pinned(cpus):
    return ["taskset", "-c", cpus] if cpus else []


class KuboServer(peers.Kubo):
    """A Kubo node on one CPU; Go takes as many threads to run Go code as it is given CPUs."""

    name = "kubo"

    def __init__(self, cpus=SERVER_CPU):
        gone = peers.missing(peers.KUBO)
        if gone:
            raise Missing(gone)
        super().__init__(limits=False, wrapper=pinned(cpus))
        try:
            self.start()
        except AssertionError as why:
            self.discard()
            raise Broken(str(why)) from None

    @property
    def pid(self):
        return self.process.pid  # taskset becomes what it starts

    def stop_daemon(self):
        """Ends it and keeps the repository."""
        super().stop()

    def stop(self):
        self.discard()


def flatfs_add(folder, data):
    """A block into the blocks folder of a Kubo that does not run."""
    import base64
    import content  # tests/e2e, found by peers
    key = base64.b32encode(content.multihash(data)).decode().rstrip("=")
    shard = folder / key[-3:-1]
    shard.mkdir(exist_ok=True)
    (shard / f"{key}.data").write_bytes(data)


class HeliaServer(peers.Helia):
    """A Helia node on one CPU, its blocks in its memory."""

    name = "helia"

    def __init__(self, cpus=SERVER_CPU):
        gone = peers.missing(peers.NODE)
        if gone:
            raise Missing(gone)
        super().__init__(wrapper=pinned(cpus))

    @property
    def pid(self):
        return self.process.pid

    @property
    def port(self):
        return int(self.address.split("/")[4])

    def load(self, car):
        return self.ask("load", car=str(car))

    def stop(self):
        self.discard()


def go_client(address, pid, car_cids, *flags, cpus=LOAD_CPU):
    """One run of the Go client against any server; server CPU is that of its process from start to
    end of the run, the connection included. Returns: its object, with `cpu_us`, `requests`.
    """
    gone = peers.missing(peers.GO_PEER)
    if gone:
        raise Missing(gone)
    argv = [*pinned(cpus), str(peers.GO_PEER), "want", "--to", address, "--cids", str(car_cids),
            "--codec", "lean", *map(str, flags)]
    before = cpu_ns(pid)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    spent = cpu_ns(pid) - before
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}") from None
    result["requests"] = result["blocks"] + result["haves"]
    if done.returncode != 0 or result["lost"] or result["unwanted"] or not result["requests"]:
        raise Broken(f"{' '.join(argv)}: {result}")
    result["cpu_us"] = spent / 1e3 / result["requests"]
    return result


def go_dials(address, pid, count, security, cpus=LOAD_CPU):
    """So many connections one after another with identify both ways. Returns: its object, with
    `cpu_us` of the server a connection.
    """
    gone = peers.missing(peers.GO_PEER)
    if gone:
        raise Missing(gone)
    argv = [*pinned(cpus), str(peers.GO_PEER), "dial", "--to", address, "--count", str(count),
            "--security", security]
    before = cpu_ns(pid)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    spent = cpu_ns(pid) - before
    if done.returncode != 0:
        raise Broken(f"{' '.join(argv)}: {done.stderr.strip()[-400:]}")
    result = json.loads(done.stdout)
    result["cpu_us"] = spent / 1e3 / result["connects"]
    return result


def file_car(path, size, chunk):
    """A CAR of a file's DAG, as Kubo lays files out. Returns: its root, how many blocks."""
    import blocks  # tests/interop
    names = blocks.write_car(path, blocks.file_dag("perf", size, chunk))
    return names[-1], len(names)


def cids_of(car, path):
    """Writes the CIDs of a CAR, one a line."""
    import content  # tests/e2e, found by peers
    with open(car, "rb") as f:
        blocks = content.car_blocks(f.read())
    with open(path, "w") as f:
        f.writelines(content.cid_text(cid) + "\n" for cid, _ in blocks)
    return path
