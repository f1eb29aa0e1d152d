#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""backup, restore and snapshots of the index by the command line, with writing going on and the
daemon killed.

The whole way: tools/millrace/cmd_backup.c, tools/millrace/cmd_restore.c, engine/tasks.c,
store/backup.c, store/restore.c, store/snapshot.c.
"""

import json
import os
import stat
import threading

import cases
import killing
import tlv
from content import multihash
from daemon import run, wait_for

OFTEN = ("--set", "store.snapshot_interval=100ms")


class Backup(cases.Case):
    def put(self, d, numbers):
        with tlv.Client(d.address) as c:
            for number in numbers:
                data = killing.body(number)
                reply = c.put(multihash(data), data)
                self.assertEqual(reply.kind, tlv.DONE, reply)

    def check(self, d, numbers):
        with tlv.Client(d.address) as c:
            for number in numbers:
                data = killing.body(number)
                reply = c.get(multihash(data))
                self.assertEqual((reply.kind, reply.body), (tlv.VALUE, data), number)

    def writers(self, d):
        """Threads that put and delete other blocks until the daemon is gone."""
        ledger, lock = killing.Ledger(), threading.Lock()
        threads = [
            killing.Writer(d.address, ledger, lock, 100_000 + i, 2, 77 + i) for i in range(2)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(t.acknowledged for t in threads) > 200, "writing")
        return threads

    def back_up(self, d, where):
        done = d.run("backup", where, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def restore(self, where, status=0):
        made = self.scratch() / "made"
        done = run("restore", where, "--store", made, "--json")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return made

    def test_what_was_acknowledged_is_in_it_while_writing_goes_on_and_the_daemon_is_killed(self):
        d = self.daemon(flags=OFTEN)
        where = self.scratch() / "backup"
        self.put(d, range(1, 200))
        threads = self.writers(d)
        first = self.back_up(d, where)
        self.assertEqual(first["copied"], first["segments"])
        self.put(d, range(200, 260))
        second = self.back_up(d, where)
        self.assertLess(second["copied"], second["segments"], "sealed ones are there already")
        begun = threading.Thread(target=d.run, args=("backup", where))
        begun.start()  # and is cut off, or not
        d.kill()
        for thread in [*threads, begun]:
            thread.join()
        made = self.restore(where)
        self.assertEqual(stat.S_IMODE((made / "identity.key").stat().st_mode), 0o600)
        done = run("verify", "--store", made)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.check(self.daemon(made), range(1, 260))

    def test_the_configuration_and_what_it_includes_are_in_it_and_in_force_nowhere(self):
        folder = self.scratch()
        more, main = folder / "more.conf", folder / ("long" * 10 + ".conf")
        more.write_text('log = { level = "debug"; };\n')
        main.write_text('@include "more.conf"\nstore = { memory = "48MiB"; };\n')
        d = self.daemon(config=main)
        self.put(d, range(1, 20))
        where = folder / "backup"
        said = self.back_up(d, where)
        self.assertEqual(said["configuration"], [str(main), str(more)])
        self.assertEqual(said["configuration_copied"], 2)
        self.assertLessEqual({"identity.key", "millrace.conf", "more.conf"}, set(said["files"]))
        more.rename(folder / "away")
        self.assertEqual(self.back_up(d, where)["configuration_copied"], 1)
        self.assertIn("a backup may lack what it includes", d.words())
        (folder / "away").rename(more)
        self.back_up(d, where)
        d.kill()
        made = folder / "made"
        done = run("restore", where, "--store", made)
        self.assertExit(done, 0)
        self.assertIn(f"millrace serve --store {made} --config {made}/millrace.conf", done.stdout)
        self.assertEqual((made / "millrace.conf").read_text(), main.read_text())
        self.assertEqual((made / "more.conf").read_text(), more.read_text())
        d = self.daemon(made, config=made / "millrace.conf")
        self.check(d, range(1, 20))
        self.assertEqual(d.ask("stat")["memory"]["budget_bytes"], 48 << 20)

    def test_damage_and_what_is_no_place_are_said(self):
        d = self.daemon()
        where = self.scratch() / "backup"
        self.put(d, range(1, 50))
        self.back_up(d, where)
        done = d.run("backup", d.directory)
        self.assertEqual(done.returncode, 1, "that is the store")
        self.assertIn("not empty", done.stderr)
        nowhere = self.scratch() / "nowhere"
        nowhere.symlink_to(nowhere.parent / "not made")
        done = d.run("backup", nowhere)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the directory for the backup: No such file", done.stderr)
        done = d.run("backup", os.fsdecode(b"/srv/\xff"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("not UTF-8", done.stderr)
        if os.getuid() != 0:  # who may read everything
            (d.directory / "identity.key").chmod(0)
            done = d.run("backup", where)
            self.assertEqual(done.returncode, 1, "without it the node is another")
            self.assertIn("identity.key", done.stderr)
            (d.directory / "identity.key").chmod(0o600)
        self.assertIn("identity.key", d.run("backup", where).stdout)
        done = run("restore", where, "--store", d.directory)
        self.assertEqual(done.returncode, 2)
        self.assertIn("not empty", done.stderr)
        segment = max((where / "segments").iterdir(), key=lambda path: path.stat().st_size)
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        self.restore(where, status=4)
        segment.unlink()
        self.restore(where, status=4)
        (where / "BACKUP").unlink()
        self.restore(where, status=2)


class Snapshots(cases.Case):
    def test_kill_at_any_time_while_they_are_written(self):
        problems, acknowledged, _ = killing.loop(12, 5, OFTEN)
        self.assertEqual(problems, [])
        self.assertGreater(acknowledged, 12)

    def test_a_clean_start_comes_from_one_and_says_so(self):
        d = self.daemon()
        with tlv.Client(d.address) as c:
            for number in range(1, 40):
                data = killing.body(number)
                self.assertEqual(c.put(multihash(data), data).kind, tlv.DONE)
        self.assertEqual(d.stop(), 0)
        d.start()
        store = d.ask("stat")["store"]
        self.assertEqual(store["open_snapshot_shards"], 256)
        self.assertEqual(store["open_segments_footer"] + store["open_segments_scanned"], 0)
        self.assertIn('"from_snapshot_percent":100', d.words())


if __name__ == "__main__":
    cases.main()
