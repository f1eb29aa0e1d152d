#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9, 60 times: no acknowledged block is lost, no deleted one comes back, no byte is
different.
"""

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


if __name__ == "__main__":
    cases.main()
