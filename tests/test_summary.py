#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/summary.py decides whether CI is green, so it has a test of its own."""

import unittest

import summary

CRITERION = "\x1b[0;34m====\x1b[0m] Synthesis: Tested: 5 | Passing: 3 | Failing: 1 | Crashing: 1 \n"


class Summary(unittest.TestCase):
    def test_counts_what_criterion_says_through_its_colours(self):
        self.assertEqual(summary.count({"result": "FAIL", "stderr": CRITERION})[:3], (3, 2, 0))

    def test_counts_the_cases_line_and_names_the_skips(self):
        text = "SKIPPED: full disk: not root\ncases: 7 passed, 0 failed, 1 skipped\n"
        self.assertEqual(
            summary.count({"result": "OK", "stdout": text}), (7, 0, 1, ["full disk: not root"])
        )

    def test_a_program_that_died_after_good_cases_is_a_failure(self):
        text = "cases: 7 passed, 0 failed, 0 skipped\n"
        self.assertEqual(summary.count({"result": "TIMEOUT", "stdout": text})[:3], (7, 1, 0))

    def test_a_silent_skip_is_still_named(self):
        self.assertEqual(summary.count({"result": "SKIP"}), (0, 0, 1, ["no reason given"]))

    def test_splits_suite_and_name(self):
        self.assertEqual(summary.suite_of("millrace:e2e+e2e-short / churn"), ("e2e", "churn"))


if __name__ == "__main__":
    unittest.main()
