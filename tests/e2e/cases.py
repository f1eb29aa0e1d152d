# SPDX-License-Identifier: MIT
"""Runs one file of cases: names every skip, ends with the line of totals, exits 77 where nothing
but skips ran.

usage in a test file: `if __name__ == "__main__": cases.main()`; arguments pick cases by part of
their name.
"""

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path

import daemon


class Result(unittest.TextTestResult):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.good = 0
        self.began = 0.0

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        self.good += 1
        super().addSuccess(test)
        print(
            f"ok {time.monotonic() - self.began:6.2f} s  {test.id().split('.', 1)[1]}", flush=True
        )

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIPPED: {test.id().split('.', 1)[1]}: {reason}", flush=True)


class Case(unittest.TestCase):
    """A case with a scratch directory and daemons that end with it."""

    def scratch(self):
        folder = tempfile.TemporaryDirectory(prefix="millrace-e2e-")
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    def daemon(self, *arguments, start=True, **more):
        made = daemon.Daemon(*arguments, **more)
        self.addCleanup(self.end, made)
        return made.start() if start else made

    def end(self, made):
        outcome = getattr(self, "_outcome", None)
        if outcome is not None and not outcome.success:
            print(f"--- log of the daemon on port {made.port}:\n{made.words()[-4000:]}", flush=True)
        made.discard()

    def assertKind(self, reply, kind, words=""):
        self.assertEqual(reply.kind, kind, f"{reply!r} {words}")

    def assertFault(self, reply, code):
        self.assertEqual(reply.code, code, repr(reply))

    def assertExit(self, done, status):
        self.assertEqual(
            done.returncode,
            status,
            f"{done.args}\nstdout: {done.stdout[-1500:]}\nstderr: {done.stderr[-1500:]}",
        )


def give_up(*_):
    """A time limit ends the whole run, not only the case that hangs, and its daemons with it."""
    print("cases: ended by SIGTERM in the middle", flush=True)
    daemon.discard_all()
    os._exit(143)


def main():
    signal.signal(signal.SIGTERM, give_up)
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if len(sys.argv) > 1:
        chosen = [
            case
            for group in suite
            for case in group
            if any(word in case.id() for word in sys.argv[1:])
        ]
        suite = unittest.TestSuite(chosen)
    result = unittest.TextTestRunner(stream=sys.stderr, resultclass=Result, verbosity=0).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(
        f"cases: {result.good} passed, {failed} failed, {len(result.skipped)} skipped", flush=True
    )
    if failed or result.testsRun == 0:
        sys.exit(1)
    sys.exit(77 if result.good == 0 else 0)
