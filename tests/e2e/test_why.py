#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The path a request takes is the design's, on all four layouts; topo says the layout and the
counters say how many.
"""

import random

import cases
import tlv
from content import raw_block
from daemon import layouts, wait_for


class Paths(cases.Case):
    def traced(self, d, which, kinds):
        """The last light or heavy trace once it is of one of these kinds."""

        def look():
            trace = d.ask("why")[which]
            return trace if trace and trace.get("kind") in kinds else None

        return wait_for(look, f"a {which} of {kinds} in {d.ask('why')}")

    def assertStamps(self, trace, names):
        stamps = [trace[name] for name in names]
        self.assertEqual(stamps, sorted(stamps), f"stamps out of order: {trace}")
        self.assertGreater(trace["replied_us"], 0, trace)

    def assertHeavy(self, trace):
        words = [step.rstrip("0123456789 ") for step in trace["path"]]
        self.assertEqual(words, ["net", "class ring", "sched", "work", "done ring", "net"], trace)
        self.assertEqual(trace["path"][0], trace["path"][-1], "home to the tile that made it")
        self.assertStamps(
            trace, ("arrived_us", "queued_us", "started_us", "finished_us", "replied_us")
        )

    def on(self, flags):
        d = self.daemon(flags=flags)
        block = raw_block(random.Random(1).randbytes(1000))
        with tlv.Client(d.address) as c:
            self.assertKind(c.put(block.mh, block.data), tlv.DONE)
            self.assertHeavy(self.traced(d, "last_heavy", ("put",)))
            before = d.ask("stat")["paths"]
            for _ in range(100):
                self.assertEqual(c.get(block.mh).body, block.data)
            trace = self.traced(d, "last_light", ("get",))
            cores = {step.rpartition(" ")[2] for step in trace["path"]}
            self.assertEqual(len(cores), 1, f"a light one left its core: {trace}")
            self.assertNotIn("work", " ".join(trace["path"]))
            self.assertRegex(trace["path"][0], r"^net \d+")
            self.assertStamps(trace, ("arrived_us", "replied_us"))
            # The first ones may be disk reads: the frame is filled by them, then told to its owner.
            wait_for(
                lambda: d.ask("stat")["paths"]["light"] >= before["light"] + 90,
                "nearly all gets to be light",
            )
            after = d.ask("stat")["paths"]
            total = after["light"] - before["light"] + after["heavy"] - before["heavy"]
            self.assertGreaterEqual(total, 100, "every get is counted on one of the two ways")
        self.assertEqual(d.stop(), 0)
        d.start()  # memory is cold now: the first get is a disk read, and goes the heavy way
        with tlv.Client(d.address) as c:
            self.assertEqual(c.get(block.mh).body, block.data)
            self.assertHeavy(self.traced(d, "last_heavy", ("get",)))
        why = d.ask("why")
        self.assertIsInstance(why["limiting"], str)
        self.assertTrue(why["limits"])
        for limit in why["limits"]:
            self.assertLessEqual({"what", "value", "max"}, set(limit))
        printed = d.run("why")
        self.assertExit(printed, 0)
        for word in ("class ring", "sched", "work", "done ring"):
            self.assertIn(word, printed.stdout)
        return d

    def test_one_core(self):
        d = self.on(layouts()["one core"])
        topo = d.ask("topo")
        self.assertFalse(topo["auto"])
        self.assertEqual(len(topo["cores"]), 1)
        self.assertEqual(
            set(topo["cores"][0]["tiles"]) & {"net", "sched", "work"}, {"net", "sched", "work"}
        )

    def test_two_cores(self):
        if "two cores" not in layouts():
            self.skipTest("one CPU is all there is")
        topo = self.on(layouts()["two cores"]).ask("topo")
        self.assertEqual(len(topo["cores"]), 2)

    def test_split(self):
        if "split" not in layouts():
            self.skipTest("one CPU is all there is")
        topo = self.on(layouts()["split"]).ask("topo")
        tiles = [set(core["tiles"]) for core in topo["cores"]]
        self.assertTrue(any("net" in t and "work" not in t for t in tiles), topo)
        self.assertTrue(any("work" in t and "net" not in t for t in tiles), topo)

    def test_four_cores_overcommitted(self):
        topo = self.on(layouts()["four cores, overcommitted"]).ask("topo")
        self.assertEqual(len(topo["cores"]), 4)


if __name__ == "__main__":
    cases.main()
