#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up what meson's test logs say, names every skip and failure, and ends with the line of
totals.

usage: summary.py [LABEL=check.json]... [broken=WORDS]...

A test program that counts its own cases is counted by them (Criterion's synthesis line, the
`cases:` line of tests/e2e); any other is one case. One that died without saying
how many is a failure more.
"""

import json
import re
import sys

CRITERION = re.compile(
    r"Synthesis: Tested: *(\d+) *\| *Passing: *(\d+) *\| *Failing: *(\d+) *\| *Crashing: *(\d+)"
)
CASES = re.compile(r"^cases: (\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
SKIPPED = re.compile(r"^\s*SKIPPED:? *(.+)$", re.MULTILINE)
GOOD = ("OK", "EXPECTEDFAIL")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def count(record):
    """(passed, failed, skipped, names of the skipped) of one test program's record."""
    text = COLOUR.sub("", record.get("stdout", "") + "\n" + record.get("stderr", ""))
    reasons = SKIPPED.findall(text)
    if record["result"] == "SKIP":
        last = text.strip().rpartition("\n")[2]
        return 0, 0, 1, reasons or [last or "no reason given"]
    said = CASES.search(text)
    if said:
        passed, failed, skipped = (int(word) for word in said.groups())
    else:
        said = CRITERION.search(text)
        if said:
            tested, passed, failing, crashing = (int(word) for word in said.groups())
            failed, skipped = failing + crashing, max(0, tested - passed - failing - crashing)
        else:
            passed, failed, skipped = (1, 0, 0) if record["result"] in GOOD else (0, 1, 0)
    if record["result"] not in GOOD and failed == 0:
        failed = 1
    return passed, failed, skipped, reasons


def suite_of(name):
    """'millrace:e2e+e2e-short / churn' -> ('e2e', 'churn')."""
    head, _, test = name.partition(" / ")
    return head.partition(":")[2].split("+")[0] or "-", test or name


def main(arguments):
    rows, skips, failures = {}, [], []
    for argument in arguments:
        label, _, path = argument.partition("=")
        if label == "broken":
            failures.append(path)
            rows.setdefault((path.partition(":")[0], path.partition(": ")[2]), [0, 0, 0, 0.0])[
                1
            ] += 1
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as log:
                records = [json.loads(line) for line in log if line.strip()]
        except FileNotFoundError:
            failures.append(f"{label}: no test of these suites ran")
            rows.setdefault((label, "none"), [0, 0, 0, 0.0])[1] += 1
            continue
        for record in records:
            suite, test = suite_of(record["name"])
            passed, failed, skipped, reasons = count(record)
            row = rows.setdefault((label, suite), [0, 0, 0, 0.0])
            row[0] += passed
            row[1] += failed
            row[2] += skipped
            row[3] += record.get("duration", 0.0)
            skips += [f"{label} {suite}/{test}: {reason}" for reason in reasons]
            if failed:
                failures.append(
                    f"{label} {suite}/{test}: {record['result'].lower()}, {failed} failed"
                )
    print(f"{'tree':<10}{'suite':<10}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for (label, suite), (passed, failed, skipped, seconds) in rows.items():
        print(f"{label:<10}{suite:<10}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}")
    for words in skips:
        print("SKIPPED", words)
    for words in failures:
        print("FAILED ", words)
    totals = [sum(row[i] for row in rows.values()) for i in range(3)]
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
