#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A repository that Kubo made, taken over: every block of it, while Kubo runs and after."""

import json
import random

import interop
import peers

import cases
import daemon


@peers.needs(peers.KUBO)
class Flatfs(interop.Case):
    def repository(self):
        """A running Kubo with a directory of files in it, and the root of that."""
        kubo = self.kubo()
        spec = json.loads((kubo.repo / "datastore_spec").read_text())
        self.assertIn("flatfs", json.dumps(spec), "Kubo's default is no longer flatfs")
        folder = self.scratch() / "files"
        folder.mkdir()
        source = random.Random(11)
        for n, size in enumerate((0, 1, 300, 262_144, 262_145, 3_000_000)):
            (folder / f"{n}").write_bytes(source.randbytes(size))
        root = kubo.run("add", "-Q", "-r", "--cid-version=1", folder).strip()
        old = kubo.run("add", "-Q", "-r", "--cid-version=0", folder).strip()
        return kubo, (root, old)

    def refs(self, kubo):
        return set(kubo.run("refs", "local").split())

    def assertTaken(self, server, kubo, roots):
        """Everything Kubo has is here, and DAGs come out as Kubo writes them."""
        named = server.run("has", *self.refs(kubo))
        self.assertExit(named, 0)
        for root in roots:
            path = self.scratch() / "dag.car"
            self.assertExit(server.run("export", "--dag", root, "-o", path), 0)
            self.assertEqual(path.read_bytes(), kubo.run("dag", "export", root, text=False))

    def test_while_kubo_runs(self):
        kubo, roots = self.repository()
        server = self.daemon()
        done = server.run("import", "--json", kubo.repo)
        self.assertExit(done, 0)
        found = json.loads(done.stdout)
        self.assertEqual(found["bad"], 0)
        self.assertEqual(found["blocks"], len(self.refs(kubo)))
        self.assertTaken(server, kubo, roots)
        done = server.run("import", "--json", kubo.repo / "blocks")
        self.assertExit(done, 0)
        self.assertEqual(json.loads(done.stdout)["known"], found["blocks"])

    def test_into_a_store_that_is_off(self):
        kubo, roots = self.repository()
        store = self.scratch() / "store"
        self.assertExit(daemon.run("import", "--store", store, kubo.repo), 0)
        self.assertTaken(self.daemon(store), kubo, roots)


if __name__ == "__main__":
    cases.main()
