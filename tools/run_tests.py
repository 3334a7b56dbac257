"""Run the tests; what failed beside the others runs once more, alone, before the run counts as failed.

    python tools/run_tests.py -n 2 --dist loadfile ...       # the words are pytest's

Hundreds of daemons, disks and guests share the machine in a run, and a test that waits for one of them can
run out of patience. Such a test is named at the end, so that it gets mended. A test that looks for lost data
gets no second chance, nor do more failures than a busy moment explains: see docs/decisions/0024.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import pytest

MOST_REPEATED: Final = 3
NEVER_REPEATED: Final = re.compile(r"^tests/(crash/|faults/test_(soak|power_loss)|parity/|docs/)")
"""What kills, cuts the power or compares with a model, and what waits for nothing at all."""


class Failures:
    """A plugin of pytest's: the ids of the tests that failed, at any step."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.ids:
            self.ids.append(report.nodeid)


def may_repeat(ids: Sequence[str]) -> bool:
    return 0 < len(ids) <= MOST_REPEATED and not any(map(NEVER_REPEATED.match, ids))


def main(words: list[str]) -> int:
    failures = Failures()
    result = pytest.main(words, plugins=[failures])
    if result != pytest.ExitCode.TESTS_FAILED or not may_repeat(failures.ids):
        return int(result)
    print("\nOnce more, alone: " + ", ".join(failures.ids), flush=True)
    alone = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", *failures.ids]).returncode
    if alone == 0:
        print("\nPassed alone, failed beside the others; mend what they wait for:")
        print("\n".join(f"    {name}" for name in failures.ids), flush=True)
    return alone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
