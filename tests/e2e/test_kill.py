#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9, 60 times: no acknowledged block is lost, no deleted one comes back, no byte is
different.
"""

import signal

import cases
import killing
from daemon import layouts, wait_for


class Kill(cases.Case):
    def looped(self, kills, seed, layout):
        if layout not in layouts():
            self.skipTest("one CPU is all there is")
        problems, acknowledged, proven = killing.loop(kills, seed, layouts()[layout])
        self.assertEqual(problems, [])
        self.assertGreater(acknowledged, kills)
        print(
            f"{kills} kills on {layout}, seed {seed}: "
            f"{acknowledged} acknowledged, {proven} look-ups proven"
        )

    def test_on_one_core(self):
        self.looped(30, 1, "one core")

    def test_on_two_cores(self):
        self.looped(20, 2, "two cores")

    def test_on_four_overcommitted(self):
        self.looped(10, 3, "four cores, overcommitted")

    def test_in_the_midst_of_reloads_and_snapshots(self):
        file = self.scratch() / "millrace.conf"
        text = 'store = { snapshot_interval = "5ms"; };\nnet = { idle_timeout = "%ds"; };\n'
        file.write_text(text % 60)
        snapshots = []

        def upset(d, kill):
            def written():
                snapshots.append(d.ask("stat")["store"]["snapshots_written"])
                return snapshots[-1] > 0 or kill % 4

            wait_for(written, "a snapshot")
            for turn in range(3):
                new = file.with_suffix(".new")
                new.write_text(text % (60 + kill + turn))
                new.rename(file)
                d.signal(signal.SIGHUP)

        problems, acknowledged, proven = killing.loop(12, 4, config=file, upset=upset)
        self.assertEqual(problems, [])
        self.assertGreater(sum(snapshots), 0)
        print(
            f"12 kills in reloads, {sum(snapshots)} snapshots: "
            f"{acknowledged} acknowledged, {proven} look-ups proven"
        )


if __name__ == "__main__":
    cases.main()
