"""A run of the tests repeats what failed beside the others, once, and never what looks for lost data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN_TESTS = Path(__file__).resolve().parents[2] / "tools" / "run_tests.py"
FAILS_ONCE = """
from pathlib import Path

def test_of_a_busy_moment():
    mark = Path(__file__).with_suffix(".ran")
    was_here = mark.exists()
    mark.touch()
    assert was_here, "the first time"
"""


def run_tests(directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, RUN_TESTS, "-n", "2", "-q"], cwd=directory, capture_output=True, text=True
    )


def write_test(directory: Path, name: str, text: str) -> None:
    path = directory / "tests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_passes_alone_is_named_and_passes(tmp_path: Path) -> None:
    write_test(tmp_path, "fuse/test_mount.py", FAILS_ONCE)
    result = run_tests(tmp_path)
    assert result.returncode == 0, result.stdout
    assert "the first time" in result.stdout
    assert "Passed alone, failed beside the others" in result.stdout
    assert result.stdout.rstrip().endswith("tests/fuse/test_mount.py::test_of_a_busy_moment")


def test_what_fails_alone_fails_the_run(tmp_path: Path) -> None:
    write_test(tmp_path, "fuse/test_mount.py", "def test_it():\n    assert 0\n")
    result = run_tests(tmp_path)
    assert result.returncode == 1
    assert "Once more, alone" in result.stdout
    assert "Passed alone" not in result.stdout


@pytest.mark.parametrize("name", ["crash/test_kill.py", "faults/test_soak.py", "faults/test_power_loss.py"])
def test_what_looks_for_lost_data_has_no_second_chance(tmp_path: Path, name: str) -> None:
    write_test(tmp_path, name, FAILS_ONCE)
    result = run_tests(tmp_path)
    assert result.returncode == 1
    assert "Once more" not in result.stdout


def test_four_failures_are_no_busy_moment(tmp_path: Path) -> None:
    for number in range(4):
        write_test(tmp_path, f"fuse/test_{number}.py", FAILS_ONCE)
    result = run_tests(tmp_path)
    assert result.returncode == 1
    assert "Once more" not in result.stdout


def test_all_pass(tmp_path: Path) -> None:
    write_test(tmp_path, "test_it.py", "def test_it():\n    pass\n")
    result = run_tests(tmp_path)
    assert result.returncode == 0
    assert "Once more" not in result.stdout
