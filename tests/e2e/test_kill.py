#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9, a hundred times: no acknowledged block is lost, no deleted one comes back, no byte is
different; in the midst of puts, and of everything else that a daemon does with what it has.
"""

import activities
import cases
import killing
from daemon import layouts


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


class Midst(cases.Case):
    kills, seed, report = 3, 11, None

    def during(self, kind):
        activity = kind(self.seed)
        self.addCleanup(activity.close)
        problems, acknowledged, proven = killing.loop(
            self.kills, self.seed, report=self.report, activity=activity
        )
        self.assertEqual(problems, [])
        self.assertGreaterEqual(activity.counted, self.kills)
        print(
            f"{self.kills} kills during {kind.__name__}, seed {self.seed}, {activity.counted} "
            f"steps of it: {acknowledged} acknowledged, {proven} look-ups proven"
        )

    def test_promotion(self):
        self.during(activities.Promotion)

    def test_demotion(self):
        self.during(activities.Demotion)

    def test_compaction(self):
        self.during(activities.Compaction)

    def test_collection(self):
        self.during(activities.Collection)

    def test_snapshot(self):
        self.during(activities.Snapshot)

    def test_scrub(self):
        self.during(activities.Scrub)

    def test_backup(self):
        self.during(activities.Backup)

    def test_reload(self):
        self.during(activities.Reload)


if __name__ == "__main__":
    cases.main()
