# SPDX-License-Identifier: MIT
"""The program under test, the first argument of every test program here, and how they end."""

import sys
import unittest
from pathlib import Path

MILLRACE = str(Path(sys.argv.pop(1) if len(sys.argv) > 1 else "build/tools/millrace").resolve())


def main():
    """Runs the cases of the program that was started; what it returns is its exit status."""
    result = unittest.TextTestRunner(verbosity=1).run(
        unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    )
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for case, reason in result.skipped:
        print(f"SKIPPED: {case.id()}: {reason}")
    good = max(0, result.testsRun - failed - skipped)  # a case's parts fail one by one
    print(f"cases: {good} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
